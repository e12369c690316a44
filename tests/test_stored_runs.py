"""benchhydra.load: runs as objects, and as tables of pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.two_systems import RATES, REPEATS, REQUESTS, TOKENS, write_run, write_sweep

import benchhydra
from benchhydra.errors import BenchhydraError, ResultError
from benchhydra.result import Result
from benchhydra.tracking.mlflow import Mlflow


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    write_sweep(folder)
    return folder


def test_runs_have_metrics_and_what_was_swept(sweep: Path) -> None:
    runs = benchhydra.load(sweep)
    assert len(runs) == 2 * len(RATES) * REPEATS
    assert repr(runs) == "<36 runs of 12 points>"
    assert {tuple(settings) for settings in runs.settings} == {("qps", "engine.itl_ms")}
    assert (runs.metrics["mean_ttft_ms"].unit, runs.metrics["mean_ttft_ms"].better) == ("ms", "SmallerIsBetter")
    assert [run.run_id for run in runs[:2]] == [runs[0].run_id, runs[1].run_id]
    assert runs[-1].run_id == list(runs)[-1].run_id


def test_a_run_reads_the_rest_when_it_is_asked_for(sweep: Path) -> None:
    (run,) = benchhydra.load(sweep / "0-20-0")
    result = Result.read(sweep / "0-20-0")
    assert (run.verdict, run.reasons, run.directory) == ("VALID", (), sweep / "0-20-0")
    assert repr(run) == "<VALID run: serving tiny synthetic qps=20>"
    assert run.metrics["p99_ttft_ms"] == result.value("p99_ttft_ms")
    assert run.config["engine"]["itl_ms"] == 10.0
    assert run.result == result


def test_rows_are_columns_of_requests(sweep: Path) -> None:
    (run,) = benchhydra.load(sweep / "0-20-0")
    assert len(run.rows) == REQUESTS
    assert float(np.mean(run.rows["ttft_ms"])) == pytest.approx(run.metrics["mean_ttft_ms"])
    assert run.rows["sent_s"][0] == 0.0
    assert set(run.rows["status"]) == {"ok"}
    assert run.rows["output_tokens"].tolist() == [TOKENS] * REQUESTS


def test_series_are_found_by_name(sweep: Path) -> None:
    (run,) = benchhydra.load(sweep / "0-20-0")
    assert "client.in_flight" in run.series.names
    (in_flight,) = run.series["client.in_flight"]
    assert in_flight.unit == "requests"
    with pytest.raises(KeyError, match=r"client\.in_flight"):
        run.series["no.such"]


def test_pandas_gets_a_row_a_run_a_request_and_a_sample(sweep: Path) -> None:
    runs = benchhydra.load(sweep)
    frame = runs.to_pandas()
    tpot_ms = frame.groupby(["engine.itl_ms", "qps"])["mean_tpot_ms"].mean()
    assert tpot_ms[10.8, 20.0] / tpot_ms[10.0, 20.0] == pytest.approx(1.08, rel=0.01)
    assert (len(frame), frame["time"].dt.year.unique().tolist(), frame["verdict"][0]) == (36, [2025], "VALID")
    requests = runs[0].rows.to_pandas()
    assert (len(requests), requests["phase"][0], requests["ttft_ms"].isna().any()) == (REQUESTS, "measured", False)
    samples = runs[0].series.to_pandas()
    assert list(samples) == ["time_s", "name", "labels", "value", "unit"]
    assert set(samples["name"]) == set(runs[0].series.names)
    assert samples["time_s"].min() == 0.0
    assert (len(runs[:0].to_pandas()), "verdict" in runs[:0].to_pandas()) == (0, True)


def test_without_pandas_the_error_says_what_to_install(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    runs = benchhydra.load(sweep)
    with pytest.raises(BenchhydraError, match=r"pip install 'benchhydra\[pandas\]'"):
        runs.to_pandas()


def test_several_sources_are_joined_and_each_run_is_there_once(sweep: Path, tmp_path: Path) -> None:
    write_run(tmp_path, "other", 5.0, 10.0, [99])
    assert len(benchhydra.load(sweep, tmp_path, sweep / "0-20-0")) == 37
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "result.json").write_text("{")
    runs = benchhydra.load(tmp_path)
    assert (len(runs), len(runs.faults)) == (1, 1)


def test_what_is_missing_is_an_error(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such file"):
        benchhydra.load(tmp_path / "nowhere")
    write_run(tmp_path, "bare", 5.0, 10.0, [1])
    for name in ("records.parquet", "series.parquet"):
        (tmp_path / "bare" / name).unlink()
    (run,) = benchhydra.load(tmp_path)
    assert len(run.series) == 0 and len(run.series.to_pandas()) == 0
    with pytest.raises(ResultError, match=r"no records\.parquet"):
        _ = run.rows


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_runs_in_mlflow_have_rows_too(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    tracking = Mlflow(uri=uri, experiment="nightly")
    for name in ("0-20-0", "1-20-0"):
        tracking.record(Result.read(sweep / name), sweep / name)
    runs = benchhydra.load("mlflow:nightly")
    assert [(run.run_id, run.directory) for run in runs] == [("0-20-0", None), ("1-20-0", None)]
    assert runs[0].config["qps"] == 20.0
    assert len(runs[0].rows) == REQUESTS
    assert "client.in_flight" in runs[0].series.names
    assert [settings["engine.itl_ms"] for settings in runs.settings] == [10.0, 10.8]


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, benchhydra; print([m for m in sys.modules if m.startswith(('benchhydra.', 'numpy', 'pandas'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
