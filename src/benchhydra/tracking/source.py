"""Read results from MLflow, where each run has ``result.json`` as an artifact: comparing needs no local files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import BenchhydraError, ResultError
from benchhydra.result import Result
from benchhydra.tracking import store

PAGE = 1000
FORM = "mlflow:EXPERIMENT, or mlflow:EXPERIMENT?params.model = 'tiny'"


def results_from_mlflow(query: str) -> list[Result]:
    """The results of ``EXPERIMENT?filter`` (an MLflow search filter) in the store of MLFLOW_TRACKING_URI.

    Raises ResultError if the store, the experiment or a run's result is missing, or the filter is not valid.
    """
    experiment, _, search_filter = query.partition("?")
    uri = store.tracking_uri(None)
    try:
        with store.impatient(), store.quiet():
            return list(_results(uri, experiment, search_filter))
    except BenchhydraError:
        raise
    except store.failures() as error:
        raise ResultError(f"cannot read mlflow:{query}: {store.one_line(error)}", hint=FORM) from error


def _results(uri: str, experiment: str, search_filter: str) -> Iterator[Result]:
    file = store.sqlite_file(uri)
    if file is not None and not file.exists():
        raise ResultError(f"no MLflow store at {file}", hint="MLFLOW_TRACKING_URI selects another store")
    store.reach(uri)
    client = store.open_client(uri)
    mlflow_experiment = client.get_experiment_by_name(experiment)
    if mlflow_experiment is None:
        names = ", ".join(sorted(e.name for e in client.search_experiments(max_results=20)))
        raise ResultError(f"no MLflow experiment {experiment!r}", hint=f"the store has: {names}")
    with tempfile.TemporaryDirectory() as folder:
        for run in _finished_runs(client, mlflow_experiment.experiment_id, search_filter):
            yield Result.read(Path(client.download_artifacts(run.info.run_id, RESULT_FILE, folder)))


def _finished_runs(client: Any, experiment_id: str, search_filter: str) -> Iterator[Any]:
    """Every finished run that matches, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment_id], search_filter, max_results=PAGE, page_token=token)
        yield from (run for run in page if run.info.status != "RUNNING")
        token = page.token
        if not token:
            return
