from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchhydra.analysis.compare import compare
from benchhydra.analysis.comparison import Basis, ChangeVerdict, GateOutcome
from benchhydra.analysis.gate import Gate
from benchhydra.analysis.request_evidence import latency_errors, take_rows
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.artifacts import RECORDS_FILE
from benchhydra.errors import ResultError
from benchhydra.metrics import summarize
from benchhydra.records import Records
from benchhydra.result import Verdict
from benchhydra.window import Window

MS = 1_000_000


def rows(ttft_ms: np.ndarray, gaps: int = 3) -> Records:
    """Requests 10 ms apart with these times to the first chunk, and ``gaps`` gaps of 5 ms each."""
    n = len(ttft_ms)
    sent = np.arange(n, dtype=np.int64) * 10 * MS
    records = Records.of_spans(sent.tolist(), (sent + 1000 * MS).tolist(), output_tokens=[gaps + 1] * n)
    first = sent + (ttft_ms * MS).astype(np.int64)
    columns = {name: getattr(records, name) for name in records.__dataclass_fields__}
    columns |= {
        "first_byte_ns": first,
        "first_ns": first,
        "last_ns": first + gaps * 5 * MS,
        "done_ns": first + gaps * 5 * MS,
        "gaps_ns": np.full(n * gaps, 5 * MS, dtype=np.float32),
        "gap_offsets": np.arange(n + 1, dtype=np.int64) * gaps,
    }
    return Records(**columns)


def single(directory: Path, name: str, ttft_ms: np.ndarray) -> Runs:
    """One run with its records on disk."""
    directory.mkdir()
    records = rows(ttft_ms)
    (directory / "result.json").write_text("{}")
    records.write(directory / RECORDS_FILE)
    metrics = summarize(Window.of(records), {"requests", "latency", "stream", "tokens", "generated"})
    run = Run(
        run_id=name,
        point_key="k",
        verdict=Verdict.VALID,
        status="ok",
        epoch_time=0.0,
        machine="m",
        script="serving",
        source=str(directory / "result.json"),
        metrics={m.key: m.value for m in metrics},
    )
    return Runs([run], {m.key: MetricKind(m.unit, m.better) for m in metrics})


def lognormal(seed: int, count: int = 300, middle: float = 50.0, sigma: float = 0.2) -> np.ndarray:
    return middle * np.exp(np.random.default_rng(seed).normal(0, sigma, count))


def test_independent_requests_have_the_textbook_error(tmp_path: Path) -> None:
    errors = [latency_errors(single(tmp_path / str(i), "a", lognormal(i)).runs[0]) for i in range(5)]
    mean, median = (np.mean([of_run[key] for of_run in errors]) for key in ("mean_ttft_ms", "median_ttft_ms"))
    assert mean == pytest.approx(0.2 / math.sqrt(300), rel=0.2)
    assert median == pytest.approx(0.2 * math.sqrt(math.pi / 2 / 300), rel=0.2)
    assert not {"request_throughput", "max_ttft_ms"} & set(errors[0])


def test_correlated_requests_have_a_larger_error(tmp_path: Path) -> None:
    shared = 50 * np.exp(np.repeat(np.random.default_rng(2).normal(0, 0.2, 30), 10))
    together = latency_errors(single(tmp_path / "a", "a", shared).runs[0])["mean_ttft_ms"]
    mixed = np.random.default_rng(3).permutation(shared)
    apart = latency_errors(single(tmp_path / "b", "b", mixed).runs[0])["mean_ttft_ms"]
    assert together > 1.8 * apart


def test_selected_rows_keep_their_gaps() -> None:
    records = rows(np.array([1.0, 2.0, 3.0]), gaps=2)
    numbered = Records(
        **{name: getattr(records, name) for name in records.__dataclass_fields__ if name != "gaps_ns"},
        gaps_ns=np.arange(6, dtype=np.float32),
    )
    taken = take_rows(numbered, np.array([2, 0, 2]))
    assert taken.first_ns.tolist() == records.first_ns[[2, 0, 2]].tolist()
    assert taken.gaps_ns.tolist() == [4, 5, 0, 1, 4, 5]
    assert taken.gap_offsets.tolist() == [0, 2, 4, 6]


def test_single_runs_are_judged_by_their_requests_and_never_fail_a_gate(tmp_path: Path) -> None:
    base, slow = single(tmp_path / "a", "a", lognormal(1)), single(tmp_path / "b", "b", lognormal(2, middle=60))
    changes = {m.metric: m for _, m in compare(base, slow, thresholds=Thresholds()).metrics}
    assert changes["mean_ttft_ms"].basis is Basis.REQUESTS
    assert changes["mean_ttft_ms"].change is ChangeVerdict.WORSE
    assert changes["request_throughput"].basis is Basis.NONE
    decision = Gate(base, slow, Thresholds()).decide()
    assert decision.outcome is GateOutcome.NOTHING_COMPARABLE
    assert "no proof" in decision.notes[-1]


def test_too_few_requests_give_no_evidence(tmp_path: Path) -> None:
    assert latency_errors(single(tmp_path / "a", "a", lognormal(1, count=20)).runs[0]) == {}


def test_a_broken_records_file_is_named(tmp_path: Path) -> None:
    run = single(tmp_path / "a", "a", lognormal(1)).runs[0]
    (tmp_path / "a" / RECORDS_FILE).write_bytes(b"no parquet")
    with pytest.raises(ResultError, match="cannot read"):
        latency_errors(run)
