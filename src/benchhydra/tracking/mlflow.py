"""The option ``tracking=mlflow``: a run for each point and for each curve of a sweep, written after measurements."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchhydra.artifacts import MLFLOW_FILE, POINT_FILES, RECORDS_FILE, RESULT_FILE, SERIES_FILE
from benchhydra.errors import ResultError
from benchhydra.output_directory import PathLock
from benchhydra.records import Records
from benchhydra.redaction import copy_redacted
from benchhydra.registry import knob, option
from benchhydra.result import Result
from benchhydra.series import Series, drawn_series, read_series
from benchhydra.tracking import (
    Tracking,
    answer_runs,
    curve_runs,
    entry,
    logged_series,
    repeats,
    store,
    superseded,
    view,
)
from benchhydra.tracking.links import read_links, read_run_ids, write_links
from benchhydra.tracking.metric_tags import metric_tags
from benchhydra.tracking.plot import load_plotting, write_plot

PLOT_FILE = "latency.png"
#: How long to wait for another process that logs the same result.
LOCK_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """The MLflow run of a point: the link to it, and whether this call has created it."""

    link: str
    new: bool


@option("tracking", "mlflow")
class Mlflow(Tracking):
    """MLflow: an SQLite store under outputs/, or the server that MLFLOW_TRACKING_URI names."""

    uri: str | None = knob(None, "tracking URI; null: MLFLOW_TRACKING_URI, else sqlite under outputs/")
    experiment: str = knob("benchhydra", "name of the MLflow experiment")
    artifacts: bool = knob(True, "keep a copy of the point's files and a plot of its latencies in MLflow")
    series: bool = knob(True, "log the point's series as metrics over time")

    slow: ClassVar[bool] = True

    def prepare(self) -> None:
        try:
            with store.impatient(), store.quiet():
                store.open_store(store.tracking_uri(self.uri), self.experiment)
        except store.failures():
            return  # logging will report it
        if self.artifacts:
            load_plotting()

    def logged(self, directory: Path) -> bool:
        return (directory / MLFLOW_FILE).exists()

    def log(self, result: Result, directory: Path) -> str | None:
        try:
            return self.record(result, directory).link
        except store.failures() as error:
            command = f"benchhydra log {shlex.quote(str(directory))}"
            sys.stderr.write(
                f"not logged to MLflow ({store.one_line(error)}); result.json is complete; to log it later: {command}\n"
            )
            return None

    def log_repeats(self, repeated: Mapping[str, Any], directories: Sequence[Path]) -> None:
        uri = store.tracking_uri(self.uri)
        metrics = repeats.repeat_metrics(repeated, repeats.read_key_metrics(directories))
        try:
            with store.impatient(), store.quiet():
                opened = store.open_store(uri, self.experiment)
                repeats.log_repeat_metrics(opened, read_run_ids(directories), repeated["repeats"], metrics)
        except store.failures() as error:
            sys.stderr.write(f"summary of repeats not logged to MLflow ({store.one_line(error)}); sweep.json has it\n")

    def log_answer(self, sweep_id: str, answer: Mapping[str, Any], directories: Sequence[Path]) -> None:
        uri = store.tracking_uri(self.uri)
        try:
            with store.impatient(), store.quiet():
                opened = store.open_store(uri, self.experiment)
                answer_runs.write_answer(opened, sweep_id, answer, read_run_ids(directories))
        except store.failures() as error:
            sys.stderr.write(f"answer not logged to MLflow ({store.one_line(error)}); sweep.json has it\n")

    def log_curves(self, sweep_id: str, directory: Path) -> None:
        uri = store.tracking_uri(self.uri)
        try:
            with store.impatient(), store.quiet():
                opened = store.open_store(uri, self.experiment)
                curves = curve_runs.update_curves(opened, sweep_id, directory)
                view.publish_curves(opened, sweep_id, curves)
        except store.failures() as error:
            command = f"benchhydra log {shlex.quote(str(directory))}"
            sys.stderr.write(f"curves not logged to MLflow ({store.one_line(error)}); to log them later: {command}\n")

    def record(self, result: Result, directory: Path, *, again: bool = False) -> LoggedRun:
        """Log a point unless it is already logged. ``again``: replace its run. Raises one of ``store.failures()``.

        In a sweep that was resumed, a point that was measured again has one active run: that of its result now.
        """
        uri = store.tracking_uri(self.uri)
        with store.impatient(), store.quiet(), _only_logger(directory):
            opened = store.open_store(uri, self.experiment)
            run_id = None if again else superseded.logged_run(opened, result)
            new = run_id is None
            if run_id is None:
                _delete_runs(opened, result)
                run_id = self._write(opened, result, directory)
            superseded.retire_runs(opened, result, run_id, directory)
            view.publish(opened, result)
        base_url = store.base_url(uri)
        link = view.run_link(base_url, opened.experiment_id, run_id)
        write_links(directory, link=link, run_id=run_id, experiment_id=opened.experiment_id, base_url=base_url)
        return LoggedRun(link=link, new=new)

    def _write(self, opened: store.MlflowStore, result: Result, directory: Path) -> str:
        all_series = _read_series(directory) if self.series else []
        tags = entry.run_tags(result) | metric_tags(result, all_series)
        tags["mlflow.note.content"] = entry.run_note(result, directory)
        run = opened.client.create_run(
            opened.experiment_id,
            start_time=int(result.epoch_time * 1000),
            tags=tags,
            run_name=entry.run_name(result),
        )
        run_id: str = run.info.run_id
        records_file = directory / RECORDS_FILE
        records = Records.read(records_file) if records_file.is_file() and (self.series or self.artifacts) else None
        _write_values(opened.client, run_id, result)
        _write_dataset(opened.client, run_id, result)
        _write_series(opened.client, run_id, result, records, all_series)
        if self.artifacts:
            _write_artifacts(opened.client, run_id, directory, records)
        opened.client.set_terminated(run_id, status=entry.STATUS[result.status], end_time=int(_end_s(result) * 1000))
        return run_id


def sweep_link(sweep_id: str, directories: Iterable[Path]) -> str | None:
    """The link that opens a sweep's runs as charts; None if none of its points was logged."""
    for directory in directories:
        links = read_links(directory)
        if links:
            return view.view_link(links["base_url"], links["experiment_id"], f"{view.SWEEP}{sweep_id}", charts=True)
    return None


