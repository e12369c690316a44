"""Figures without the luck of arrivals: no bias, less variance, and nothing where the queue explains nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from benchhydra.emulation import load_emulation
from benchhydra.emulation.load_emulation import LimitEmulation, LoadEmulation
from benchhydra.emulation.queue_model import QueueModel
from benchhydra.emulation.server_model import Arrivals, Floats, Latencies

SLOTS, SERVICE_S, LIMIT_MS, ALLOWED = 4, 0.5, 900.0, 0.1
RATE, COUNT = 6.6, 1500
SERVER = QueueModel(
    slots=SLOTS,
    first_s=(SERVICE_S, 0.0),
    decode_s=(0.0, 0.0),
    first_factors=np.exp(0.1 * np.random.default_rng(1).standard_normal(1000)),
    decode_factors=np.ones(1),
)
Serve = Callable[[Arrivals, np.random.Generator], Latencies]


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_emulation, "LONG_RUN", 100_000)
    monkeypatch.setattr(load_emulation, "RATE_RUN", 20_000)


def beyond(latencies: Latencies) -> Floats:
    return (latencies.ttft_ms > LIMIT_MS).astype(np.float64)


def load(seed: int, count: int = COUNT, rate: float = RATE) -> Arrivals:
    """Poisson arrivals of exactly this rate."""
    sent_s = np.cumsum(np.random.default_rng([seed, 1]).exponential(1.0, count))
    sent_s = (sent_s - sent_s[0]) / np.ptp(sent_s) * (count - 1) / rate
    return Arrivals(sent_s, np.ones(count), np.ones(count))


def emulated(seed: int, serve: Serve = SERVER.latencies) -> tuple[float, LimitEmulation]:
    """(the measured fraction beyond the limit, what the emulation says) of one load."""
    requests = load(seed)
    latencies = serve(requests, np.random.default_rng([seed, 2]))
    rows = np.arange(COUNT // 10, COUNT)
    emulation = LoadEmulation(requests, latencies, rate=RATE, gap_variation=1.0, seed=seed)
    return float(beyond(latencies)[rows].mean()), emulation.limit("p90_ttft_ms", ALLOWED, rows, beyond)


def true_fraction(rate: float = RATE) -> float:
    return float(beyond(SERVER.latencies(load(99, 600_000, rate), np.random.default_rng(5)))[6000:].mean())


def test_the_luck_of_arrivals_is_taken_out_without_a_bias() -> None:
    loads = [emulated(seed) for seed in range(12)]
    measured = np.array([fraction for fraction, _ in loads])
    adjusted = [emulation.adjusted for _, emulation in loads if emulation.adjusted]
    assert len(adjusted) == len(loads)
    means = np.array([each.mean for each in adjusted])
    truth = true_fraction()
    errors = np.array([math.sqrt(each.variance) for each in adjusted])
    assert means.std() < 0.4 * measured.std()
    assert abs(means.mean() - truth) < 3 * errors.mean() / math.sqrt(len(loads))
    assert 0.5 < np.std((means - truth) / errors) < 1.6


def test_the_rate_at_which_the_limit_is_met_is_near_the_true_one() -> None:
    crossings = [emulation.crossing for _, emulation in map(emulated, range(3))]
    for crossing in crossings:
        assert crossing is not None
        assert true_fraction(crossing.rate) == pytest.approx(ALLOWED, rel=0.4)
        assert 5 < crossing.slope < 40


def test_latencies_that_have_nothing_to_do_with_arrivals_are_not_adjusted() -> None:
    def slow_at_random(requests: Arrivals, rng: np.random.Generator) -> Latencies:
        latencies_ms = np.where(rng.random(len(requests.sent_s)) < ALLOWED, 1000.0, 100.0)
        return Latencies(latencies_ms, np.full(len(latencies_ms), np.nan), latencies_ms)

    _, emulation = emulated(1, slow_at_random)
    assert emulation.adjusted is None


def test_without_a_request_beyond_the_limit_nothing_is_adjusted() -> None:
    def fast(requests: Arrivals, rng: np.random.Generator) -> Latencies:
        latencies = SERVER.latencies(requests, rng)
        return Latencies(*(column / 100 for column in latencies))

    assert emulated(1, fast)[1].adjusted is None


def test_all_at_once_tells_where_the_limit_is() -> None:
    requests = Arrivals(np.zeros(100), np.ones(100), np.ones(100))
    latencies = SERVER.latencies(requests, np.random.default_rng(1))
    emulation = LoadEmulation(requests, latencies, rate=None, gap_variation=1.0, seed=1)
    limit = emulation.limit("p90_ttft_ms", ALLOWED, np.arange(100), beyond)
    assert limit.adjusted is None
    assert limit.crossing is not None
    assert limit.crossing.rate == pytest.approx(emulated(1)[1].crossing.rate, rel=0.05)  # type: ignore[union-attr]


def lengthy(order: Callable[[Floats], Floats], one_chunk: int = 0) -> LimitEmulation:
    """What is said of a load with different lengths in an order. one_chunk: so many answers come in one chunk."""
    requests = load(1)
    tokens = order(np.random.default_rng(3).uniform(2, 22, COUNT).round())
    requests = requests._replace(output_tokens=tokens)
    ones = np.ones(1)
    server = QueueModel(slots=SLOTS, first_s=(0.1, 0.0), decode_s=(0.04, 0.0), first_factors=ones, decode_factors=ones)
    latencies = server.latencies(requests, np.random.default_rng(2))
    tpot_ms = latencies.tpot_ms.copy()
    tpot_ms[::7][:one_chunk] = np.nan
    latencies = latencies._replace(tpot_ms=tpot_ms)
    emulation = LoadEmulation(requests, latencies, rate=RATE, gap_variation=1.0, seed=1)
    rows = np.arange(COUNT // 10, COUNT)
    return emulation.limit(
        "p90_ttft_ms", ALLOWED, rows, lambda each: np.where(np.isnan(each.tpot_ms), np.nan, beyond(each))
    )


@pytest.mark.parametrize("order", [np.sort, lambda tokens: np.repeat(tokens[::30], 30)])
def test_lengths_in_an_order_are_not_adjusted(order: Callable[[Floats], Floats]) -> None:
    """Long runs have them in any order, which is another load."""
    assert lengthy(lambda tokens: tokens).adjusted is not None
    assert lengthy(order).adjusted is None


def test_values_that_many_requests_lack_are_not_emulated() -> None:
    """An answer in one chunk has no TPOT; the model has one for all."""
    assert lengthy(lambda tokens: tokens, one_chunk=5).adjusted is not None
    assert lengthy(lambda tokens: tokens, one_chunk=150) == (None, None, COUNT - COUNT // 10 - 150 + 22)


def test_a_limit_that_does_not_depend_on_the_rate_is_met_nowhere() -> None:
    """A tenth of the requests is too slow, at any rate."""
    requests = load(1)
    latencies = SERVER.latencies(requests, np.random.default_rng(2))
    emulation = LoadEmulation(requests, latencies, rate=RATE, gap_variation=1.0, seed=1)
    factors = np.random.default_rng(4).random(10**6)

    def unlucky(latencies: Latencies) -> Floats:
        return (factors[: len(latencies.ttft_ms)] < ALLOWED).astype(np.float64)

    assert emulation.limit("p90_tpot_ms", ALLOWED, np.arange(150, COUNT), unlucky).crossing is None


def test_a_limit_without_values_is_not_emulated() -> None:
    requests = load(1)
    latencies = SERVER.latencies(requests, np.random.default_rng(2))
    emulation = LoadEmulation(requests, latencies, rate=RATE, gap_variation=1.0, seed=1)
    assert emulation.limit("p90_tpot_ms", ALLOWED, np.arange(COUNT), lambda each: each.tpot_ms) == (None, None, 0)
