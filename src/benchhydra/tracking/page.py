"""Attach a report to MLflow runs as an artifact, which MLflow shows on the run's page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchhydra.tracking import store
from benchhydra.tracking.links import read_run_ids

FOLDER = "report"


def attach_report(page: Path, directories: Iterable[Path], uri: str | None = None) -> int:
    """Log a file to the MLflow run of each point directory that was logged. Returns the number of runs.

    Raises one of ``store.failures()``, also if a run is not in the store.
    """
    run_ids = read_run_ids(directories)
    if not run_ids:
        return 0
    address = store.tracking_uri(uri)
    with store.impatient(), store.quiet():
        store.reach(address)
        client = store.open_client(address)
        for run_id in run_ids:
            client.log_artifact(run_id, str(page), FOLDER)
    return len(run_ids)
