"""The MLflow runs of a sweep's curves. Each holds the main metrics of a system, with step = rate; points are children.

``update_curves`` makes them what the logged points say, whoever logged these and in what order: a curve that lacks
rates gets them, one that holds values of other runs (a repeat was added, a point was measured again) is replaced.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchhydra.output_directory import PathLock
from benchhydra.tracking.curve_text import curve_names, curve_note
from benchhydra.tracking.curves import Curve, PointRun, curves_of
from benchhydra.tracking.entry import mlflow_key
from benchhydra.tracking.metric_tags import BETTER
from benchhydra.tracking.metric_tags import TAG as METRICS_TAG
from benchhydra.tracking.store import MlflowStore, log_metrics, log_params, search_runs

#: Tags of a curve's run: its key; step -> digest of the runs that its values are from.
CURVE, SOURCES = "curve", "curve_sources"
#: Tag of an answer's run (``answer_runs``): its key.
ANSWER = "answer"
PARENT = "mlflow.parentRunId"
#: Tags that a curve has if all its points have the same value.
SHARED_TAGS = (
    *("sweep_id", "script", "model", "dataset", "description", "engine_version", "variant"),
    *("git_commit", "machine", "machine_class"),
    *("mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit", "mlflow.user"),
)
#: The colour of a run on the page; without it, MLflow derives one from the run's id, and two curves may get the same.
COLOUR = "mlflow.runColor"
#: Colours that colour-blind readers tell apart (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: The most recent curves that are looked at to choose a colour.
COLOURED_RUNS = 100
#: How long to wait for another process that writes the curves of the same sweep.
LOCK_TIMEOUT_S = 60.0


def is_curve(run: Any) -> bool:
    """Whether an MLflow run is that of a curve."""
    return CURVE in run.data.tags


def has_no_result(run: Any) -> bool:
    """Whether an MLflow run is that of a curve or of an answer."""
    return is_curve(run) or ANSWER in run.data.tags


def update_curves(opened: MlflowStore, sweep_id: str, directory: Path) -> list[Curve]:
    """Write the curves of a sweep, and make its points their children. Returns the curves.

    directory: the sweep's; it is locked in the meantime. Raises one of ``store.failures()``.
    """
    with _only_writer(directory):
        runs = list(search_runs(opened.client, opened.experiment_id, f"tags.sweep_id = '{sweep_id}'"))
        points = [PointRun.of_run(run) for run in runs if not has_no_result(run) and run.info.status != "RUNNING"]
        answers = {str(run.info.run_id) for run in runs if ANSWER in run.data.tags}
        curves = curves_of(points)
        obsolete = _by_id(run for run in runs if is_curve(run))
        logged = _by_key(obsolete.values())
        parents: dict[str, str] = {}
        colours = _colours(opened, [logged.get(curve.key) for curve in curves])
        for curve, name, colour in zip(curves, curve_names(curves), colours, strict=True):
            run_id = _write(opened, curve, name, colour, logged.get(curve.key))
            parents |= {point.run_id: run_id for point in curve.points}
            obsolete.pop(run_id, None)
        _set_parents(opened, [point for point in points if point.tags.get(PARENT) not in answers], parents)
        for run_id in obsolete:
            opened.client.delete_run(run_id)
        return curves


def _by_id(runs: Iterable[Any]) -> dict[str, Any]:
    return {run.info.run_id: run for run in runs}


def _by_key(runs: Iterable[Any]) -> dict[str, Any]:
    """Curve key -> its run. Of several, which processes have written that do not share the lock, the first by id."""
    by_key: dict[str, Any] = {}
    for run in sorted(runs, key=lambda run: str(run.info.run_id)):
        by_key.setdefault(run.data.tags[CURVE], run)
    return by_key


def _colours(opened: MlflowStore, runs: Sequence[Any | None]) -> list[str]:
    """The colours of curves: that of a curve's run, if it has one, else the one that is rarest among all curves."""
    colours = [run.data.tags.get(COLOUR) if run is not None else None for run in runs]
    if not all(colours):
        others = opened.client.search_runs(
            [opened.experiment_id], f"tags.`{COLOUR}` LIKE '#%'", max_results=COLOURED_RUNS
        )
        uses = Counter(run.data.tags[COLOUR] for run in others)
        for row, colour in enumerate(colours):
            colours[row] = colour or min(COLOURS, key=uses.__getitem__)
            uses[colours[row]] += 1
    return [str(colour) for colour in colours]


