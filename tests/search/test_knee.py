"""``search=knee`` on a server whose latencies are computed, and what its points say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
from tests.search.outcomes import invalid, measured, planned

from benchhydra import registry
from benchhydra.cli import program
from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint
from benchhydra.render.answer_text import answer_text
from benchhydra.search import Answer
from benchhydra.search.knee import Knee
from benchhydra.search.saturation import BurstRun, fit_saturation, next_burst

registry.discover()

#: A queue whose mean latency is IDLE_MS * (1 + rho^4 / (1 - rho) / 10) at a load of rho.
IDLE_MS, SATURATION, START_S = 200.0, 20.0, 0.5
METRIC = "mean_e2el_ms"
Measure = Callable[[PlannedPoint], Outcome]


def mean_ms(rate: float) -> float:
    rho = rate / SATURATION
    return IDLE_MS * (1 + rho**4 / (1 - rho) / 10)


def true_knee(factor: float) -> float:
    rates = np.linspace(0.01, 0.9999, 100_000) * SATURATION
    return float(rates[np.searchsorted([mean_ms(rate) for rate in rates], factor * IDLE_MS)])


def figures(mean: float, count: int, limit: float, samples: float) -> dict[str, float]:
    return {
        f"slo_ratio_{METRIC}": mean / limit,
        f"slo_limit_{METRIC}": limit,
        f"slo_samples_{METRIC}": samples,
        "completed": count,
    }


def measure(point: PlannedPoint) -> Outcome:
    """The outcome of a point. Bursts vary by 1 %, and means by what their samples say."""
    outcome = measured(point)
    rate, count = float(outcome.override("qps") or 1), int(outcome.override("num_prompts") or 300)
    limit = float(outcome.override(f"slo.{METRIC}") or "nan")
    rng = np.random.default_rng([*" ".join(point.overrides).encode()])
    if math.isinf(rate) and outcome.override("load.max_in_flight") != "1":
        span_s = (START_S + count / SATURATION) * (1 + 0.01 * rng.standard_normal())
        return replace(outcome, metrics={"request_throughput": count / span_s, "completed": count})
    if SATURATION <= rate < math.inf:
        return invalid(point, "overloaded", **figures(5 * IDLE_MS, count, limit, 10.0))
    samples = 50.0 * count if math.isinf(rate) else 2.0 * count
    mean = (IDLE_MS if math.isinf(rate) else mean_ms(rate)) * (1 + rng.standard_normal() / math.sqrt(samples))
    return replace(outcome, metrics=figures(mean, count, limit, samples))


def run(search: Knee, typed: Iterable[str] = (), measure: Measure = measure) -> list[Outcome]:
    keys = {word.partition("=")[0] for word in typed}
    points = [planned(*typed, *search.first_point(keys))]
    outcomes = [measure(points[0])]
    while asked := search.next(points, outcomes):
        outcomes += [measure(planned(*overrides)) for overrides in asked]
        assert len(outcomes) < 40
    return outcomes


def answer_of(search: Knee, outcomes: list[Outcome]) -> Answer:
    answer = search.answer(outcomes)
    assert answer is not None
    return answer


@pytest.mark.parametrize("typed", [(), ("qps=3", "num_prompts=300"), ("qps=60", "num_prompts=300")])
@pytest.mark.parametrize("factor", [1.25, 2.0])
def test_the_knee_and_the_saturation_are_found_from_any_start(factor: float, typed: tuple[str, ...]) -> None:
    search = Knee(factor=factor)
    answer = answer_of(search, run(search, typed))
    truth = true_knee(factor)
    assert answer.low is not None and answer.high is not None
    assert answer.low < truth < answer.high
    assert (answer.high - answer.low) / 2 / answer.value <= 0.05
    assert (answer.name, answer.unit, answer.confidence, answer.bound) == ("knee", "requests/s", 0.95, "")
    saturation = answer.figures[0]
    assert saturation.name == "saturation_throughput"
    assert saturation.low is not None and saturation.high is not None
    assert saturation.low < SATURATION < saturation.high


def test_the_interval_of_the_knee_holds_it_in_95_percent() -> None:
    search, truth = Knee(), true_knee(1.25)
    answers = [answer_of(search, run(search, (f"seed={1000 * seed}",))) for seed in range(40)]
    assert sum((answer.low or 0) < truth < (answer.high or 0) for answer in answers) >= 36
    errors = np.array([answer.value / truth - 1 for answer in answers])
    assert 0.005 < np.sqrt((errors**2).mean()) < 0.025


def test_the_answer_says_what_it_is_relative_to() -> None:
    search = Knee()
    text = answer_text({"search": "knee", **answer_of(search, run(search)).to_json()})
    assert "requests/s (" in text and "95 %), limited by mean E2EL <= 2" in text
    assert "saturates at " in text and "1.25 times the " in text


def test_the_answer_has_all_points_and_a_curve_in_ms() -> None:
    search = Knee()
    outcomes = run(search)
    answer = answer_of(search, outcomes)
    assert len(answer.evidence) == answer.probes == len(outcomes)
    assert {"idle", "saturated", "met", "missed"} <= {probe.decision for probe in answer.evidence}
    assert answer.fit is not None and answer.fit.metric == METRIC
    assert answer.fit.limit == pytest.approx(1.25 * IDLE_MS, rel=0.05)
    near = min(zip(answer.fit.x, answer.fit.y, strict=True), key=lambda point: abs(point[0] - answer.value))
    assert near[1] == pytest.approx(answer.fit.limit, rel=0.1)
    assert Answer.from_json(answer.to_json()) == answer


def test_next_is_a_function_of_the_outcomes() -> None:
    outcomes = run(Knee())
    points = [planned(*Knee().first_point(set()))]
    for count in range(1, len(outcomes)):
        (again,) = Knee().next(points, outcomes[:count])
        assert tuple(again) == outcomes[count].overrides


def test_every_point_sets_all_that_the_idle_point_has_set() -> None:
    """Overrides of the first point hold for later ones that do not replace them."""
    search = Knee()
    points = [planned(*search.first_point(set()))]
    for outcome in run(search)[1:]:
        assert outcome.override("load.max_in_flight") in ("1", "null")
    assert points[0].overrides[:2] == ("qps=inf", "load.max_in_flight=1")


def test_an_uncertain_idle_latency_widens_the_interval_and_is_measured_again() -> None:
    def noisy(point: PlannedPoint) -> Outcome:
        outcome = measure(point)
        if outcome.override("load.max_in_flight") == "1":
            count = int(outcome.override("num_prompts") or 0)
            return replace(outcome, metrics=figures(IDLE_MS, count, 1e6, 3.0 * count))
        return outcome

    search = Knee()
    outcomes = run(search, measure=noisy)
    assert sum(outcome.override("load.max_in_flight") == "1" for outcome in outcomes) > 1
    once = Knee(max_probes=10)
    first = answer_of(once, run(once, measure=noisy))
    sure = answer_of(once, run(once))
    assert first.high is not None and first.low is not None and sure.high is not None and sure.low is not None
    assert first.high - first.low > sure.high - sure.low


def test_a_server_that_is_slow_at_every_rate_has_an_upper_bound() -> None:
    def slow(point: PlannedPoint) -> Outcome:
        outcome = measure(point)
        is_rate = f"slo_ratio_{METRIC}" in outcome.metrics and outcome.override("load.max_in_flight") != "1"
        metrics = {**outcome.metrics, f"slo_ratio_{METRIC}": 9.0} if is_rate else outcome.metrics
        return replace(outcome, metrics=metrics)

    search = Knee(max_probes=12)
    answer = answer_of(search, run(search, measure=slow))
    assert answer.bound == "at most" and answer.low is None


@pytest.mark.parametrize("key", ["slo.p99_ttft_ms", "load.max_in_flight", "load.stop_when_decided"])
def test_what_it_sets_itself_cannot_be_typed(key: str) -> None:
    with pytest.raises(ConfigError, match=f"search=knee sets {key} itself"):
        Knee().first_point({key})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 1.0}, r"search\.factor=1 must be between 1\.01 and 100"),
        ({"precision": 0.0}, r"search\.precision=0"),
        ({"idle_requests": 5}, r"search\.idle_requests=5 must be at least 20"),
        ({"max_requests": 300}, r"search\.max_requests=300 must be at least 400"),
        ({"max_requests": 500, "min_requests": 600}, r"max_requests=500 must be at least search\.min_requests=600"),
        ({"max_probe_s": 0.0}, r"search\.max_probe_s=0 must be above 0"),
        ({"metric": "p99_ttft_ms"}, "metric"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Knee(**settings)  # type: ignore[arg-type]


# Saturation


def bursts(sizes: Iterable[int], noise: float, seed: int, start_s: float = START_S) -> list[BurstRun]:
    rng = np.random.default_rng(seed)
    return [
        BurstRun(
            outcome=measured(planned(f"num_prompts={size}")),
            requests=size,
            throughput=size / (start_s + size / SATURATION + noise * math.sqrt(size) * rng.standard_normal()),
        )
        for size in sizes
    ]


def test_the_interval_of_the_saturation_holds_it_in_95_percent() -> None:
    fits = [fit_saturation(bursts([100, 400] * 3, 0.02, seed)) for seed in range(400)]
    covered = [fit is not None and fit.low <= SATURATION <= fit.high for fit in fits]
    assert np.mean(covered) > 0.93
    widths = [fit.half_width for fit in fits if fit is not None]
    assert np.median(widths) < 0.06, "it holds the truth because it is right, and not because it is wide"


def test_bursts_grow_until_the_throughput_does_not() -> None:
    sizes: list[int] = []
    while size := next_burst(bursts(sizes, 0.0, 0, start_s=20.0), 0.05, 50_000, 1e6):
        sizes.append(size)
    assert sizes[:5] == [100, 400, 1600, 6400, 25_600]
    assert set(sizes[5:]) == {6400, 25_600} and len(sizes) == 9
    assert next_burst([], 0.05, 50, 1e6) == 50


def test_bursts_are_not_longer_than_a_point_may_be() -> None:
    sizes: list[int] = []
    while size := next_burst(bursts(sizes, 0.0, 0, start_s=1.0), 0.05, 50_000, 60.0):
        sizes.append(size)
    assert max(sizes) == 400


# As it is typed


def test_a_load_without_a_rate_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for load in ("sessions", "concurrency load.max_in_flight=2"):
        words = ["-m", "engine=fake", f"load={load.split()[0]}", *load.split()[1:], "search=knee", "sweep.plan=true"]
        assert program.run(words) == 1
    assert "search=knee needs a load of requests at a rate, and load=sessions is none" in capsys.readouterr().err
