"""The ``mlflow`` option: one MLflow run a point, written in one go after the measurement, never inside it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchhydra.registry import knob, option
from benchhydra.result import Result
from benchhydra.tracking import Tracking, entry, repeats, store, view
from benchhydra.tracking.plot import load_plotting, write_plot

LINK_FILE = "mlflow.json"
#: What a point leaves that is worth a copy in the tracker.
FILES = ("result.json", "records.parquet", "config.yaml", "server.log")


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """What became of logging a point: where it stands now, and whether it stood there before."""

    link: str
    new: bool


@option("tracking", "mlflow")
class Mlflow(Tracking):
    """MLflow: an SQLite store under outputs/, or the server that MLFLOW_TRACKING_URI names."""

    uri: str | None = knob(None, "tracking URI; null: MLFLOW_TRACKING_URI, else sqlite under outputs/")
    experiment: str = knob("benchhydra", "name of the MLflow experiment")
    artifacts: bool = knob(True, "keep a copy of the point's files and a plot of its latencies in MLflow")

    slow: ClassVar[bool] = True

    def prepare(self) -> None:
        try:
            with store.impatient(), store.quiet():
                store.open_store(store.tracking_uri(self.uri), self.experiment)
        except store.failures():
            return  # logging will say so
        if self.artifacts:
            load_plotting()

    def logged(self, directory: Path) -> bool:
        return (directory / LINK_FILE).exists()

    def log(self, result: Result, directory: Path) -> str | None:
        try:
            return self.record(result, directory).link
        except store.failures() as error:
            command = f"benchhydra log {shlex.quote(str(directory))}"
            sys.stderr.write(
                f"not logged to MLflow ({store.one_line(error)}); the result is safe, log it later: {command}\n"
            )
            return None

    def log_repeats(self, repeated: Mapping[str, Any], directories: Sequence[Path]) -> None:
        uri = store.tracking_uri(self.uri)
        try:
            with store.impatient(), store.quiet():
                repeats.log_repeat_metrics(
                    store.open_store(uri, self.experiment), repeats.read_run_ids(directories, LINK_FILE), repeated
                )
        except store.failures() as error:
            sys.stderr.write(f"repeats not summed up in MLflow ({store.one_line(error)}); sweep.json has them\n")

    def record(self, result: Result, directory: Path, *, again: bool = False) -> LoggedRun:
        """Log a point unless it is there already (``again``: replace it). Raises one of ``store.failures()``."""
        uri = store.tracking_uri(self.uri)
        with store.impatient(), store.quiet():
            opened = store.open_store(uri, self.experiment)
            run_id = None if again else _complete_run(opened, result)
            new = run_id is None
            if run_id is None:
                _delete_runs(opened, result)
                run_id = self._write(opened, result, directory)
            view.publish(opened, result)
        link = view.run_link(store.base_url(uri), opened.experiment_id, run_id)
        _remember(directory, opened, run_id, link)
        return LoggedRun(link=link, new=new)

    def _write(self, opened: store.MlflowStore, result: Result, directory: Path) -> str:
        tags = entry.run_tags(result) | {"mlflow.note.content": entry.run_note(result, directory)}
        run = opened.client.create_run(
            opened.experiment_id,
            start_time=int(result.epoch_time * 1000),
            tags=tags,
            run_name=entry.run_name(result),
        )
        run_id: str = run.info.run_id
        _write_values(opened.client, run_id, result)
        _write_dataset(opened.client, run_id, result)
        if self.artifacts:
            _write_artifacts(opened.client, run_id, directory)
        end_time = int((result.epoch_time + (result.wall_s or 0.0)) * 1000)
        opened.client.set_terminated(run_id, status=entry.STATUS[result.status], end_time=end_time)
        return run_id


def read_links(directory: Path) -> dict[str, str]:
    """What ``record`` left about a point in its directory: ``link experiment_id base_url``; empty where it did not."""
    try:
        found: dict[str, str] = json.loads((directory / LINK_FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found


def sweep_link(sweep_id: str, directories: Iterable[Path]) -> str | None:
    """The link that opens a sweep's runs as charts; None where none of its points was logged."""
    for directory in directories:
        found = read_links(directory)
        if found:
            return view.view_link(found["base_url"], found["experiment_id"], f"sweep-{sweep_id}", charts=True)
    return None


def _write_values(client: Any, run_id: str, result: Result) -> None:
    from mlflow.entities import Metric, Param

    now_ms = int((result.epoch_time + (result.wall_s or 0.0)) * 1000)
    metrics = [Metric(name, value, now_ms, 0) for name, value in entry.run_metrics(result).items()]
    params = [Param(key, value) for key, value in entry.run_params(result).items()]
    first, *rest = [params[i : i + entry.BATCH] for i in range(0, len(params), entry.BATCH)] or [[]]
    client.log_batch(run_id, metrics=metrics, params=first)
    for batch in rest:
        client.log_batch(run_id, params=batch)


def _write_dataset(client: Any, run_id: str, result: Result) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(**entry.run_dataset(result))
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "benchmark")])])


def _write_artifacts(client: Any, run_id: str, directory: Path) -> None:
    import tempfile

    for name in FILES:
        if (directory / name).is_file():
            client.log_artifact(run_id, str(directory / name))
    records = directory / "records.parquet"
    if records.is_file():
        with tempfile.TemporaryDirectory() as folder:
            plot = write_plot(records, Path(folder) / "latency.png")
            if plot is not None:
                client.log_artifact(run_id, str(plot))


def _runs(opened: store.MlflowStore, result: Result) -> list[Any]:
    found = opened.client.search_runs([opened.experiment_id], f"tags.run_id = '{result.run_id}'")
    return list(found)


def _complete_run(opened: store.MlflowStore, result: Result) -> str | None:
    """The run that holds this result whole: only a run that was terminated is."""
    done = [run.info.run_id for run in _runs(opened, result) if run.info.status != "RUNNING"]
    return done[0] if done else None


def _delete_runs(opened: store.MlflowStore, result: Result) -> None:
    for run in _runs(opened, result):
        opened.client.delete_run(run.info.run_id)


def _remember(directory: Path, opened: store.MlflowStore, run_id: str, link: str) -> None:
    known = {
        "link": link,
        "run_id": run_id,
        "experiment_id": opened.experiment_id,
        "base_url": store.base_url(opened.uri),
    }
    temporary = directory / f"{LINK_FILE}.tmp"
    temporary.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    temporary.replace(directory / LINK_FILE)