def _write(opened: MlflowStore, curve: Curve, name: str, colour: str, run: Any | None) -> str:
    """Write what a curve's run lacks, or a new run if the old one holds other values. Returns the run's id."""
    tags = _tags(curve) | {COLOUR: colour}
    if run is None or not _holds(run, curve):
        run_id = _create(opened, curve, name)
        _log(opened, run_id, curve, sorted(curve.steps), tags)
        return run_id
    run_id = str(run.info.run_id)
    if run.info.run_name != name:
        opened.client.update_run(run_id, name=name)
    is_current = all(run.data.tags.get(key) == value for key, value in tags.items())
    if not is_current or run.info.status == "RUNNING":
        missing_steps = curve.steps.keys() - {int(step) for step in _logged_sources(run)}
        _log(opened, run_id, curve, sorted(missing_steps), tags)
    return run_id


def _holds(run: Any, curve: Curve) -> bool:
    """Whether everything in a run is still true: MLflow can add values and parameters to a run, but not change them.

    Of a run that was left unfinished nobody knows what its values are from.
    """
    if run.info.status == "RUNNING" and run.data.metrics:
        return False
    sources, params = curve.sources(), curve.params()
    same_values = all(sources.get(step) == digest for step, digest in _logged_sources(run).items())
    return same_values and all(params.get(key) == value for key, value in run.data.params.items())


def _logged_sources(run: Any) -> dict[str, str]:
    sources: dict[str, str] = json.loads(run.data.tags.get(SOURCES, "{}"))
    return sources


def _create(opened: MlflowStore, curve: Curve, name: str) -> str:
    """Create the run with its key, so that an unfinished one is found again. Returns its id."""
    tags = {CURVE: curve.key, "sweep_id": curve.points[0].tags["sweep_id"]}
    run = opened.client.create_run(opened.experiment_id, start_time=curve.start_ms, tags=tags, run_name=name)
    run_id = str(run.info.run_id)
    log_params(opened.client, run_id, curve.params())
    return run_id


def _log(opened: MlflowStore, run_id: str, curve: Curve, steps: Sequence[int], tags: Mapping[str, str]) -> None:
    """Log the values at these steps, then the tags, which say that they are logged.

    The times of the values rise with the steps, because MLflow orders values by time.
    """
    from mlflow.entities import Metric, RunTag

    metrics = []
    for step in steps:
        rate = curve.steps[step]
        values = {**curve.means(rate), mlflow_key(curve.axis): rate}
        metrics += [Metric(name, value, curve.start_ms + step, step) for name, value in values.items()]
    log_metrics(opened.client, run_id, metrics)
    opened.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    end_ms = max(point.end_ms for point in curve.points)
    opened.client.set_terminated(run_id, status="FINISHED", end_time=end_ms)


def _tags(curve: Curve) -> dict[str, str]:
    first, *others = (point.tags for point in curve.points)
    shared = {key: first[key] for key in SHARED_TAGS if key in first and all(o.get(key) == first[key] for o in others)}
    described = next((point.tags for point in curve.points if METRICS_TAG in point.tags and point.usable), {})
    metrics = {key: value for key, value in described.items() if key == METRICS_TAG or key.startswith(BETTER)}
    own = {
        CURVE: curve.key,
        SOURCES: json.dumps(curve.sources()),
        "verdict": curve.verdict.value,
        "mlflow.note.content": curve_note(curve),
    }
    return shared | metrics | own


def _set_parents(opened: MlflowStore, points: Sequence[PointRun], parents: Mapping[str, str]) -> None:
    for point in points:
        parent = parents.get(point.run_id)
        if parent is None and PARENT in point.tags:
            opened.client.delete_tag(point.run_id, PARENT)
        elif parent is not None and point.tags.get(PARENT) != parent:
            opened.client.set_tag(point.run_id, PARENT, parent)


@contextmanager
def _only_writer(directory: Path) -> Iterator[None]:
    """Let no other process write curves of the sweep in the meantime. Raises TimeoutError."""
    with PathLock(directory) as lock:
        if not lock.acquire(timeout_s=LOCK_TIMEOUT_S):
            raise TimeoutError(f"another process has been writing the curves of {directory} for {LOCK_TIMEOUT_S:g} s")
        yield
