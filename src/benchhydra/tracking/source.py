"""Read results from MLflow, where each run has ``result.json`` as an artifact: comparing needs no local files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import BenchhydraError, ResultError
from benchhydra.result import Result
from benchhydra.tracking import store
from benchhydra.tracking.curve_runs import has_no_result

FORM = "mlflow:EXPERIMENT, or mlflow:EXPERIMENT?params.model = 'tiny'"


def results_from_mlflow(query: str) -> list[Result]:
    """The results of ``EXPERIMENT?filter`` (an MLflow search filter) in the store of MLFLOW_TRACKING_URI.

    The runs of curves are no results, and are left out. Raises ResultError if the store, the experiment or a run's
    result is missing, or the filter is not valid.
    """
    experiment, _, search_filter = query.partition("?")
    with _reading(query):
        return list(_results(*_open(experiment), search_filter))


def download_point_file(query: str, run_id: str, name: str, folder: Path) -> Path | None:
    """Copy a file of a point (``records.parquet``) from its MLflow run into ``folder``; None if the run lacks it.

    run_id: that of the result. query: ``EXPERIMENT?filter``, where the result was found. Raises ResultError.
    """
    with _reading(query):
        client, experiment_id = _open(query.partition("?")[0])
        for run in store.search_runs(client, experiment_id, f"tags.run_id = '{run_id}'"):
            if name in {file.path for file in client.list_artifacts(run.info.run_id)}:
                return Path(client.download_artifacts(run.info.run_id, name, str(folder)))
    return None


@contextmanager
def _reading(query: str) -> Iterator[None]:
    """Turn what reading raises into ResultError."""
    try:
        with store.impatient(), store.quiet():
            yield
    except BenchhydraError:
        raise
    except store.failures() as error:
        raise ResultError(f"cannot read mlflow:{query}: {store.one_line(error)}", hint=FORM) from error


def _open(experiment: str) -> tuple[Any, str]:
    """(client, id of the experiment)."""
    uri = store.tracking_uri(None)
    file = store.sqlite_file(uri)
    if file is not None and not file.exists():
        raise ResultError(f"no MLflow store at {file}", hint="MLFLOW_TRACKING_URI selects another store")
    store.reach(uri)
    client = store.open_client(uri)
    mlflow_experiment = client.get_experiment_by_name(experiment)
    if mlflow_experiment is None:
        names = ", ".join(sorted(e.name for e in client.search_experiments(max_results=20)))
        raise ResultError(f"no MLflow experiment {experiment!r}", hint=f"the store has: {names}")
    return client, str(mlflow_experiment.experiment_id)


def _results(client: Any, experiment_id: str, search_filter: str) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        for run in store.search_runs(client, experiment_id, search_filter):
            if run.info.status != "RUNNING" and not has_no_result(run):
                yield Result.read(Path(client.download_artifacts(run.info.run_id, RESULT_FILE, folder)))
