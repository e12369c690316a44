"""``search=capacity`` on a queue that is computed, and on the fake engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest
from tests.search.outcomes import invalid, measured, planned

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint
from benchhydra.search import Answer
from benchhydra.search.capacity import Capacity
from benchhydra.search.limit_fit import NORMAL, START_TO_START
from benchhydra.search.load_evidence import IN_FLIGHT

registry.discover()

TRUTH, ALLOWED, SLOPE = 20.0, 0.01, 12.0
Measure = Callable[[PlannedPoint], Outcome]


def figures(name: str, ratio: float, samples: float, **more: float) -> dict[str, float]:
    return {
        f"slo_ratio_{name}": ratio,
        f"slo_samples_{name}": samples,
        f"slo_allowed_{name}": ALLOWED,
        f"slo_limit_{name}": 500.0,
        name: 400.0,
        **more,
    }


def exact(truth: float = TRUTH, key: str = "qps") -> Measure:
    """A server whose fraction of slow requests is exactly that of the model; one request in ten is independent."""

    def measure(point: PlannedPoint) -> Outcome:
        outcome = measured(point)
        load, count = float(outcome.override(key) or 1), float(outcome.override("num_prompts") or 300)
        if math.isinf(load):
            return replace(outcome, metrics={"request_throughput": 1.2 * truth})
        ratio = min((load / truth) ** SLOPE, 1 / ALLOWED)
        metrics = figures("p99_ttft_ms", ratio, count / 10, output_throughput=64 * load, completed=count)
        return replace(outcome, metrics=metrics)

    return measure


def run(search: Capacity, measure: Measure, first: Iterable[str] = ("qps=inf", "num_prompts=100")) -> list[Outcome]:
    points = [planned(*first)]
    outcomes = [measure(points[0])]
    while asked := search.next(points, outcomes):
        outcomes += [measure(planned(*overrides)) for overrides in asked]
        assert len(outcomes) < 40
    return outcomes


def answer_of(search: Capacity, outcomes: Sequence[Outcome]) -> Answer:
    answer = search.answer(outcomes)
    assert answer is not None
    return answer


@pytest.mark.parametrize("start", ["inf", "5", "20", "90"])
def test_the_capacity_is_found_from_any_start(start: str) -> None:
    search = Capacity()
    outcomes = run(search, exact(), (f"qps={start}", "num_prompts=300"))
    answer = answer_of(search, outcomes)
    assert answer.low is not None and answer.high is not None
    assert answer.low < TRUTH < answer.high
    assert answer.value == pytest.approx(TRUTH, rel=0.02)
    assert (answer.high - answer.low) / 2 / answer.value <= 0.05
    assert (answer.unit, answer.confidence, answer.note) == ("requests/s", 0.95, "")
    assert answer.limited_by == "p99_ttft_ms <= 500"
    assert len(outcomes) <= 12


def test_the_answer_has_figures_probes_and_a_curve() -> None:
    search = Capacity()
    answer = answer_of(search, run(search, exact()))
    throughput = next(figure for figure in answer.figures if figure.name == "output_throughput")
    assert throughput.value == pytest.approx(64 * answer.value)
    assert len(answer.evidence) == answer.probes
    assert {probe.decision for probe in answer.evidence} <= {"met", "missed", "unclear"}
    assert answer.fit is not None and answer.fit.limit == 1.0
    at = [y for x, y in zip(answer.fit.x, answer.fit.y, strict=True) if x >= answer.value]
    assert at[0] == pytest.approx(1, abs=0.5)
    assert all(low <= y <= high for low, y, high in zip(answer.fit.low, answer.fit.y, answer.fit.high, strict=True))
    assert Answer.from_json(answer.to_json()) == answer


def test_next_is_a_function_of_the_outcomes() -> None:
    outcomes = run(Capacity(), exact())
    points = [planned("qps=inf", "num_prompts=100")]
    for count in range(1, len(outcomes)):
        (again,) = Capacity().next(points, outcomes[:count])
        assert tuple(again) == outcomes[count].overrides


def test_a_probe_near_the_limit_has_at_least_a_thousand_requests() -> None:
    outcomes = run(Capacity(precision=0.5), exact())
    near = [outcome for outcome in outcomes[1:] if abs(float(outcome.override("qps") or 0) / TRUTH - 1) < 0.05]
    assert near and all(int(outcome.override("num_prompts") or 0) >= 1000 for outcome in near[1:])


def test_an_interval_holds_for_another_start_of_the_server() -> None:
    """No number of requests to one server tells how fast the next one is."""
    found = answer_of(Capacity(), run(Capacity(precision=0.03), exact()))
    assert found.low is not None and found.high is not None
    assert NORMAL * START_TO_START <= (found.high - found.low) / 2 / found.value <= 0.03


def test_each_probe_has_arrivals_of_its_own() -> None:
    outcomes = run(Capacity(), exact())[1:]
    seeds = [outcome.override("seed") for outcome in outcomes]
    assert len(set(seeds)) == len(seeds)


def test_history_is_where_it_begins() -> None:
    search = Capacity()
    search.use_history([Answer(value=21.0, unit="requests/s"), Answer(value=3.0, unit="requests/s")])
    points = [planned("qps=inf", "num_prompts=100")]
    (first,) = search.next(points, [exact()(points[0])])
    assert "qps=21" in first


def test_after_a_burst_it_begins_where_a_model_of_the_server_meets_the_limit() -> None:
    points = [planned("qps=inf", "num_prompts=100")]
    rates = {"slo_model_rate_p99_ttft_ms": 19.5, "slo_model_rate_p99_tpot_ms": 23.0}
    burst = measured(points[0], request_throughput=40.0, **rates)
    ((rate, requests, *_),) = Capacity().next(points, [burst])
    assert (rate, requests) == ("qps=19.5", "num_prompts=1500")


def test_an_overloaded_probe_says_where_a_model_of_the_server_meets_the_limit() -> None:
    """Its status is ``invalid`` unless script.fail_on=never."""
    point = planned("qps=60", "num_prompts=300")
    overloaded = invalid(point, "overloaded", **figures("p99_ttft_ms", 50.0, 20), slo_model_rate_p99_ttft_ms=20.5)
    (first,) = Capacity().next([point], [replace(overloaded, status="invalid")])
    assert first[0] == "qps=24"  # not below what one step down may be
    point = planned("qps=30", "num_prompts=300")
    overloaded = invalid(point, "overloaded", **figures("p99_ttft_ms", 50.0, 20), slo_model_rate_p99_ttft_ms=20.5)
    (first,) = Capacity().next([point], [replace(overloaded, status="invalid")])
    assert first[0] == "qps=20.5"


def test_a_rate_that_a_model_gave_and_a_probe_tried_is_not_tried_again() -> None:
    """A search went on at a rate far beyond the limit, because the probes there had no model of their own."""

    def measure(point: PlannedPoint) -> Outcome:
        outcome = exact()(point)
        first = outcome.override("num_prompts") == "300"
        few = {"slo_samples_p99_ttft_ms": 10.0} | ({"slo_model_rate_p99_ttft_ms": 1.5 * TRUTH} if first else {})
        return replace(outcome, metrics=dict(outcome.metrics) | few)

    outcomes = run(Capacity(max_probes=8), measure, (f"qps={0.9 * TRUTH}", "num_prompts=300"))
    rates = [float(outcome.override("qps") or 0) for outcome in outcomes]
    assert sum(rate > 1.3 * TRUTH for rate in rates) == 1
    assert sum(rate < 1.2 * TRUTH for rate in rates) >= 4


def test_figures_without_the_luck_of_arrivals_are_preferred() -> None:
    """The measured ratios say 16, the adjusted ones 20."""

    def measure(point: PlannedPoint) -> Outcome:
        outcome = exact()(point)
        load = float(outcome.override("qps") or 1)
        if math.isinf(load):
            return outcome
        lucky = figures("p99_ttft_ms", min((load / 16) ** SLOPE, 100.0), 100, completed=1000.0)
        adjusted = {
            "slo_adjusted_ratio_p99_ttft_ms": min((load / TRUTH) ** SLOPE, 100.0),
            "slo_adjusted_samples_p99_ttft_ms": 1000.0,
            "slo_slope_p99_ttft_ms": SLOPE,
        }
        return replace(outcome, metrics={**lucky, **adjusted})

    outcomes = run(Capacity(), measure)
    assert answer_of(Capacity(), outcomes).value == pytest.approx(TRUTH, rel=0.02)
    assert len(outcomes) <= 8


def test_a_known_slope_makes_the_interval_narrower() -> None:
    def half_width(**slope: float) -> float:
        probes = [
            measured(planned(f"qps={load}"), **figures("p99_ttft_ms", (load / TRUTH) ** SLOPE, 300), **slope)
            for load in (18.0, 22.0)
        ]
        answer = answer_of(Capacity(), probes)
        assert answer.low is not None and answer.high is not None
        return (answer.high - answer.low) / answer.value

    assert half_width(slo_slope_p99_ttft_ms=SLOPE) < 0.9 * half_width()


def test_a_limit_that_no_load_came_near_does_not_widen_the_interval() -> None:
    def with_another(ratio: float) -> Answer:
        far = figures("p99_tpot_ms", ratio, 20)
        return answer_of(Capacity(), [replace(each, metrics={**each.metrics, **far}) for each in outcomes])

    outcomes = run(Capacity(), exact())[1:]
    alone = answer_of(Capacity(), outcomes)
    assert (with_another(0.0).low, with_another(0.0).high) == (alone.low, alone.high)
    assert with_another(0.9).low != alone.low


def test_overloads_bound_the_capacity_from_above() -> None:
    def measure(point: PlannedPoint) -> Outcome:
        outcome = exact()(point)
        load = float(outcome.override("qps") or 1)
        return invalid(point, "overloaded", **outcome.metrics) if TRUTH * 1.1 < load < math.inf else outcome

    answer = answer_of(Capacity(), run(Capacity(), measure))
    assert answer.value == pytest.approx(TRUTH, rel=0.03)


def test_without_a_load_that_misses_the_answer_is_a_lower_bound() -> None:
    answer = answer_of(Capacity(max_probes=4), run(Capacity(max_probes=4), exact(truth=1e9), ("qps=5",)))
    assert (answer.bound, answer.high) == ("at least", None)
    assert answer.value == answer.low
    assert "all limits were met" in answer.note


def test_without_a_load_that_meets_the_answer_is_an_upper_bound() -> None:
    answer = answer_of(Capacity(max_probes=4), run(Capacity(max_probes=4), exact(truth=1e-6), ("qps=5",)))
    assert (answer.bound, answer.low) == ("at most", None)
    assert "no load that was tried met" in answer.note


@pytest.mark.parametrize(("ratio", "bound"), [(0.9, "at least"), (1.1, "at most")])
def test_one_short_probe_near_the_limit_claims_no_more_than_it_shows(ratio: float, bound: str) -> None:
    def bound_of(samples: float) -> float:
        probe = measured(planned("qps=20", "num_prompts=300"), **figures("p99_ttft_ms", ratio, samples))
        answer = answer_of(Capacity(), [probe])
        assert answer.bound == bound
        assert answer.value in (answer.low, answer.high)
        return answer.value

    short, long = abs(math.log(bound_of(300) / 20)), abs(math.log(bound_of(30_000) / 20))
    assert short > 0.1
    assert long < short / 2


def test_a_closed_loop_with_one_request_that_misses_is_at_most_a_whole_number() -> None:
    missed = invalid(planned(f"{IN_FLIGHT}=1"), "failed_fraction", **figures("p99_ttft_ms", 90.0, 300))
    answer = answer_of(Capacity(over=IN_FLIGHT), [missed])
    assert (answer.bound, answer.value) == ("at most", 1)


def test_a_closed_loops_figures_are_those_of_a_probe_and_have_no_interval() -> None:
    search = Capacity(over=IN_FLIGHT)
    answer = answer_of(search, run(search, exact(key=IN_FLIGHT), (f"{IN_FLIGHT}=8", "num_prompts=300")))
    (throughput,) = answer.figures
    assert throughput.value % 64 == 0
    assert (throughput.low, throughput.high) == (None, None)


def test_figures_at_the_capacity_are_not_those_of_an_overload() -> None:
    """A server that is offered 21 requests/s and finishes 15 yields more at its capacity of 20."""
    outcomes = run(Capacity(), exact())
    overload = figures("p99_ttft_ms", 80.0, 1000, output_throughput=64 * 15.0, completed=100_000)
    overloaded = invalid(planned("qps=20.2", "num_prompts=100000"), "overloaded", **overload)
    answer = answer_of(Capacity(), [*outcomes, overloaded])
    throughput = next(figure for figure in answer.figures if figure.name == "output_throughput")
    assert throughput.value == pytest.approx(64 * answer.value)


def test_a_load_that_was_ended_early_counts_with_the_requests_that_it_sent() -> None:
    ended = {**figures("p99_ttft_ms", 0.0, 50, completed=180.0, failed=2.0), "slo_decision": 1.0}
    whole = figures("p99_ttft_ms", 5.0, 50, completed=4500.0)
    points = planned("qps=10", "num_prompts=5000"), planned("qps=40", "num_prompts=5000")
    answer = answer_of(Capacity(), [measured(points[0], **ended), measured(points[1], **whole)])
    assert [probe.requests for probe in answer.evidence] == [182, 5000]


def test_an_imprecise_answer_says_so() -> None:
    search = Capacity(max_requests=400, max_probes=6)
    answer = answer_of(search, run(search, exact()))
    assert "wider than asked" in answer.note


def test_a_point_that_is_invalid_for_another_reason_is_not_the_servers_limit() -> None:
    outcomes = run(Capacity(), exact())
    bad = invalid(planned("qps=2", "num_prompts=300"), "tokens", **figures("p99_ttft_ms", 100.0, 1000))
    without, with_bad = answer_of(Capacity(), outcomes), answer_of(Capacity(), [*outcomes, bad])
    assert with_bad.value == without.value
    assert "1 point (qps=2) not used" in with_bad.note
    assert with_bad.evidence[-1].decision == "unusable"


def test_a_mean_of_zero_says_nothing_and_is_no_error() -> None:
    nothing = {**figures("mean_itl_ms", 0.0, 0.0)}
    del nothing["slo_allowed_mean_itl_ms"]
    outcomes = [replace(each, metrics={**each.metrics, **nothing}) for each in run(Capacity(), exact())]
    answer = answer_of(Capacity(), outcomes)
    assert answer.limited_by == "p99_ttft_ms <= 500"
    assert answer.value == pytest.approx(TRUTH, rel=0.03)


def test_the_first_of_two_limits_is_named() -> None:
    def measure(point: PlannedPoint) -> Outcome:
        outcome = exact()(point)
        load = float(outcome.override("qps") or 1)
        more = {} if math.isinf(load) else figures("p99_tpot_ms", (load / (0.8 * TRUTH)) ** SLOPE, 1000)
        return replace(outcome, metrics={**outcome.metrics, **more})

    answer = answer_of(Capacity(), run(Capacity(), measure))
    assert answer.limited_by.startswith("p99_tpot_ms")
    assert answer.value == pytest.approx(0.8 * TRUTH, rel=0.03)


def test_a_load_that_was_stopped_early_says_only_a_side() -> None:
    met = {**figures("p99_ttft_ms", 0.0, 50), "slo_decision": 1.0}
    missed = {**figures("p99_ttft_ms", 5.0, 50), "slo_decision": 0.0}
    outcomes = [measured(planned("qps=10"), **met), measured(planned("qps=40"), **missed)]
    answer = answer_of(Capacity(), outcomes)
    assert answer.low is not None and answer.high is not None
    assert 9.5 < answer.low < answer.high < 42


def test_requests_in_flight_are_whole_numbers() -> None:
    search = Capacity(over=IN_FLIGHT)
    assert search.varies[0] == IN_FLIGHT
    assert search.first_point(set()) == (f"{IN_FLIGHT}=8", "num_prompts=300")
    outcomes = run(search, exact(key=IN_FLIGHT), (f"{IN_FLIGHT}=8", "num_prompts=300"))
    loads = [float(outcome.override(IN_FLIGHT) or 0) for outcome in outcomes]
    assert all(load.is_integer() and load >= 1 for load in loads)
    assert answer_of(search, outcomes).value == pytest.approx(TRUTH, rel=0.05)


def test_a_limit_on_all_points_of_a_search_holds_too() -> None:
    outcomes = run(Capacity(max_points=4), exact())
    assert len(outcomes) == 5
    assert answer_of(Capacity(max_points=4), outcomes).note


@pytest.mark.parametrize(
    "wrong",
    [
        {"precision": 0.0},
        {"precision": 0.02},  # no interval is that narrow
        {"max_probes": 1},
        {"over": "seed"},
        {"min_requests": 5},
        {"max_requests": 200},
        {"max_probe_s": 0.0},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Capacity(**wrong)  # type: ignore[arg-type]
