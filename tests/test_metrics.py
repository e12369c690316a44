"""Every metric against figures worked out by hand, and what is unknown is absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra import registry
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.facts import Facts
from benchhydra.metrics import declared, metric, missing_percentile, not_computed_hint, summarize, table
from benchhydra.metrics.latency import percentile_with_failures
from benchhydra.records import NEVER, Phase, Records, Status
from benchhydra.render import rendered
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
        anomalies=np.zeros(n, np.int32),
        gaps_ns=np.repeat(np.array(tpot_ms) * MS, steps).astype(np.float32),
        gap_offsets=np.concatenate(([0], np.cumsum(steps))).astype(np.int64),
    )


#: What a streamed load over HTTP with limits has, and an offline batch.
STREAMED = frozenset({"requests", "latency", "stream", "tokens", "generated", "schedule", "slo"})
OFFLINE = frozenset({"requests", "tokens", "generated"})


def values(records: Records, has: frozenset[str] = STREAMED, slo: dict[str, float] | None = None) -> dict[str, float]:
    return {m.key: m.value for m in summarize(Window.of(records, slo=slo or {}), has)}


@pytest.fixture
def two() -> Records:
    return rows([0, 1000], [50, 150], [10, 20], [11, 6], lag_ms=2)


def test_metrics_equal_those_computed_by_hand(two: Records) -> None:
    figures = values(two)
    assert figures["mean_ttft_ms"] == pytest.approx(100)
    assert figures["median_ttft_ms"] == pytest.approx(100)
    assert figures["max_ttft_ms"] == pytest.approx(150)
    assert figures["std_ttft_ms"] == pytest.approx(50)
    assert figures["p99_ttft_ms"] == pytest.approx(149)
    assert figures["mean_tpot_ms"] == pytest.approx(15)
    assert figures["mean_itl_ms"] == pytest.approx((10 * 10 + 5 * 20) / 15)  # pooled over gaps, not over requests
    assert figures["mean_e2el_ms"] == pytest.approx((150 + 250) / 2)
    assert figures["mean_scheduled_ttft_ms"] == pytest.approx(102)
    assert figures["mean_scheduled_e2el_ms"] == pytest.approx(202)
    assert figures["p99_client_lag_ms"] == pytest.approx(2)
    assert figures["duration_s"] == pytest.approx(1.251)
    assert figures["request_throughput"] == pytest.approx(2 / 1.251)
    assert figures["input_throughput"] == pytest.approx(20 / 1.251)
    assert figures["output_throughput"] == pytest.approx(17 / 1.251)
    assert figures["total_token_throughput"] == pytest.approx(37 / 1.251)
    assert figures["completed"] == 2
    assert figures["failed"] == 0
    assert figures["achieved_rps"] == pytest.approx(1)
    assert figures["max_concurrency"] == 1
    assert figures["chunks_per_request"] == pytest.approx((11 + 6) / 2)


def test_all_of_nm_vllms_serving_figures_reach_the_result(two: Records) -> None:
    nm_vllms = {f"{s}_{m}_ms" for m in ("ttft", "tpot") for s in ("mean", "median", "p90", "p99")}
    nm_vllms |= {"request_throughput", "input_throughput", "output_throughput", "median_e2el_ms", "p90_e2el_ms"}
    assert nm_vllms <= set(values(two))


def test_an_answer_of_one_token_has_no_tpot_but_counts_in_other_metrics() -> None:
    figures = values(rows([0, 10], [50, 50], [10, 10], [1, 5]))
    assert figures["mean_tpot_ms"] == pytest.approx(10)
    assert figures["completed"] == 2
    assert "mean_tpot_ms" not in values(rows([0, 10], [50, 50], [10, 10], [1, 1]))


def test_an_answer_whose_tokens_came_in_one_chunk_has_no_tpot() -> None:
    """No time between its tokens was seen: 0 ms would be wrong."""
    figures = values(rows([0, 10, 20], [50, 50, 400], [10, 10, 0], [11, 11, 16]))
    assert (figures["mean_tpot_ms"], figures["median_tpot_ms"]) == pytest.approx((10, 10))
    assert figures["max_ttft_ms"] == pytest.approx(400)


def test_failures_are_counted_and_not_measured() -> None:
    figures = values(rows([0, 10, 20], [50, 9000, 70], [10, 10, 10], [5, 5, 5], status=[0, Status.HTTP_5XX, 0]))
    assert figures["mean_ttft_ms"] == pytest.approx(60)
    assert (figures["completed"], figures["failed"]) == (2, 1)
    assert figures["median_ttft_with_failures_ms"] == pytest.approx(70)
    assert "p99_ttft_with_failures_ms" not in figures  # it would be infinite


def test_nothing_completed_leaves_no_latency_and_no_zero_throughput() -> None:
    figures = values(rows([0, 10], [50, 50], [10, 10], [5, 5], status=[Status.RESET, Status.TIMEOUT]))
    assert figures["failed"] == 2
    assert not {name for name in figures if "throughput" in name or name.startswith(("mean_ttft", "p99", "median"))} - {
        "p99_client_lag_ms"
    }


def test_usage_that_is_absent_leaves_token_figures_absent(two: Records) -> None:
    unknown = replace(two, output_tokens=np.full(2, NEVER, np.int32), prompt_tokens=np.full(2, NEVER, np.int32))
    figures = values(unknown)
    assert "request_throughput" in figures and "mean_ttft_ms" in figures
    assert not {"output_throughput", "input_throughput", "total_token_throughput", "mean_tpot_ms"} & set(figures)


def test_warm_up_is_not_measured(two: Records) -> None:
    warm = replace(two, phase=np.array([Phase.WARMUP, Phase.MEASURED], np.int32))
    assert values(warm)["mean_ttft_ms"] == pytest.approx(150)
    assert values(warm)["completed"] == 1


def test_goodput_counts_answers_that_keep_every_limit(two: Records) -> None:
    figures = values(two, slo={"ttft_ms": 100.0, "tpot_ms": 15.0})
    assert figures["request_goodput"] == pytest.approx(1 / 1.251)
    assert figures["slo_attainment"] == pytest.approx(0.5)
    assert "request_goodput" not in values(two)


def test_a_closed_loop_has_no_schedule(two: Records) -> None:
    figures = values(replace(two, scheduled_ns=np.zeros(2, np.int64)))
    assert not {"mean_scheduled_ttft_ms", "p99_client_lag_ms", "offered_rps"} & set(figures)


def test_throughput_figures_of_an_offline_batch() -> None:
    batch = Records.of_spans([0] * 4, [2_000 * MS] * 4, prompt_tokens=[8] * 4, output_tokens=[16] * 4)
    figures = values(batch, OFFLINE)
    assert figures["request_throughput"] == pytest.approx(2)
    assert figures["output_throughput"] == pytest.approx(32)
    assert figures["total_token_throughput"] == pytest.approx(48)
    assert not {name for name in figures if "ttft" in name or "e2el" in name or "concurrency" in name}


def test_a_metric_is_computed_only_where_all_that_it_needs_is_there(two: Records) -> None:
    everything = values(two, slo={"ttft_ms": 100.0})
    for name, entry in table().items():
        if name in everything:
            assert all(name not in values(two, STREAMED - {need}, {"ttft_ms": 100.0}) for need in entry.needs), name
    assert values(two, frozenset()) == {}


def test_metrics_of_samples_and_facts(two: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.metrics._table", {})
    metric("longest_start_s", unit="s", better=Better.SMALLER, doc="d", needs=("start_s",))(
        lambda window: float(window.samples["start_s"].max())
    )
    window = Window.of(two, samples={"start_s": np.array([1.0, 3.0])})
    assert [m.value for m in summarize(window, {"requests", "start_s"})] == [3.0]
    assert summarize(window, {"requests"}) == []


def test_further_percentiles_are_those_of_numpy() -> None:
    records = rows([10.0 * i for i in range(200)], [20.0 + i for i in range(200)], [5.0] * 200, [4] * 200)
    window = Window.of(records)
    figures = {m.key: m for m in summarize(window, STREAMED, [99.9, 25, 50, 99])}
    assert figures["p99.9_ttft_ms"].value == pytest.approx(float(np.percentile(window.ttft_ms, 99.9)))
    assert figures["p25_scheduled_e2el_ms"].value == pytest.approx(float(np.percentile(window.scheduled_e2el_ms, 25)))
    assert figures["p99.9_ttft_with_failures_ms"].value == pytest.approx(figures["p99.9_ttft_ms"].value)
    assert (figures["p25_itl_ms"].unit, figures["p25_itl_ms"].better) == ("ms", Better.SMALLER)
    added = figures.keys() - {m.key for m in summarize(window, STREAMED)}
    latencies = ("ttft", "tpot", "itl", "e2el", "scheduled_ttft", "scheduled_e2el")
    failures = ("ttft_with_failures", "e2el_with_failures")
    # p50 is the median, and p99 of each is computed in any case
    assert added == {f"p{p}_{name}_ms" for p in ("25", "99.9") for name in latencies + failures}


def test_percentiles_that_are_unknown_are_absent(two: Records) -> None:
    failed = replace(two, status=np.array([Status.OK, Status.TIMEOUT], np.int32))
    names = {m.key for m in summarize(Window.of(failed), STREAMED, [99.9])}
    assert "p99.9_ttft_ms" in names and "p99.9_ttft_with_failures_ms" not in names  # infinite
    assert "p99.9_ttft_ms" not in {m.key for m in summarize(Window.of(two), OFFLINE, [99.9])}


@pytest.mark.parametrize("name", ["p99.9_ttft_ms", "p1_batch_prefill_ms", "p99_ttft_ms", "p0.5_itl_ms", "completed"])
def test_metrics_that_exist(name: str) -> None:
    metric = declared(name)
    assert metric is not None and metric.name == name


@pytest.mark.parametrize(
    "name", ["p50_ttft_ms", "p100_ttft_ms", "p0_ttft_ms", "p99.90_ttft_ms", "p099_ttft_ms", "p99.9_duration_s", "p9"]
)
def test_metrics_that_do_not_exist(name: str) -> None:
    assert declared(name) is None


@pytest.mark.parametrize(
    ("name", "percentiles", "missing"),
    [
        ("p99.9_ttft_ms", [], 99.9),
        ("p99.9_ttft_ms", [25.0, 99.9], None),
        ("p99_ttft_ms", [], None),  # always computed
        ("mean_ttft_ms", [], None),
        ("p99.9_duration_s", [], None),  # no such metric at all
    ],
)
def test_a_percentile_that_is_not_asked_for_is_missing(
    name: str, percentiles: list[float], missing: float | None
) -> None:
    assert missing_percentile(name, percentiles) == missing


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("p99.9_ttft_ms", "percentiles=[99.9] computes it"),
        ("p50_ttft_ms", "it is called median_ttft_ms"),
        ("p99_tttft_ms", "did you mean p99_ttft_ms"),
        ("energy_of_the_moon", "benchhydra metrics"),
    ],
)
def test_the_hint_for_a_metric_that_was_not_computed(name: str, hint: str) -> None:
    assert not_computed_hint(name).startswith(hint)


def test_tokens_per_user_count_the_time_in_flight_and_that_of_decoding(two: Records) -> None:
    figures = values(two)
    assert figures["output_throughput_per_user"] == pytest.approx((11 + 6) / (0.150 + 0.250))
    assert figures["mean_decode_throughput_per_user"] == pytest.approx((100 + 50) / 2)
    assert figures["median_decode_throughput_per_user"] == pytest.approx(75)


def test_tokens_per_user_are_output_throughput_by_concurrency_in_a_steady_state() -> None:
    """vLLM's definition; no request begins before or ends after the window here."""
    count = 400
    records = rows([10.0 * i for i in range(count)], [20.0] * count, [5.0] * count, [9] * count)
    figures = values(records)
    quotient = figures["output_throughput"] / figures["mean_concurrency"]
    assert figures["output_throughput_per_user"] == pytest.approx(quotient, rel=0.02)


