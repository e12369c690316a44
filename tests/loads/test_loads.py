"""Load shapes are pure: their send times can be tested like any other numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.loadgen.test_pacing import Simulation

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.loads import LoadShape
from benchhydra.loads.burst import Burst
from benchhydra.loads.concurrency import Concurrency
from benchhydra.loads.constant import Constant
from benchhydra.loads.poisson import Poisson
from benchhydra.loads.ramp import Ramp
from benchhydra.loads.trace import Trace

registry.discover()
#: The first schedule of seed 0 at 10 requests/s.
SCHEDULE = [0.0, 0.035875076202146, 0.097765469517867, 0.342886181761507, 0.4]
OPEN = [name for name, cls in registry.options("load").items() if cls.open_loop and name != "trace"]


def shape(name: str, **fields: Any) -> LoadShape:
    made: LoadShape = registry.options("load")[name](**fields)
    return made


@pytest.mark.parametrize("name", OPEN)
@given(qps=st.floats(0.1, 5000), count=st.integers(1, 300), seed=st.integers(0, 2**31))
def test_every_open_shape_is_a_schedule(name: str, qps: float, count: int, seed: int) -> None:
    offsets = shape(name, qps=qps).send_times_s(count, np.random.default_rng(seed))
    assert offsets.shape == (count,)
    assert np.isfinite(offsets).all() and offsets[0] >= 0 and (np.diff(offsets) >= 0).all()
    again = shape(name, qps=qps).send_times_s(count, np.random.default_rng(seed))
    assert np.array_equal(offsets, again)


@pytest.mark.parametrize("name", [name for name in OPEN if name != "ramp"])
@given(qps=st.floats(0.1, 5000), count=st.integers(11, 300), seed=st.integers(0, 2**31))
def test_the_offered_rate_is_the_requested_one(name: str, qps: float, count: int, seed: int) -> None:
    made = shape(name, qps=qps)
    send_times_s = made.send_times_s(count, np.random.default_rng(seed))
    assert made.asked_rps() == qps
    assert made.offered_rps(send_times_s) == pytest.approx(qps, rel=1e-9)
    if name != "burst":  # a burst's last group may be smaller
        assert send_times_s[-1] - send_times_s[0] == pytest.approx((count - 1) / qps, rel=1e-12)


@pytest.mark.parametrize("burstiness", [0.001, 0.25, 1.0, 4.0])
def test_a_random_schedule_lasts_as_long_as_an_even_one(burstiness: float) -> None:
    for seed in range(20):
        made = Poisson(qps=2.2, burstiness=burstiness)
        times = made.send_times_s(20, np.random.default_rng(seed))
        assert times[0] == 0 and times[-1] == pytest.approx(19 / 2.2, rel=1e-12)
        assert made.offered_rps(times) == pytest.approx(2.2, rel=1e-12)
    assert made.send_times_s(made.count(None), np.random.default_rng(1))[-1] == pytest.approx(131 / 2.2)  # 60 s
    assert made.send_times_s(1, np.random.default_rng(1)).tolist() == [0.0]


def test_poisson_arrivals_are_uniform_between_the_first_and_the_last() -> None:
    inner = [Poisson(qps=1.0).send_times_s(21, np.random.default_rng(seed))[1:-1] / 20 for seed in range(500)]
    assert stats.kstest(np.concatenate(inner), "uniform").pvalue > 0.01
    counts = [(times < 0.5).sum() for times in inner]  # independent uniform times: a binomial number in each half
    assert np.var(counts) == pytest.approx(19 / 4, rel=0.2)


def test_a_schedule_is_the_same_in_every_process_and_version() -> None:
    times = Poisson(qps=10.0).send_times_s(5, np.random.default_rng([0, 0, *b"arrivals"]))
    assert times.tolist() == pytest.approx(SCHEDULE, rel=1e-12)


@pytest.mark.parametrize("curve", ["linear", "exponential"])
def test_ramps_of_all_seeds_have_the_same_mean_rate(curve: str) -> None:
    ramp = Ramp(qps=50.0, start_qps=2.0, curve=curve)
    ends_s = {float(ramp.send_times_s(200, np.random.default_rng(seed))[-1]) for seed in range(5)}
    even_s = Ramp(qps=50.0, start_qps=2.0, curve=curve, arrivals="constant").send_times_s(200, np.random.default_rng(0))
    assert list(ends_s) == pytest.approx([float(even_s[-1])])
    assert ramp.offered_rps(even_s) == pytest.approx(ramp.asked_rps(), rel=0.01)


def test_groups_sent_at_once_have_the_requested_rate() -> None:
    made = Burst(qps=2.0, size=10)
    assert made.offered_rps(made.send_times_s(20, np.random.default_rng(0))) == 2.0
    assert made.offered_rps(made.send_times_s(10, np.random.default_rng(0))) is None


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gaps_have_the_requested_distribution(burstiness: float) -> None:
    gaps = np.diff(Poisson(qps=200.0, burstiness=burstiness).send_times_s(20_000, np.random.default_rng(3)))
    assert stats.kstest(gaps, "gamma", args=(burstiness, 0, 1 / (200 * burstiness))).pvalue > 0.01
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(1 / math.sqrt(burstiness), rel=0.05)


REQUIRED: dict[str, dict[str, Any]] = {"concurrency": {"max_in_flight": 4}}


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("name", registry.options("load"))
def test_the_pacing_of_every_shape_sends_each_row_once_within_the_limit(name: str, limit: int | None) -> None:
    fields = REQUIRED.get(name, {}) | ({} if limit is None else {"max_in_flight": limit})
    made = shape(name, **({} if name in ("trace", "concurrency") else {"qps": 200.0}), **fields)
    send_times_s = made.send_times_s(40, np.random.default_rng(1), np.linspace(0.0, 0.2, 40))
    run = Simulation(made.pacing(send_times_s), lambda row: row % 7 * 10**7)
    assert sorted(run.sent) == list(range(40))
    if made.max_in_flight is not None:
        assert run.most_in_flight <= made.max_in_flight
    if made.open_loop:
        planned_ns = (send_times_s * 1e9).astype(np.int64)
        scheduled_ns = np.array([run.scheduled_ns[row] for row in range(40)])
        assert np.array_equal(scheduled_ns - scheduled_ns[0], planned_ns - planned_ns[0])


def test_constant_gaps_are_equal() -> None:
    assert np.diff(Constant(qps=8.0).send_times_s(9, np.random.default_rng(0))) == pytest.approx([0.125] * 8)


@pytest.mark.parametrize("curve", ["linear", "exponential"])
def test_a_ramp_ends_faster_than_it_began(curve: str) -> None:
    offsets = Ramp(qps=100.0, start_qps=10.0, curve=curve, arrivals="constant").send_times_s(
        20_000, np.random.default_rng(0)
    )
    gaps = np.diff(offsets)
    assert 1 / gaps[:20].mean() == pytest.approx(10, rel=0.15)
    assert 1 / gaps[-20:].mean() == pytest.approx(100, rel=0.05)


def test_an_infinite_rate_sends_everything_at_once() -> None:
    offsets = Poisson(qps=math.inf).send_times_s(5, np.random.default_rng(0))
    assert (offsets == 0).all()
    assert Poisson(qps=math.inf).offered_rps(offsets) is None


def test_a_closed_loop_has_no_rate() -> None:
    loop = Concurrency(max_in_flight=4)
    assert loop.count(None) == 100
    assert Concurrency(max_in_flight=32).count(None) == 320
    assert loop.offered_rps(loop.send_times_s(8, np.random.default_rng(0))) is None


def test_a_trace_replays_what_was_recorded() -> None:
    recorded = np.array([5.0, 6.0, 9.0])
    assert Trace(speedup=2.0).send_times_s(3, np.random.default_rng(0), recorded).tolist() == [0.0, 0.5, 2.0]
    with pytest.raises(ConfigError, match="send time for each prompt"):
        Trace().send_times_s(3, np.random.default_rng(0), None)
    with pytest.raises(ConfigError, match="send times decrease"):
        Trace().send_times_s(3, np.random.default_rng(0), recorded[::-1])


def test_the_number_of_requests_follows_from_rate_and_duration() -> None:
    assert Poisson(qps=5.0, duration_s=60.0).count(None) == 300
    assert Poisson(qps=5.0).count(7) == 7
    with pytest.raises(ConfigError, match="num_prompts"):
        Poisson(qps=math.inf).count(None)
    with pytest.raises(ConfigError, match="leave nothing to measure"):
        Poisson(qps=10.0, warmup_s=5.0, cooldown_s=5.0).count(50)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("poisson", {"qps": 0.0}),
        ("poisson", {"qps": -1.0}),
        ("poisson", {"qps": 1.0, "burstiness": 0.0}),
        ("poisson", {"qps": 1.0, "max_in_flight": 0}),
        ("poisson", {"qps": 1.0, "processes": "many"}),
        ("poisson", {"qps": 1.0, "warmup_s": -1.0}),
        ("poisson", {"qps": 1.0, "steady": "perhaps"}),
        ("concurrency", {}),
        ("concurrency", {"max_in_flight": 4, "qps": 3.0}),
        ("ramp", {"qps": math.inf}),
        ("trace", {"speedup": 0.0}),
    ],
)
def test_invalid_settings_are_refused_in_one_line(name: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        shape(name, **fields)
    assert "\n" not in caught.value.message


def test_bursts_come_together() -> None:
    offsets = Burst(qps=100.0).send_times_s(1000, np.random.default_rng(0))
    assert len(np.unique(offsets)) < 500
