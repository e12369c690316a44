"""Results as objects, for notebooks and scripts: ``benchhydra.load("outputs/sweeps/...")``.

A source is what subcommands take: a result.json, a run's or a sweep's directory, a tree of them, an archive, or
``mlflow:EXPERIMENT?filter``. Metrics are read at once; configs, rows of requests and series when they are asked for.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from benchhydra.analysis.pairing import varying_settings
from benchhydra.analysis.read_runs import MLFLOW, read_runs
from benchhydra.analysis.runs import MetricKind, Run, Runs, runs_of_results
from benchhydra.artifacts import RECORDS_FILE, SERIES_FILE, TEXTS_FILE
from benchhydra.errors import BenchhydraError, ResultError
from benchhydra.output_check import check_expectation, is_correct
from benchhydra.records import Phase, Records, Status
from benchhydra.render.figures import count
from benchhydra.result import Result
from benchhydra.series import Series, read_series
from benchhydra.window import Window, started_ns

if TYPE_CHECKING:
    import pandas

#: Columns of ``StoredRun.rows`` that are derived from the times of a request, in ms; NaN where they are unknown.
DERIVED = ("ttft_ms", "tpot_ms", "e2el_ms", "scheduled_ttft_ms", "scheduled_e2el_ms")
#: Columns of ``StoredRuns.to_pandas`` besides settings and metrics: fields of ``Run``.
FIELDS = (
    "run_id",
    "label",
    "script",
    "model",
    "dataset",
    "load",
    "verdict",
    "status",
    "machine",
    "engine_version",
    "commit",
)
NS = 1e9

#: (name of a file of the point) -> its path; None if the point has no such file
FindFile = Callable[[str], Path | None]


def load(source: str | Path, *more: str | Path) -> StoredRuns:
    """Read the runs of one or several sources, oldest first, each once.

    Raises ResultError if a source does not exist or has no results. Files that cannot be read are left out and named
    in ``StoredRuns.faults``.
    """
    parts = [_read(str(each)) for each in (source, *more)]
    return StoredRuns(
        Runs.joined([runs for runs, _ in parts]), {k: v for _, results in parts for k, v in results.items()}
    )


def _read(source: str) -> tuple[Runs, dict[str, _FromMlflow]]:
    """The runs of a source; of runs in MLflow also, by run id, how to get at the rest of them."""
    results: dict[str, _FromMlflow] = {}

    def from_mlflow(query: str) -> Runs:
        from benchhydra.tracking.source import results_from_mlflow  # start-up time: MLflow takes 2 s to import

        found = results_from_mlflow(query)
        results.update({result.run_id: _FromMlflow(query, result) for result in found})
        return runs_of_results(found, f"{MLFLOW}{query}")

    return read_runs(source, from_mlflow), results


class _FromMlflow:
    """A run in MLflow: its result, and its files, which are downloaded when they are asked for."""

    def __init__(self, query: str, result: Result) -> None:
        self.result = result
        self._query = query

    @cached_property
    def _folder(self) -> Path:
        """A folder for downloaded files, which is deleted with this object, at the latest when the process ends."""
        folder = tempfile.mkdtemp(prefix="benchhydra-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def file(self, name: str) -> Path | None:
        """Download a file of the run; None if it has no such file."""
        from benchhydra.tracking.source import download_point_file  # start-up time, as above

        return download_point_file(self._query, self.result.run_id, name, self._folder)


class StoredRuns(Sequence["StoredRun"]):
    """Runs in order of time. A slice has runs, too."""

    def __init__(self, runs: Runs, from_mlflow: Mapping[str, _FromMlflow] | None = None) -> None:
        self._runs = runs
        self._from_mlflow = from_mlflow or {}

    @overload
    def __getitem__(self, index: int) -> StoredRun: ...
    @overload
    def __getitem__(self, index: slice) -> StoredRuns: ...
    def __getitem__(self, index: int | slice) -> StoredRun | StoredRuns:
        if isinstance(index, slice):
            return StoredRuns(
                Runs(self._runs.runs[index], self._runs.kinds, scripts=self._runs.scripts), self._from_mlflow
            )
        run = self._runs.runs[index]
        return StoredRun(run, self._from_mlflow.get(run.run_id) if not run.directory else None)

    def __len__(self) -> int:
        return len(self._runs.runs)

    def __repr__(self) -> str:
        points = {run.point_key for run in self._runs.runs}
        return f"<{count(len(self), 'run')} of {count(len(points), 'point')}>"

    @property
    def metrics(self) -> dict[str, MetricKind]:
        """Every metric that a run has, with ``unit`` and ``better`` (its direction)."""
        return self._runs.kinds

    @property
    def faults(self) -> list[str]:
        """Why files were left out."""
        return self._runs.faults

    @cached_property
    def settings(self) -> list[dict[str, Any]]:
        """Of each run, the settings in which the runs differ: ``{"qps": 5.0, "engine.itl_ms": 10.0}``."""
        return varying_settings(self._runs.runs)

    def to_pandas(self) -> pandas.DataFrame:
        """A row a run: what it is (``FIELDS``), its time, the settings that differ between runs, and its metrics.

        Raises BenchhydraError without pandas.
        """
        library = _pandas()
        rows = [
            {name: str(getattr(run, name)) for name in FIELDS} | settings | run.metrics
            for run, settings in zip(self._runs.runs, self.settings, strict=True)
        ]
        frame = library.DataFrame(rows) if rows else library.DataFrame(columns=list(FIELDS))
        times = library.to_datetime([run.epoch_time for run in self._runs.runs], unit="s", utc=True)
        frame.insert(len(FIELDS), "time", times)
        return frame


class StoredRun:
    """One run: its metrics, and, read when they are asked for, its config, its requests and its series."""

    def __init__(self, run: Run, from_mlflow: _FromMlflow | None = None) -> None:
        self._run = run
        self._from_mlflow = from_mlflow

    def __repr__(self) -> str:
        return f"<{self.verdict} run: {self.label}>"

    @property
    def run_id(self) -> str:
        """Its id, which no other run has."""
        return self._run.run_id

    @property
    def label(self) -> str:
        """Script, model, dataset and load: ``serving llama2 sharegpt qps=5``."""
        return self._run.label

    @property
    def verdict(self) -> str:
        """``VALID``, ``SUSPECT`` or ``INVALID``."""
        return self._run.verdict.value

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not VALID."""
        return self._run.reasons

    @property
    def metrics(self) -> dict[str, float]:
        """Metric -> value. ``StoredRuns.metrics`` has their units."""
        return self._run.metrics

    @property
    def directory(self) -> Path | None:
        """The directory of its files; None if it was read from MLflow."""
        return self._run.directory

    @cached_property
    def result(self) -> Result:
        """Everything that is in its ``result.json``. Raises ResultError if that cannot be read."""
        if self._from_mlflow is not None:
            return self._from_mlflow.result
        return Result.read(Path(self._run.source))

    @property
    def config(self) -> dict[str, Any]:
        """The composed configuration, as nested dicts: ``run.config["engine"]["args"]``."""
        return self.result.config

    @cached_property
    def rows(self) -> RequestRows:
        """Its requests, a row each. Raises ResultError if the run has none."""
        file = self._file(RECORDS_FILE)
        if file is None:
            raise ResultError(f"{self._run.source or self.run_id} has no {RECORDS_FILE}")
        return RequestRows(Records.read(file))

    @cached_property
    def series(self) -> RunSeries:
        """What was sampled while it ran; empty if nothing was. Raises ResultError if the file is damaged."""
        file, rows = self._file(SERIES_FILE), self._file(RECORDS_FILE)
        series = read_series(file) if file is not None else []
        starts = [int(single.times_ns[0]) for single in series if len(single)]
        start_ns = RequestRows(Records.read(rows)).start_ns if rows is not None else min(starts, default=0)
        return RunSeries(series, start_ns)

    def correct_fraction(self, expect: str | None = None) -> float | None:
        """Return the fraction of stored answers that are right: as ``expect`` says, or as the data of each request.

        expect: as ``dataset.expect``. None if nothing is expected of any answer. Raises ResultError without texts.jsonl
        (``script.keep_text=true``), and ConfigError for an ``expect`` that means nothing.
        """
        path = self._file(TEXTS_FILE)
        if path is None:
            raise ResultError(f"{self.label} has no {TEXTS_FILE}", hint="script.keep_text=true")
        if expect is not None:
            check_expectation("expect", expect)
        right: list[bool] = []
        with path.open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                expected = expect or line.get("expect")
                if expected:
                    right.append(is_correct(line["generated"], expected))
        return sum(right) / len(right) if right else None

    def _file(self, name: str) -> Path | None:
        if self._from_mlflow is not None:
            return self._from_mlflow.file(name)
        file = self._run.file(name)
        return file if file is not None and file.is_file() else None


