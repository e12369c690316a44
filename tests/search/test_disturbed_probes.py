"""Probes of a search for a limit that are INVALID: the server's fault is a finding, the client's is measured again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.search.outcomes import invalid, measured, planned

from benchhydra import registry
from benchhydra.points import Outcome, PlannedPoint, override_key
from benchhydra.search import Answer, Overrides, Search
from benchhydra.search.probe_faults import CLIENT_CHECKS, has_client_fault, is_beyond_limit
from benchhydra.sweep.group.study import run_studies, split_studies
from benchhydra.sweep.study_result import StudyResult

registry.discover()
Measure = Callable[[PlannedPoint], Outcome]


class Doubling(Search):
    """Doubles the rate until a probe is INVALID; ends with the highest rate below."""

    varies = ("qps",)
    finds_limits = True

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        if not all(outcome.believable for outcome in outcomes):
            return ()
        return [(f"qps={2 * _rate(outcomes[-1].overrides):g}",)]

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        rates = [_rate(outcome.overrides) for outcome in outcomes if outcome.believable]
        return Answer(value=max(rates), unit="requests/s", probes=len(outcomes))


def _rate(overrides: Sequence[str]) -> float:
    return next(float(o.partition("=")[2]) for o in overrides if override_key(o) == "qps")


def plan(overrides: tuple[str, ...]) -> PlannedPoint:
    repeats = [int(o.partition("=")[2]) for o in overrides if override_key(o) == "repeat"]
    return planned(*overrides, repeat=repeats[0] if repeats else 0)


def search(measure: Measure, search: Search) -> tuple[StudyResult, list[tuple[float, int]]]:
    """The result, and the (rate, repeat) of each measured point, in their order."""
    order: list[tuple[float, int]] = []

    def outcome_of(point: PlannedPoint) -> Outcome:
        order.append((_rate(point.overrides), point.identity.repeat))
        return measure(point)

    first = planned("qps=1")
    studies = split_studies(search, "doubling", plan, [first], [outcome_of(first)])
    (result,) = run_studies(studies, lambda _, point: outcome_of(point))
    return result, order


def test_a_disturbed_probe_is_measured_again_and_an_overloaded_one_is_not() -> None:
    def measure(point: PlannedPoint) -> Outcome:
        rate, repeat = _rate(point.overrides), point.identity.repeat
        if rate in (1, 4) and repeat == 0:
            return invalid(point, "client_wait", "overloaded")
        return invalid(point, "overloaded") if rate >= 8 else measured(point)

    result, order = search(measure, Doubling())
    assert order == [(1, 0), (1, 1), (2, 0), (4, 0), (4, 1), (8, 0)]
    assert result.error is None and result.answer is not None
    assert (result.answer.value, result.answer.probes) == (4, 4)


def test_repeats_of_disturbed_probes_do_not_count_as_points_of_the_search() -> None:
    def measure(point: PlannedPoint) -> Outcome:
        if point.identity.repeat == 0:
            return invalid(point, "client_wait")
        return invalid(point, "overloaded") if _rate(point.overrides) >= 8 else measured(point)

    result, order = search(measure, Doubling(max_points=3))
    assert order == [(rate, repeat) for rate in (1, 2, 4, 8) for repeat in (0, 1)]
    assert result.error is None and result.answer is not None
    assert result.answer.value == 4


@pytest.mark.parametrize(("repeats", "times"), [(0, "once"), (1, "2 times"), (3, "4 times")])
def test_a_probe_that_stays_disturbed_ends_the_search_and_is_no_limit(repeats: int, times: str) -> None:
    def measure(point: PlannedPoint) -> Outcome:
        return invalid(point, "client_lag", "overloaded") if _rate(point.overrides) >= 4 else measured(point)

    result, order = search(measure, Doubling(disturbed_repeats=repeats))
    assert order[2:] == [(4, repeat) for repeat in range(repeats + 1)]
    assert result.answer is None
    assert result.error == (
        f"the load generator disturbed the probe at qps=4 (client_lag) {times}, after {len(order)} points"
    )


def test_a_wrong_measurement_ends_the_search() -> None:
    def measure(point: PlannedPoint) -> Outcome:
        return invalid(point, "overloaded", "tokens") if _rate(point.overrides) >= 2 else measured(point)

    result, _ = search(measure, Doubling())
    assert result.answer is None and result.error is not None
    assert result.error.startswith("the probe at qps=2 (overloaded, tokens) is INVALID, and not because of a limit")


def test_searches_that_find_no_limit_see_every_outcome() -> None:
    class Mean(Doubling):
        finds_limits = False

    result, order = search(lambda point: invalid(point, "client_lag"), Mean())
    assert order == [(1, 0)]
    assert result.error is not None and "max()" in result.error


def test_every_rule_of_the_client_that_makes_a_result_invalid_is_a_client_fault() -> None:
    """A new rule in ``validity/client.py`` must not be taken for the server's limit."""
    import inspect
    import re

    from benchhydra.validity import client

    assert set(re.findall(r'invalid\("(\w+)"', inspect.getsource(client))) == CLIENT_CHECKS
    point = planned("qps=1")
    assert has_client_fault(invalid(point, "client_wait", "overloaded"))
    assert not is_beyond_limit(invalid(point, "client_wait", "overloaded"))
    assert is_beyond_limit(invalid(point, "overloaded", "failed_fraction"))
    assert not is_beyond_limit(measured(point)) and not has_client_fault(measured(point))
