"""The answers of a sweep's searches: the terminal's table, and for each answer its probes and fit as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchhydra.analysis.runs import Run
from benchhydra.artifacts import SWEEP_FILE, read_json
from benchhydra.errors import ResultError
from benchhydra.render.answer_rows import answer_table, answers_of, study_name
from benchhydra.render.answer_text import answer_text, limit_text, limiting_metric, probes_of
from benchhydra.render.sweep_rows import SweepRows, read_sweep
from benchhydra.report.data.axes import value_axis
from benchhydra.report.data.benchmarks import rounded
from benchhydra.report.data.details import file_slug
from benchhydra.report.data.optima import optimum_data

#: Probes whose value is above this multiple of the limit are drawn at the upper edge.
MOST_TIMES_THE_LIMIT = 3.0


def answers_data(sweep_id: str, runs: Sequence[Run], repeats: Mapping[str, int]) -> dict[str, Any] | None:
    """``columns`` and ``rows`` of the table, ``charts`` and ``optima``; None without answers, or without sweep.json.

    repeats: the number of the repeat of each run, by its id.
    """
    folders = dict.fromkeys(run.directory.parent for run in runs if run.directory)
    directories = dict.fromkeys(directory for folder in folders if (directory := _sweep_directory(folder)))
    directory = next((each for each in directories if _has_answers(each, sweep_id)), None)
    if directory is None:
        return None
    sweep = read_sweep(directory)
    columns, rows = answer_table(sweep)
    by_identity: dict[tuple[str, int], list[Run]] = {}  # probes of one point with different seeds share a key
    for run in runs:
        by_identity.setdefault((run.point_key, repeats.get(run.run_id, 0)), []).append(run)
    charts = [_chart(sweep, answer, by_identity) for answer in answers_of(sweep) if probes_of(answer)]
    optima = [data for answer in answers_of(sweep) if (data := optimum_data(study_name(sweep, answer), answer))]
    return {"columns": columns, "rows": rows, "charts": charts, "optima": optima} if rows else None


def _chart(sweep: SweepRows, answer: Mapping[str, Any], runs: Mapping[tuple[str, int], list[Run]]) -> dict[str, Any]:
    """What the chart of one search shows: its fit's metric, or the limiting one, against the load.

    The metric of a fit may be the ratio to a limit; ``value_metric`` is what this is a limit of.
    """
    fit = answer.get("fit") or {}
    value_metric, limit = limiting_metric(answer), fit.get("limit")
    metric = str(fit.get("metric") or value_metric)
    probes = [_probe(probe, metric, value_metric, runs) for probe in probes_of(answer)]
    return {
        "name": study_name(sweep, answer),
        "text": answer_text(answer),
        "key": str(fit.get("key") or ""),
        "unit": str(answer.get("unit") or ""),
        "metric": metric,
        "value_metric": value_metric,
        "metric_unit": str(fit.get("unit") or ""),
        "limit": rounded(limit),
        "limit_text": limit_text(str(answer.get("limited_by") or "")),
        "interval": [rounded(answer.get(key)) for key in ("value", "low", "high")],
        "fit": [
            [rounded(number) for number in row]
            for row in zip(*(fit.get(key, ()) for key in ("x", "y", "low", "high")), strict=True)
        ],
        "probes": probes,
        "range": _range(probes, fit, limit),
    }


def _probe(
    probe: Mapping[str, Any], metric: str, value_metric: str, runs: Mapping[tuple[str, int], list[Run]]
) -> dict[str, Any]:
    """One probe: where it stands, what it decided, and its run. y: the metric, of the run if the search has none."""
    same_key = runs.get((str(probe.get("point_key")), int(probe.get("repeat") or 0)))
    run = same_key.pop(0) if same_key else None
    measured = run.metrics if run else {}
    value = probe.get("value", measured.get(value_metric))
    ratio = measured.get(metric, probe.get("ratio"))
    return {
        "x": rounded(probe.get("key_value")),
        "y": rounded(value if metric == value_metric else ratio),
        "value": rounded(value),
        "decision": str(probe.get("decision") or ""),
        "requests": probe.get("requests"),
        "verdict": run.verdict.value if run else "",
        "run": file_slug(run.run_id) if run else "",
    }


def _range(probes: Sequence[Mapping[str, Any]], fit: Mapping[str, Any], limit: float | None) -> dict[str, Any]:
    """The ends of the vertical axis, from 0: the limit and what lies near it are visible."""
    values = [*(probe["y"] for probe in probes if probe["y"] is not None), *fit.get("y", ())]
    if limit is None:
        return value_axis(values, from_zero=True)
    highest = MOST_TIMES_THE_LIMIT * limit
    shown = [value for value in (*values, limit) if value <= highest]
    above = sum(probe["y"] is not None and probe["y"] > highest for probe in probes)
    return {**value_axis(shown, from_zero=True), "above": above}


def _sweep_directory(folder: Path) -> Path | None:
    """The nearest directory from a folder upwards that holds a ``sweep.json``."""
    return next((each for each in (folder, *folder.parents) if (each / SWEEP_FILE).is_file()), None)


def _has_answers(directory: Path, sweep_id: str) -> bool:
    try:
        facts = read_json(directory / SWEEP_FILE)
    except ResultError:
        return False  # what is wrong with it is no concern of the runs' figures
    return facts.get("sweep_id") == sweep_id and bool(facts.get("answers"))
