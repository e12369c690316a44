"""Synthetic points, and one real MLflow store for all tests of tracking."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchhydra.records import Records
from benchhydra.result import Better, MetricValue, Reason, Result, Verdict
from benchhydra.tracking.mlflow import Mlflow

MILLISECOND = 1_000_000


#: MLflow's own use of SQLAlchemy, and what it imports.
FOREIGN_WARNINGS = (
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",
    "ignore::DeprecationWarning:mlflow",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Excuse, in this directory, what MLflow does and we cannot change."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in FOREIGN_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(autouse=True, scope="session")
def mlflow_imported() -> None:
    """Importing MLflow warns of deprecations in what it imports; what follows is not excused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: F401


@pytest.fixture(scope="session")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def tracking(uri: str) -> Mlflow:
    return Mlflow(uri=uri)


@pytest.fixture
def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def records(n: int = 20) -> Records:
    """n completed requests, 10 ms apart, of 100 ms each."""
    sent = np.arange(n, dtype=np.int64) * 10 * MILLISECOND
    spans = Records.of_spans((sent + 1).tolist(), (sent + 100 * MILLISECOND).tolist(), output_tokens=[5] * n)
    columns = {name: getattr(spans, name) for name in Records.__dataclass_fields__}
    columns |= {"first_ns": spans.sent_ns + 20 * MILLISECOND, "last_ns": spans.done_ns}
    return Records(**columns)


@pytest.fixture
def point(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., tuple[Result, Path]]]:
    made = 0

    def make(**changes: Any) -> tuple[Result, Path]:
        nonlocal made
        made += 1
        directory = tmp_path / f"point{made}"
        known: dict[str, Any] = {
            "status": "ok",
            "verdict": Verdict.SUSPECT,
            "reasons": (Reason(check="few", severity=Verdict.SUSPECT, text="20 of | 100 *requests*"),),
            "run_id": f"{request.node.name}-{made}",
            "point_key": "0123456789abcdef",
            "script": "serving",
            "model": "org/tiny-model",
            "dataset": "synthetic",
            "config": {"qps": 4.0, "seed": 1, "dataset": {"input_len": 8}, "engine": {"env": {"HF_TOKEN": "hunter2"}}},
            "epoch_time": 1_700_000_000.0,
            "wall_s": 2.5,
            "environment": {"git": {"commit": "c0ffee"}, "host": {"name": "node7"}, "machine_class": "cpu-2c"},
            "metadata": {"command": "benchhydra qps=4 'description=<b>bold</b>'"},
            "metrics": {
                "mean_ttft_ms": MetricValue(key="mean_ttft_ms", unit="ms", value=20.5, better=Better.SMALLER),
                "output_throughput": MetricValue(
                    key="output_throughput", unit="tokens/s", value=0.0, better=Better.BIGGER
                ),
            },
            "key_metrics": ("mean_ttft_ms", "output_throughput"),
            "charts": (("output_throughput", "mean_ttft_ms"),),
            "load_label": "qps=4",
        }
        result = Result(**(known | changes))
        result.write(directory)
        records().write(directory / "records.parquet")
        return result, directory

    yield make