class RequestRows:
    """The requests of a run as columns: ``rows["ttft_ms"]`` is a numpy array with a value for each request.

    Columns: those of ``Records`` without gaps (times in ns of one monotonic clock, -1: never; token counts, -1:
    unknown), ``DERIVED`` in ms, and ``status`` and ``phase`` as text.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self.start_ns = int(started_ns(records).min()) if len(records) else 0

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<{count(len(self), 'request')}: {', '.join(self.columns)}>"

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Every column by name, each of shape (requests,)."""
        window = Window.over(self.records)
        times = ("scheduled_ns", "sent_ns", "first_byte_ns", "first_ns", "last_ns", "done_ns")
        counts = ("asked_prompt_tokens", "asked_output_tokens", "prompt_tokens", "output_tokens")
        texts: dict[str, Any] = {
            "status": [Status(value).name.lower() for value in self.records.status.tolist()],
            "phase": [Phase(value).name.lower() for value in self.records.phase.tolist()],
            "error": [self.records.errors[at] if at >= 0 else "" for at in self.records.error.tolist()],
        }
        return {
            "sent_s": (self.records.sent_ns - self.start_ns) / NS,
            **{name: getattr(window, name) for name in DERIVED},
            **{name: getattr(self.records, name) for name in (*counts, *times)},
            **texts,
        }

    def __getitem__(self, column: str) -> Any:
        return self.columns[column]

    def to_pandas(self) -> pandas.DataFrame:
        """A row a request, in order of their scheduled times. Raises BenchhydraError without pandas."""
        return _pandas().DataFrame(self.columns)