def _end_s(result: Result) -> float:
    return result.epoch_time + (result.wall_s or 0.0)


def _write_values(client: Any, run_id: str, result: Result) -> None:
    from mlflow.entities import Metric

    end_ms = int(_end_s(result) * 1000)
    values = entry.run_metrics(result) | entry.group_metrics(result)
    store.log_metrics(client, run_id, [Metric(name, value, end_ms, 0) for name, value in values.items()])
    store.log_params(client, run_id, entry.run_params(result))


def _write_dataset(client: Any, run_id: str, result: Result) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(**entry.run_dataset(result))
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "benchmark")])])


def _write_series(
    client: Any, run_id: str, result: Result, records: Records | None, all_series: Sequence[Series]
) -> None:
    """Log the series as metrics. Their real time counts back from the end of the run, which follows the last answer."""
    from mlflow.entities import Metric

    start_ns, end_ns = logged_series.measured_span_ns(records, all_series)
    samples = logged_series.samples(all_series, start_ns, _end_s(result) - (end_ns - start_ns) / 1e9)
    store.log_metrics(client, run_id, (Metric(s.key, s.value, s.timestamp_ms, s.step) for s in samples))


def _read_series(directory: Path) -> list[Series]:
    """The series to log; empty if there are none, or if they are in the format of version 0.1, which is not read."""
    try:
        return drawn_series(read_series(directory / SERIES_FILE))
    except ResultError:
        return []


def _write_artifacts(client: Any, run_id: str, directory: Path, records: Records | None) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name in POINT_FILES:
            if (directory / name).is_file():
                client.log_artifact(run_id, str(_without_secrets(directory / name, Path(folder))))
        plot = write_plot(records, Path(folder) / PLOT_FILE) if records is not None else None
        if plot is not None:
            client.log_artifact(run_id, str(plot))


def _without_secrets(file: Path, folder: Path) -> Path:
    """The file itself, or a copy in ``folder``: a result of an earlier version may hold secrets in its texts."""
    if file.suffix == ".parquet":
        return file
    copy_redacted(file, folder / file.name)
    return folder / file.name


@contextmanager
def _only_logger(directory: Path) -> Iterator[None]:
    """Let no other process log the result in the meantime: that of a killed sweep may still be at it.

    Raises TimeoutError.
    """
    with PathLock(directory / RESULT_FILE) as lock:
        if (directory / RESULT_FILE).exists() and not lock.acquire(timeout_s=LOCK_TIMEOUT_S):
            raise TimeoutError(f"another process has been logging it for {LOCK_TIMEOUT_S:g} s")
        yield


def _delete_runs(opened: store.MlflowStore, result: Result) -> None:
    for run in opened.client.search_runs([opened.experiment_id], f"tags.run_id = '{result.run_id}'"):
        opened.client.delete_run(run.info.run_id)
