"""How a group asks a search: whatever the search does, no point is lost, and it ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.search.outcomes import measured, planned

from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint, override_key
from benchhydra.search import Answer, Overrides, Search
from benchhydra.sweep.group.study import run_studies, split_studies
from benchhydra.sweep.study_result import StudyResult

Next = Callable[[Sequence[Outcome]], Any]


class Scripted(Search):
    """A search that a test writes."""

    varies = ("qps",)

    def __init__(self, after: Next, answer: Callable[[Sequence[Outcome]], Any] = lambda _: None, **more: Any) -> None:
        super().__init__(**more)
        self.after, self.found = after, answer

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        wanted: Sequence[Overrides] = self.after(outcomes)
        return wanted

    def answer(self, outcomes: Sequence[Outcome]) -> Answer | None:
        answer: Answer | None = self.found(outcomes)
        return answer


class Group:
    """A group whose points are measured by counting."""

    def __init__(self, *points: PlannedPoint) -> None:
        self.points = points
        self.outcomes = [measured(point, p99_ttft_ms=1.0) for point in points]
        self.skip_after: int | None = None

    def run(self, search: Search) -> tuple[StudyResult, ...]:
        studies = split_studies(search, "mine", self._plan, self.points, self.outcomes)
        return run_studies(studies, lambda _, point: self._measure(point))

    def measured(self) -> list[tuple[str, ...]]:
        return [outcome.overrides for outcome in self.outcomes]

    def _plan(self, overrides: tuple[str, ...]) -> PlannedPoint:
        if "qps=-1" in overrides:
            raise ConfigError("qps=-1 must be above 0")
        repeats = [int(o.partition("=")[2]) for o in overrides if override_key(o) == "repeat"]
        return planned(*overrides, repeat=repeats[0] if repeats else 0)

    def _measure(self, point: PlannedPoint) -> Outcome:
        if self.skip_after is not None and len(self.outcomes) >= self.skip_after:
            return Outcome.of_point(point, status="skipped", error="sweep.max_time_s=1 has passed")
        self.outcomes.append(measured(point, p99_ttft_ms=1.0))
        return self.outcomes[-1]


def doubling(outcomes: Sequence[Outcome]) -> list[tuple[str]]:
    """Double the rate up to 8."""
    highest = max(float(outcome.override("qps") or 0) for outcome in outcomes)
    return [(f"qps={highest * 2:g}",)] if highest < 8 else []


def highest(outcomes: Sequence[Outcome]) -> Answer:
    """The highest rate that was measured."""
    return Answer(value=max(float(o.override("qps") or 0) for o in outcomes), unit="requests/s", probes=len(outcomes))


def test_a_search_goes_on_until_it_asks_for_nothing() -> None:
    group = Group(planned("model=a", "qps=1"))
    (found,) = group.run(Scripted(doubling, highest))
    assert group.measured() == [("model=a", f"qps={rate}") for rate in (1, 2, 4, 8)]
    assert found == StudyResult(
        search="mine", overrides=("model=a",), answer=Answer(value=8.0, unit="requests/s", probes=4)
    )


def test_points_that_differ_in_nothing_else_are_one_study() -> None:
    """Two rates of each dataset: a study for each dataset, asked in turn, which sees its own rates alone."""
    group = Group(*(planned(f"dataset={name}", f"qps={rate}") for name in "ab" for rate in (2, 4)))
    found = group.run(Scripted(doubling, highest))
    assert group.measured()[4:] == [("dataset=a", "qps=8"), ("dataset=b", "qps=8")]
    assert [result.overrides for result in found] == [("dataset=a",), ("dataset=b",)]
    assert [result.answer.probes for result in found if result.answer] == [3, 3]


def test_repeats_of_a_point_are_one_study_and_their_number_is_not_inherited() -> None:
    group = Group(*(planned("qps=4", f"repeat={repeat}", repeat=repeat) for repeat in range(2)))
    (found,) = group.run(Scripted(doubling, highest))
    assert group.measured()[2:] == [("qps=8",)]
    assert found.overrides == ()


def boom(outcomes: Sequence[Outcome]) -> list[tuple[str]]:
    return doubling(outcomes) if len(outcomes) < 3 else [(f"qps={1 / (len(outcomes) - 3)}",)]


@pytest.mark.parametrize(
    ("after", "error"),
    [
        (boom, r"^ZeroDivisionError: division by zero, after 3 points \(test_studies.py, line \d+\)$"),
        (lambda outcomes: ["qps=5"], "^next.. returned the text 'qps=5' for a point: return a list of lists"),
        (lambda outcomes: [("qps=1",)], "asks for points that are already measured: qps=1; repeat=N measures"),
        (lambda outcomes: [("qps=-1",)], "^qps=-1 must be above 0, after 1 points$"),
        (lambda outcomes: [(f"qps={len(outcomes) + 1}",)], r"asks for more than search\.max_points=5 points, after 6"),
        (lambda outcomes: 5, "^TypeError: 'int' object is not iterable"),
    ],
)
def test_an_error_of_a_search_loses_nothing(after: Next, error: str) -> None:
    group = Group(planned("model=a", "qps=1"))
    (found,) = group.run(Scripted(after, highest, max_points=5))
    assert found.answer is None
    assert re.search(error, found.error or "")
    assert ("model=a", "qps=1") in group.measured()


def test_an_error_in_one_study_does_not_end_another() -> None:
    def after(outcomes: Sequence[Outcome]) -> list[tuple[str]]:
        if "dataset=a" in outcomes[0].overrides:
            raise RuntimeError("a is too hard")
        return doubling(outcomes)

    group = Group(planned("dataset=a", "qps=4"), planned("dataset=b", "qps=4"))
    first, second = group.run(Scripted(after, highest))
    assert first.error is not None and first.error.startswith("RuntimeError: a is too hard, after 1 points")
    assert second.answer is not None and second.answer.value == 8.0


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda outcomes: outcomes[99], "^IndexError: "),
        (lambda outcomes: Answer(value=float("nan"), unit="ms"), "the answer's value is nan"),
    ],
)
def test_an_answer_that_fails_is_the_studys_error(answer: Callable[[Any], Any], error: str) -> None:
    group = Group(planned("qps=1"))
    (found,) = group.run(Scripted(doubling, answer))
    assert found.answer is None and re.search(error, found.error or "")
    assert len(group.measured()) == 4


def test_a_study_stopped_by_a_limit_has_no_answer_yet() -> None:
    group = Group(planned("qps=1"))
    group.skip_after = 3
    assert group.run(Scripted(doubling, highest)) == ()
    assert group.measured() == [("qps=1",), ("qps=2",), ("qps=4",)]
    group.skip_after = None
    (found,) = group.run(Scripted(doubling, highest))
    assert found.answer is not None and found.answer.value == 8.0


def test_an_interruption_is_passed_on() -> None:
    def after(outcomes: Sequence[Outcome]) -> list[tuple[str]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Group(planned("qps=1")).run(Scripted(after))


def test_a_study_result_is_the_same_after_serialization() -> None:
    for result in (
        StudyResult(search="mine", overrides=("a=1",), answer=Answer(value=1.0, unit="ms", low=0.5, probes=2)),
        StudyResult(search="mine", overrides=(), error="it failed"),
        StudyResult(search="grid", overrides=()),
    ):
        assert StudyResult.from_json(result.to_json()) == result
