"""A report as an artifact of runs that were logged before: MLflow shows it in the run's page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchhydra.tracking import store
from benchhydra.tracking.mlflow import read_links

FOLDER = "report"


def attach_report(page: Path, directories: Iterable[Path], uri: str | None = None) -> int:
    """Log a file to the run of each point directory that ``record`` has logged. Returns how many there are.

    Raises one of ``store.failures()``, for one where the store does not know a run.
    """
    ids = [found["run_id"] for directory in directories if "run_id" in (found := read_links(directory))]
    if not ids:
        return 0
    address = store.tracking_uri(uri)
    with store.impatient(), store.quiet():
        store.reach(address)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=address)
        for run_id in ids:
            client.log_artifact(run_id, str(page), FOLDER)
    return len(ids)