def test_tokens_per_gpu_need_the_number_of_gpus(two: Records) -> None:
    registry.discover()
    of_two = {m.key: m.value for m in summarize(Window.of(two, facts=Facts({"engine_gpus": 2})), STREAMED)}
    for name in ("output_throughput", "total_token_throughput"):
        assert of_two[f"{name}_per_gpu"] == pytest.approx(of_two[name] / 2)
    assert not [name for name in values(two) if name.endswith("_per_gpu")]


def test_the_offered_rate_is_that_of_the_whole_schedule(two: Records) -> None:
    assert values(two)["offered_rps"] == pytest.approx(1)
    registry.discover()
    window = Window.of(two, facts=Facts({"offered_rps": 7.5}))
    assert {m.key: m.value for m in summarize(window, STREAMED)}["offered_rps"] == 7.5


def test_a_metric_that_computes_nan_fails_the_point(two: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.metrics._table", {})
    metric("broken", unit="ms", better=Better.SMALLER, doc="d")(lambda window: float("nan"))
    with pytest.raises(BenchhydraError, match="broken computed nan"):
        summarize(Window.of(two), STREAMED)


def test_two_metrics_of_one_name_are_refused() -> None:
    def compute(window: Window) -> float:
        return 1.0

    with pytest.raises(ConfigError, match="two metrics are called completed"):
        metric("completed", unit="x", better=Better.SMALLER, doc="d")(compute)


def test_summaries_do_not_share_state(two: Records) -> None:
    """nm-vllm's templates did: a second result overwrote the first."""
    first = summarize(Window.of(two), STREAMED)
    before = [m.value for m in first]
    summarize(Window.of(rows([0, 10], [1, 1], [1, 1], [3, 3])), STREAMED)
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


def test_every_metric_is_declared_completely() -> None:
    for name, entry in table().items():
        assert entry.doc and entry.unit and entry.needs, name
        assert entry.better in Better


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == rendered("metrics", "markdown", list(table().values())), (
        "run `make docs`"
    )
