"""Trials of ``search=optimize`` that the load generator disturbed: repeated, and never held against a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from tests.search.outcomes import invalid, measured, planned

from benchhydra import registry
from benchhydra.points import Outcome, PlannedPoint, override_key
from benchhydra.result import Better
from benchhydra.search.optimization import Optimization, trial_of
from benchhydra.search.proposals import STARTUP_TRIALS, Settings, Space
from benchhydra.search.repeats import Repeats
from benchhydra.search.trials import DISTURBED, Estimate, Objective, Trial
from benchhydra.sweep.group.study import run_studies, split_studies
from benchhydra.sweep.study_result import StudyResult

registry.discover()
METRIC = "mean_tpot_ms"
OBJECTIVES = (Objective(name=METRIC, unit="ms", better=Better.SMALLER),)


def plan(overrides: tuple[str, ...]) -> PlannedPoint:
    repeats = [int(o.partition("=")[2]) for o in overrides if override_key(o) == "repeat"]
    return planned(*overrides, repeat=repeats[0] if repeats else 0)


def trial(measure: Callable[[PlannedPoint], Outcome]) -> tuple[StudyResult, list[Outcome]]:
    """The result of a trial that measures a point up to three times, and all its outcomes."""
    outcomes = [measure(planned("qps=1", "repeat=0"))]
    search = Repeats(ci=f"{METRIC}:1%", max_repeats=3)
    studies = split_studies(search, "repeats", plan, [planned("qps=1", "repeat=0")], outcomes)
    studies[0].is_trial = True

    def outcome_of(point: PlannedPoint) -> Outcome:
        outcomes.append(measure(point))
        return outcomes[-1]

    (result,) = run_studies(studies, lambda _, point: outcome_of(point))
    return result, outcomes


def disturbing(repeats: Iterable[int]) -> Callable[[PlannedPoint], Outcome]:
    """Points whose TPOT differs from repeat to repeat; the load generator disturbs some of them."""

    def measure(point: PlannedPoint) -> Outcome:
        repeat = point.identity.repeat
        return invalid(point, "client_wait") if repeat in repeats else measured(point, **{METRIC: 5.0 + repeat})

    return measure


@pytest.mark.parametrize(("disturbed", "repeats"), [((), 3), ((0,), 4), ((1,), 4), ((0, 2), 5)])
def test_disturbed_measurements_of_a_trial_are_repeated(disturbed: tuple[int, ...], repeats: int) -> None:
    result, outcomes = trial(disturbing(disturbed))
    assert [outcome.repeat for outcome in outcomes] == list(range(repeats))
    assert result.error is None and result.answer is not None and result.answer.probes == 3


def test_a_trial_ends_with_what_was_measured_if_it_is_disturbed_too_often() -> None:
    result, outcomes = trial(disturbing(range(1, 100)))
    assert len(outcomes) == 4  # one measurement, and three disturbed ones
    ended = trial_of(1, {}, OBJECTIVES, outcomes, result.answer)
    assert ended.status == "ok"
    assert [estimate.value for estimate in ended.estimates] == [pytest.approx(5.0)]


def test_a_trial_that_was_always_disturbed_is_not_infeasible() -> None:
    result, outcomes = trial(disturbing(range(100)))
    assert len(outcomes) == 3
    ended = trial_of(1, {}, OBJECTIVES, outcomes, result.answer, error=result.error or "")
    assert (ended.status, ended.violation) == (DISTURBED, 0.0)
    assert "the load generator disturbed" in ended.reason


def test_an_overloaded_or_failed_trial_stays_infeasible() -> None:
    point = planned("qps=1")
    failed = Outcome.of_point(point, status="failed", error="exited with code 1")
    for outcomes in ([invalid(point, "overloaded")], [failed], [invalid(point, "client_wait"), failed]):
        assert trial_of(1, {}, OBJECTIVES, outcomes, None).status == "infeasible"


def optimized(status: str) -> tuple[Optimization, list[Settings]]:
    """An optimization of 24 trials, the fourth of which measured nothing, and the settings that it asked for."""
    space = Space(values={"a": list(range(8)), "b": list(range(8))})
    optimization = Optimization(objectives=OBJECTIVES, space=space)
    asked: list[Settings] = []
    for number in range(24):
        settings = optimization.ask()
        assert settings is not None and settings not in asked
        asked.append(settings)
        is_measured = number != 3
        estimates = (Estimate(value=1.0 + settings["a"] + settings["b"]),) if is_measured else ()
        trial_status = "ok" if is_measured else status
        optimization.add(Trial(number=number, settings=settings, status=trial_status, estimates=estimates))
    return optimization, asked


def test_a_disturbed_trial_is_not_proposed_again_and_ranks_last() -> None:
    optimization, _ = optimized(DISTURBED)
    assert optimization.best() is not None
    assert [ranked.status for ranked in optimization.ranked()][-1] == DISTURBED


def test_proposals_do_not_avoid_a_disturbed_trial_as_an_infeasible_one() -> None:
    (_, after_disturbed), (_, after_infeasible) = optimized(DISTURBED), optimized("infeasible")
    assert after_disturbed[:STARTUP_TRIALS] == after_infeasible[:STARTUP_TRIALS]
    assert after_disturbed != after_infeasible
