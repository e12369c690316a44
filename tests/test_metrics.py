"""Every metric against figures worked out by hand, and what is unknown is absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.commands.metrics import metrics_markdown
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.metrics import MetricContext, metric, percentile_with_failures, summarize, table
from benchhydra.records import NEVER, Phase, Records, Status
from benchhydra.result import Better
from benchhydra.window import Window

MS = 1_000_000
DOCUMENT = Path(__file__).parents[1] / "docs" / "metrics.md"


def rows(
    sent_ms: list[float],
    ttft_ms: list[float],
    tpot_ms: list[float],
    tokens: list[int],
    *,
    lag_ms: float = 0.0,
    status: list[int] | None = None,
) -> Records:
    """Streams of one token a chunk at an even pace."""
    n = len(sent_ms)
    sent = ((np.array(sent_ms) + 1000) * MS).astype(np.int64)
    first = sent + (np.array(ttft_ms) * MS).astype(np.int64)
    steps = np.array(tokens) - 1
    last = first + (np.array(tpot_ms) * steps * MS).astype(np.int64)
    return Records(
        scheduled_ns=sent - int(lag_ms * MS),
        sent_ns=sent,
        first_byte_ns=first,
        first_ns=first,
        last_ns=last,
        done_ns=last + MS,
        asked_prompt_tokens=np.full(n, 10, np.int32),
        asked_output_tokens=np.array(tokens, np.int32),
        prompt_tokens=np.full(n, 10, np.int32),
        output_tokens=np.array(tokens, np.int32),
        status=np.array(status or [Status.OK] * n, np.int32),
        error=np.full(n, NEVER, np.int32),
        phase=np.full(n, Phase.MEASURED, np.int32),
        gaps_ns=np.repeat(np.array(tpot_ms) * MS, steps).astype(np.float32),
        gap_offsets=np.concatenate(([0], np.cumsum(steps))).astype(np.int64),
    )


def values(records: Records, script: str = "serving", context: MetricContext | None = None) -> dict[str, float]:
    return {m.key: m.value for m in summarize(records, script, context)}


@pytest.fixture
def two() -> Records:
    return rows([0, 1000], [50, 150], [10, 20], [11, 6], lag_ms=2)


def test_figures_worked_out_by_hand(two: Records) -> None:
    found = values(two)
    assert found["mean_ttft_ms"] == pytest.approx(100)
    assert found["median_ttft_ms"] == pytest.approx(100)
    assert found["max_ttft_ms"] == pytest.approx(150)
    assert found["std_ttft_ms"] == pytest.approx(50)
    assert found["p99_ttft_ms"] == pytest.approx(149)
    assert found["mean_tpot_ms"] == pytest.approx(15)
    assert found["mean_itl_ms"] == pytest.approx((10 * 10 + 5 * 20) / 15)  # pooled over gaps, not over requests
    assert found["mean_e2el_ms"] == pytest.approx((150 + 250) / 2)
    assert found["mean_scheduled_ttft_ms"] == pytest.approx(102)
    assert found["mean_scheduled_e2el_ms"] == pytest.approx(202)
    assert found["p99_client_lag_ms"] == pytest.approx(2)
    assert found["duration_s"] == pytest.approx(1.251)
    assert found["request_throughput"] == pytest.approx(2 / 1.251)
    assert found["input_throughput"] == pytest.approx(20 / 1.251)
    assert found["output_throughput"] == pytest.approx(17 / 1.251)
    assert found["total_token_throughput"] == pytest.approx(37 / 1.251)
    assert found["completed"] == 2
    assert found["failed"] == 0
    assert found["achieved_rps"] == pytest.approx(1)
    assert found["max_concurrency"] == 1
    assert found["chunks_per_request"] == pytest.approx((11 + 6) / 2)


def test_all_of_the_seeds_serving_figures_reach_the_result(two: Records) -> None:
    seeds = {f"{s}_{m}_ms" for m in ("ttft", "tpot") for s in ("mean", "median", "p90", "p99")}
    seeds |= {"request_throughput", "input_throughput", "output_throughput", "median_e2el_ms", "p90_e2el_ms"}
    assert seeds <= set(values(two))


def test_an_answer_of_one_token_has_no_tpot_and_counts_elsewhere() -> None:
    found = values(rows([0, 10], [50, 50], [10, 10], [1, 5]))
    assert found["mean_tpot_ms"] == pytest.approx(10)
    assert found["completed"] == 2
    assert "mean_tpot_ms" not in values(rows([0, 10], [50, 50], [10, 10], [1, 1]))


def test_an_answer_whose_tokens_came_in_one_chunk_has_no_tpot() -> None:
    """No time between its tokens was seen: 0 ms would be wrong."""
    found = values(rows([0, 10, 20], [50, 50, 400], [10, 10, 0], [11, 11, 16]))
    assert (found["mean_tpot_ms"], found["median_tpot_ms"]) == pytest.approx((10, 10))
    assert found["max_ttft_ms"] == pytest.approx(400)


def test_failures_are_counted_and_not_measured() -> None:
    found = values(rows([0, 10, 20], [50, 9000, 70], [10, 10, 10], [5, 5, 5], status=[0, Status.HTTP_5XX, 0]))
    assert found["mean_ttft_ms"] == pytest.approx(60)
    assert (found["completed"], found["failed"]) == (2, 1)
    assert found["p50_ttft_with_failures_ms"] == pytest.approx(70)
    assert "p99_ttft_with_failures_ms" not in found  # it would be infinite


def test_nothing_completed_leaves_no_latency_and_no_zero_throughput() -> None:
    found = values(rows([0, 10], [50, 50], [10, 10], [5, 5], status=[Status.RESET, Status.TIMEOUT]))
    assert found["failed"] == 2
    assert not {name for name in found if "throughput" in name or name.startswith(("mean_ttft", "p99", "median"))} - {
        "p99_client_lag_ms"
    }


def test_usage_that_is_absent_leaves_token_figures_absent(two: Records) -> None:
    unknown = replace(two, output_tokens=np.full(2, NEVER, np.int32), prompt_tokens=np.full(2, NEVER, np.int32))
    found = values(unknown)
    assert "request_throughput" in found and "mean_ttft_ms" in found
    assert not {"output_throughput", "input_throughput", "total_token_throughput", "mean_tpot_ms"} & set(found)


def test_warm_up_is_not_measured(two: Records) -> None:
    warm = replace(two, phase=np.array([Phase.WARMUP, Phase.MEASURED], np.int32))
    assert values(warm)["mean_ttft_ms"] == pytest.approx(150)
    assert values(warm)["completed"] == 1


def test_goodput_counts_answers_that_keep_every_limit(two: Records) -> None:
    found = values(two, context=MetricContext(slo={"ttft_ms": 100.0, "tpot_ms": 15.0}))
    assert found["request_goodput"] == pytest.approx(1 / 1.251)
    assert found["slo_attainment"] == pytest.approx(0.5)
    assert "request_goodput" not in values(two)


def test_a_closed_loop_has_no_schedule(two: Records) -> None:
    found = values(replace(two, scheduled_ns=np.zeros(2, np.int64)))
    assert not {"mean_scheduled_ttft_ms", "p99_client_lag_ms", "offered_rps"} & set(found)


def test_throughput_figures_of_an_offline_batch() -> None:
    batch = Records.of_spans([0] * 4, [2_000 * MS] * 4, prompt_tokens=[8] * 4, output_tokens=[16] * 4)
    found = values(batch, "throughput")
    assert found["request_throughput"] == pytest.approx(2)
    assert found["output_throughput"] == pytest.approx(32)
    assert found["total_token_throughput"] == pytest.approx(48)


def test_a_metric_that_computes_nan_fails_the_point(two: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.metrics._table", {})
    metric("broken", unit="ms", better=Better.SMALLER, doc="d", scripts=("serving",))(lambda window: float("nan"))
    with pytest.raises(BenchhydraError, match="broken computed nan"):
        summarize(two, "serving")


def test_two_metrics_of_one_name_are_refused() -> None:
    def compute(window: Window) -> float:
        return 1.0

    with pytest.raises(ConfigError, match="two metrics are called completed"):
        metric("completed", unit="x", better=Better.SMALLER, doc="d", scripts=("serving",))(compute)


def test_summaries_do_not_share_state(two: Records) -> None:
    """The seed's templates did: a second result overwrote the first."""
    first = summarize(two, "serving")
    before = [m.value for m in first]
    summarize(rows([0, 10], [1, 1], [1, 1], [3, 3]), "serving")
    assert [m.value for m in first] == before


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=40), st.integers(0, 20))
def test_failures_only_make_percentiles_worse(known: list[float], failed: int) -> None:
    array = np.array(known)
    with_failures = percentile_with_failures(array, failed, 0.9)
    without = percentile_with_failures(array, 0, 0.9)
    assert without == pytest.approx(float(np.percentile(array, 90)))
    assert with_failures is None or (without is not None and with_failures >= without - 1e-9)


@given(st.permutations(range(8)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    made = rows([10.0 * i for i in range(8)], [20 + i for i in range(8)], [5] * 8, [4] * 8)
    parts = [made.where(np.arange(8) == i) for i in order]
    shuffled = values(Records.concat(parts))
    for name, value in values(made).items():
        assert shuffled[name] == pytest.approx(value), name


def test_every_metric_is_declared_whole() -> None:
    for name, declared in table().items():
        assert declared.doc and declared.unit and declared.scripts, name
        assert declared.better in Better


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == metrics_markdown(), "run `make docs`"