class RunSeries(Sequence[Series]):
    """The series of a run. ``series["gpu.power_w"]`` has all series of a name: one for each set of labels."""

    def __init__(self, series: Sequence[Series], start_ns: int) -> None:
        self._series = list(series)
        self.start_ns = start_ns

    @overload
    def __getitem__(self, index: int) -> Series: ...
    @overload
    def __getitem__(self, index: slice | str) -> RunSeries: ...
    def __getitem__(self, index: int | slice | str) -> Series | RunSeries:
        if isinstance(index, int):
            return self._series[index]
        if isinstance(index, slice):
            return RunSeries(self._series[index], self.start_ns)
        named = [single for single in self._series if single.name == index]
        if not named:
            raise KeyError(f"{index}: one of {', '.join(self.names)}")
        return RunSeries(named, self.start_ns)

    def __len__(self) -> int:
        return len(self._series)

    def __iter__(self) -> Iterator[Series]:
        return iter(self._series)

    def __repr__(self) -> str:
        return f"<{len(self)} series: {', '.join(self.names)}>"

    @property
    def names(self) -> list[str]:
        """The names of the series, each once."""
        return list(dict.fromkeys(single.name for single in self._series))

    def to_pandas(self) -> pandas.DataFrame:
        """A row a sample: ``time_s`` since the first request was sent, ``name``, ``labels``, ``value``, ``unit``.

        Raises BenchhydraError without pandas.
        """
        library = _pandas()
        columns = ["time_s", "name", "labels", "value", "unit"]
        frames = [
            library.DataFrame(
                {
                    "time_s": (single.times_ns - self.start_ns) / NS,
                    "name": single.name,
                    "labels": ",".join(f"{key}={value}" for key, value in single.labels.items()),
                    "value": single.values,
                    "unit": single.unit,
                }
            )
            for single in self._series
        ]
        return library.concat(frames, ignore_index=True) if frames else library.DataFrame(columns=columns)


def _pandas() -> Any:
    try:
        import pandas  # an extra: everything else works without it
    except ImportError as error:
        raise BenchhydraError("to_pandas needs pandas", hint="pip install 'benchhydra[pandas]'") from error
    return pandas
