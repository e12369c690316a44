"""A load ends early when it is decided whether the SLO is met, and only then."""

from __future__ import annotations

import numpy as np
import pytest

from benchhydra.loadgen.early_stop import EarlyStop, wilson_interval
from benchhydra.loadgen.pacing.nothing_more import NothingMore
from benchhydra.loadgen.pacing.schedule import Schedule
from benchhydra.metrics.slo import slo_limits
from benchhydra.records import NEVER, Recorder, Records, Status


def records(ttft_ms: np.ndarray, gap_ms: float = 100.0) -> Records:
    count = len(ttft_ms)
    sent_ns = (np.arange(count) * gap_ms * 1e6).astype(np.int64)
    first_ns = sent_ns + (ttft_ms * 1e6).astype(np.int64)
    rows = Records.of_spans(sent_ns.tolist(), (first_ns + 10_000_000).tolist(), output_tokens=[2] * count)
    return Records(**{**vars(rows), "first_ns": first_ns, "last_ns": first_ns + 10_000_000})


def rule(name: str = "median_ttft_ms", limit: float = 100.0, *, has_rate: bool = True) -> EarlyStop:
    return EarlyStop(request_limits={}, limits=slo_limits({name: limit}), has_rate=has_rate)


def latencies(mean_ms: float, count: int = 300) -> np.ndarray:
    return np.random.default_rng(3).exponential(mean_ms, count)


def test_far_from_the_limit_a_few_hundred_requests_decide() -> None:
    assert rule().decide(records(latencies(30))) == "met"
    assert rule().decide(records(latencies(900))) == "missed"
    assert rule("mean_ttft_ms").decide(records(latencies(30))) == "met"
    assert rule("p99_ttft_ms").decide(records(latencies(200))) == "missed"


def test_near_the_limit_nothing_is_decided() -> None:
    assert rule().decide(records(latencies(130))) is None
    assert rule("p99_ttft_ms").decide(records(latencies(5))) is None  # a p99 of 300 requests may be anything


def test_a_growing_queue_is_a_miss_before_the_limit_is_reached() -> None:
    rising_ms = np.arange(300) * 20.0 + latencies(5)
    assert rule("p99_ttft_ms", 60_000).decide(records(rising_ms)) == "missed"
    assert rule("p99_ttft_ms", 60_000, has_rate=False).decide(records(rising_ms)) is None


def test_it_looks_rarely_and_never_at_few_requests() -> None:
    stop = rule()
    assert stop.decide(records(latencies(900, 99))) is None
    assert stop.decide(records(latencies(130, 200))) is None
    assert stop.decide(records(latencies(900, 220))) is None  # not 1.2 times as many as at the last look
    assert stop.decide(records(latencies(900, 300))) == "missed"


def test_the_warm_up_does_not_count() -> None:
    slow_start_ms = np.concatenate([latencies(9000), latencies(30)])
    stop, of_all = (
        EarlyStop(request_limits={}, limits=slo_limits({"mean_ttft_ms": 100}), has_rate=False, warmup_s=warmup_s)
        for warmup_s in (30.0, 0.0)
    )
    assert stop.decide(records(slow_start_ms[:350])) is None  # 50 requests after the warm-up
    assert stop.decide(records(slow_start_ms)) == "met"
    assert of_all.decide(records(slow_start_ms[:350])) == "missed"


def test_a_load_just_at_the_limit_is_seldom_decided() -> None:
    decided = 0
    for seed in range(30):
        values_ms, stop = np.random.default_rng(seed).exponential(100 / np.log(2), 2000), rule()
        decided += any(stop.decide(records(values_ms[:count])) for count in (100, 200, 400, 800, 1600))
    assert decided == 0


def test_only_rows_sent_before_the_oldest_in_flight_count() -> None:
    recorder = Recorder(4)
    for row, status in enumerate((Status.OK, Status.OK, None, Status.OK)):
        recorder.times["scheduled_ns"][row] = row
        if status is not None:
            recorder.counts["status"][row] = status
    assert recorder.prefix().scheduled_ns.tolist() == [0, 1]


def test_nothing_more_is_sent_after_the_decision() -> None:
    before = Schedule(np.arange(5, dtype=np.float64))
    before.start(0)
    assert list(before.next(0)) == [0]
    after = NothingMore(before, unsent=4)
    assert (after.next(10**9, 0), after.wake_ns, after.skipped, after.scheduled_ns(0)) == ((), NEVER, 4, 0)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 1.0])
def test_the_interval_holds_the_fraction(fraction: float) -> None:
    low, high = wilson_interval(fraction, 100, 2.0)
    assert 0 <= low <= fraction + 1e-12 and fraction - 1e-12 <= high <= 1
