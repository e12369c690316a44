"""Results that were logged to an SQLite store come back as they were, by experiment and filter."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchhydra.commands import _sources
from benchhydra.errors import ResultError
from benchhydra.result import Better, MetricValue, Result, Verdict
from benchhydra.tracking.mlflow import Mlflow
from benchhydra.tracking.source import download_point_file, results_from_mlflow

#: MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    found = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found)
    return found


def point(directory: Path, name: str, ttft_ms: float) -> Result:
    metric = MetricValue(key="mean_ttft_ms", unit="ms", value=ttft_ms, better=Better.SMALLER)
    result = Result(
        status="ok",
        verdict=Verdict.VALID,
        run_id=name,
        point_key="0123456789abcdef",
        script="serving",
        config={"qps": 2.0},
        epoch_time=float(len(name)),
        metrics={metric.key: metric},
    )
    result.write(directory)
    return result


def test_logged_results_can_be_read_back(tmp_path: Path, uri: str) -> None:
    tracking = Mlflow(uri=uri, experiment="nightly")
    for name, ttft_ms in (("a", 50.0), ("bb", 60.0)):
        tracking.record(point(tmp_path / name, name, ttft_ms), tmp_path / name)
    found = _sources.runs_of("mlflow:nightly")
    assert [(run.run_id, run.metrics, run.directory) for run in found.runs] == [
        ("a", {"mean_ttft_ms": 50.0}, None),
        ("bb", {"mean_ttft_ms": 60.0}, None),
    ]
    assert [r.run_id for r in results_from_mlflow("nightly?metrics.mean_ttft_ms > 55")] == ["bb"]
    with pytest.raises(ResultError, match="no results in mlflow:nightly"):
        _sources.runs_of("mlflow:nightly?metrics.mean_ttft_ms > 99")
    with pytest.raises(ResultError, match="nightly"):
        results_from_mlflow("weekly")
    with pytest.raises(ResultError, match="cannot read mlflow:nightly"):
        results_from_mlflow("nightly?no filter")


def test_files_of_a_logged_point_can_be_fetched(tmp_path: Path, uri: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "series.parquet").write_bytes(b"series")
    Mlflow(uri=uri, experiment="nightly", series=False).record(point(tmp_path / "a", "a", 50.0), tmp_path / "a")
    fetched = download_point_file("nightly?metrics.mean_ttft_ms > 1", "a", "series.parquet", tmp_path)
    assert fetched is not None and fetched.read_bytes() == b"series"
    assert download_point_file("nightly", "a", "texts.jsonl", tmp_path) is None
    assert download_point_file("nightly", "unknown", "series.parquet", tmp_path) is None
    with pytest.raises(ResultError, match="weekly"):
        download_point_file("weekly", "a", "series.parquet", tmp_path)


def test_reading_does_not_create_a_store(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ResultError, match="no MLflow store"):
        results_from_mlflow("nightly")
    assert uri.endswith(str(tmp_path / "mlflow.db"))
    assert list(tmp_path.iterdir()) == []
