"""One active MLflow run for each point of a sweep, also if the point was measured again when the sweep was resumed.

A result that failed or is INVALID is measured again, and its directory then holds the new one. The run of the old
result gets the tag ``superseded_by`` and is deleted, which MLflow can undo: lists, charts and comparisons leave it out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchhydra.artifacts import RESULT_FILE, read_json_or_none
from benchhydra.points import point_identity
from benchhydra.result import Result
from benchhydra.tracking.entry import TAG
from benchhydra.tracking.store import MlflowStore

SUPERSEDED_BY = "superseded_by"


def logged_run(opened: MlflowStore, result: Result) -> str | None:
    """The id of the run that holds the whole result, superseded or not; None if the result is not logged.

    A run that still has the status RUNNING was left by a process that was killed while it logged.
    """
    from mlflow.entities import ViewType

    runs = opened.client.search_runs(
        [opened.experiment_id], f"tags.run_id = '{result.run_id}'", run_view_type=ViewType.ALL
    )
    complete = [run for run in runs if run.info.status != "RUNNING" and _stands(run)]
    complete.sort(key=lambda run: run.info.lifecycle_stage == "deleted")
    return complete[0].info.run_id if complete else None


def _stands(run: Any) -> bool:
    """Whether a run is active, or deleted only because it was superseded."""
    return run.info.lifecycle_stage == "active" or SUPERSEDED_BY in run.data.tags


def retire_runs(opened: MlflowStore, result: Result, run_id: str, directory: Path) -> None:
    """Mark and delete the runs of a sweep's point that are not of the result in its directory.

    run_id: the run of ``result``, which may have been replaced in the directory while it was logged.
    """
    runs = {run.info.run_id: run for run in _runs_of_point(opened, result)}
    if runs.pop(run_id, None) is None:
        return  # a copy of the result, whose run was superseded before
    current = (read_json_or_none(directory / RESULT_FILE) or {}).get("run_id", result.run_id)
    if current == result.run_id:
        for other in runs:
            _retire(opened, other, run_id)
        return
    newer = [other for other, run in runs.items() if run.data.tags.get("run_id") == current]
    for other in newer[:1]:
        _retire(opened, run_id, other)


def _runs_of_point(opened: MlflowStore, result: Result) -> list[Any]:
    """The active runs of the same point, variant and repeat in the same sweep; none outside a sweep."""
    if not result.sweep_id:
        return []
    of_point = f"tags.sweep_id = '{result.sweep_id}' and tags.point_key = '{result.point_key}'"
    runs = opened.client.search_runs([opened.experiment_id], of_point)
    own = (str(result.repeat), point_identity(result.config).variant[:TAG])
    return [run for run in runs if (run.data.tags.get("repeat"), run.data.tags.get("variant", "")) == own]


def _retire(opened: MlflowStore, run_id: str, by: str) -> None:
    opened.client.set_tag(run_id, SUPERSEDED_BY, by)
    opened.client.delete_run(run_id)
