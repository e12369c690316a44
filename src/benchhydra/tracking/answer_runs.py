"""The MLflow runs of answers: one for each answer of a search, with its value and interval as metrics.

A search's probes have rates, lengths and seeds of their own, so that they form no curve (``curves``). The answer's run
draws them: its limiting metric with step = load x 1000, and the probes as its children. That of an optimization draws
its trials: each objective with step = number of the trial.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchhydra import metrics as metric_table
from benchhydra.escaping import escape_markdown
from benchhydra.redaction import redact
from benchhydra.render.answer_text import answer_text, figures_of, limiting_metric, probes_of
from benchhydra.render.figures import number
from benchhydra.render.optimum_rows import optimum_lines, optimum_of, trial_columns, trial_rows
from benchhydra.render.text import markdown_table
from benchhydra.result import Better
from benchhydra.tracking.curve_runs import ANSWER, PARENT, SHARED_TAGS
from benchhydra.tracking.entry import TAG, mlflow_key, rounded
from benchhydra.tracking.metric_tags import BETTER
from benchhydra.tracking.metric_tags import TAG as METRICS_TAG
from benchhydra.tracking.store import MlflowStore, log_metrics, search_runs

#: The answer in a line, as a tag.
TEXT = "answer_text"
STEPS_PER_UNIT = 1000
NOTE_COLUMNS = ("decision", "value", "requests")


def write_answer(opened: MlflowStore, sweep_id: str, answer: Mapping[str, Any], run_ids: Sequence[str]) -> None:
    """Write the run of an answer, or what is new in it, and make the logged points its children.

    run_ids: of the points that the search measured. Raises one of ``store.failures()``.
    """
    from mlflow.entities import Metric, RunTag

    points = [opened.client.get_run(run_id) for run_id in run_ids]
    tags = answer_tags(sweep_id, answer, [point.data.tags for point in points])
    logged = list(search_runs(opened.client, opened.experiment_id, f"tags.{ANSWER} = '{tags[ANSWER]}'"))
    start_ms = min((point.info.start_time for point in points), default=int(time.time() * 1000))
    run = logged[0] if logged else opened.client.create_run(opened.experiment_id, start_time=start_ms, tags=tags)
    run_id = str(run.info.run_id)
    if run.data.tags.get(TEXT) != tags[TEXT] or not logged:
        values = [Metric(name, value, start_ms, 0) for name, value in answer_metrics(answer).items()]
        steps = [*probe_metrics(answer), *trial_metrics(answer)]
        values += [Metric(name, value, start_ms + step, step) for name, value, step in steps]
        log_metrics(opened.client, run_id, values)
    opened.client.update_run(run_id, name=answer_name(answer, tags))
    opened.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    end_ms = max((point.info.end_time or point.info.start_time for point in points), default=start_ms)
    opened.client.set_terminated(run_id, status="FINISHED", end_time=end_ms)
    for point in points:
        if point.data.tags.get(PARENT) != run_id:
            opened.client.set_tag(point.info.run_id, PARENT, run_id)


def answer_metrics(answer: Mapping[str, Any]) -> dict[str, float]:
    """``capacity``, ``capacity_low``, ``capacity_high``, and what the system yields there."""
    name = _value_name(answer)
    values = {name: answer.get("value"), f"{name}_low": answer.get("low"), f"{name}_high": answer.get("high")}
    values |= {str(figure.get("name")): figure.get("value") for figure in figures_of(answer)}
    confirmation = (optimum_of(answer) or {}).get("confirmation") or {}
    values |= {f"confirmed_{key}": confirmation.get(key) for key in ("ratio", "low", "high")}
    return {mlflow_key(key): rounded(float(value)) for key, value in values.items() if value is not None}


def probe_metrics(answer: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """(name, value, step) of the limiting metric and the load of each probe that has a value."""
    metric, key = limiting_metric(answer), str((answer.get("fit") or {}).get("key") or "load")
    values = []
    for probe in probes_of(answer):
        if metric and probe.get("value") is not None:
            load = float(probe["key_value"])
            step = round(load * STEPS_PER_UNIT)
            values += [(mlflow_key(metric), rounded(float(probe["value"])), step), (mlflow_key(key), load, step)]
    return sorted(values, key=lambda value: value[2])


def trial_metrics(answer: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """(name, value, step) of each objective of each trial that measured it, in the order of the trials."""
    optimum = optimum_of(answer)
    if optimum is None:
        return []
    names = [mlflow_key(str(objective["name"])) for objective in optimum["objectives"]]
    return [
        (name, rounded(float(estimate["value"])), int(trial["number"]))
        for trial in sorted(optimum["trials"], key=lambda trial: int(trial["number"]))
        for name, estimate in zip(names, trial["estimates"], strict=False)
    ]


def answer_tags(sweep_id: str, answer: Mapping[str, Any], points: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The tags of an answer's run: what its points share, its text, and the direction of its main metrics."""
    identity = json.dumps([sweep_id, answer.get("search"), list(answer.get("overrides") or ())])
    names = [_value_name(answer), *(str(figure.get("name")) for figure in figures_of(answer))]
    directions = {mlflow_key(f"{BETTER}{name}"): _better(name).value for name in names}
    for objective in (optimum_of(answer) or {}).get("objectives", ())[:1]:
        directions[mlflow_key(f"{BETTER}{names[0]}")] = str(objective["better"])
    return {
        **_shared(points),
        **directions,
        METRICS_TAG: json.dumps({"main": names, "charts": []}),
        ANSWER: hashlib.sha256(identity.encode()).hexdigest()[:16],
        "sweep_id": sweep_id,
        TEXT: redact(answer_text(answer))[:TAG],
        "mlflow.note.content": redact(_note(answer))[:TAG],
    }


def answer_name(answer: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """``14.20 requests/s capacity llama2``."""
    parts = (number(answer["value"]), str(answer.get("unit") or ""), _value_name(answer), tags.get("model", ""))
    return " ".join(part for part in parts if part)


def _value_name(answer: Mapping[str, Any]) -> str:
    """The name of the answer's metric: ``capacity``; ``mean_of_p99_ttft_ms``."""
    return str(answer.get("name") or answer.get("search") or "answer").replace(" ", "_")


def _better(name: str) -> Better:
    """The direction of a metric of the table; a capacity, which is none, is better if it is bigger."""
    declared = metric_table.declared(name)
    return declared.better if declared is not None else Better.BIGGER


def _shared(points: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not points:
        return {}
    first, *others = points
    return {key: first[key] for key in SHARED_TAGS if key in first and all(o.get(key) == first[key] for o in others)}


def _note(answer: Mapping[str, Any]) -> str:
    """The answer and its probes, or its trials, as Markdown."""
    rows = [
        [number(float(probe["key_value"])), *(escape_markdown(str(probe.get(key, ""))) for key in NOTE_COLUMNS)]
        for probe in probes_of(answer)
    ]
    lines = [escape_markdown(answer_text(answer)), ""]
    lines += markdown_table(("load", *NOTE_COLUMNS), rows) if rows else []
    optimum = optimum_of(answer)
    if optimum is not None:
        columns = [escape_markdown(name) for name in trial_columns(optimum)]
        trials = [[escape_markdown(cell) for cell in row] for row in trial_rows(optimum)]
        lines += [*(f"- {escape_markdown(line)}" for line in optimum_lines(answer)), ""]
        lines += markdown_table(columns, trials)
    return "\n".join(lines)
