"""search=repeats: more repeats until the interval is narrow, and no more than that."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.search.outcomes import measured, planned

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.points import Outcome
from benchhydra.search.intervals import narrow_enough
from benchhydra.search.repeats import Repeats

registry.discover()
POINT = planned("qps=1", "repeat=0")


def outcomes_of(values: list[float]) -> list[Outcome]:
    return [measured(planned("qps=1", f"repeat={i}", repeat=i), mean_ttft_ms=v) for i, v in enumerate(values)]


def test_a_wide_interval_asks_for_one_more_repeat() -> None:
    search = Repeats(ci="mean_ttft_ms:2%", max_repeats=4)
    assert search.next([POINT], outcomes_of([5.0])) == [("repeat=1",)]
    assert search.next([POINT], outcomes_of([5.0, 15.0])) == [("repeat=2",)]
    assert search.next([POINT], outcomes_of([5.0, 15.0, 10.0, 12.0])) == ()
    assert search.next([POINT], outcomes_of([10.0, 10.01, 9.99])) == ()


def test_a_failed_repeat_counts_and_has_no_value() -> None:
    search = Repeats(ci="mean_ttft_ms:2%", max_repeats=4)
    failed = Outcome.of_point(planned("qps=1", "repeat=1", repeat=1), status="failed", error="no server")
    assert search.next([POINT], [*outcomes_of([5.0]), failed]) == [("repeat=2",)]


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=12), st.integers(1, 10))
def test_the_search_always_ends(values: list[float], max_repeats: int) -> None:
    search = Repeats(ci="mean_ttft_ms:2%", max_repeats=max_repeats)
    for measurements in count(1):
        done = [values[i % len(values)] for i in range(measurements)]
        if not search.next([POINT], outcomes_of(done)):
            break
    assert measurements <= max_repeats
    assert measurements == max_repeats or narrow_enough(done, 0.02)


def test_the_answer_is_the_mean_with_its_interval() -> None:
    search = Repeats(ci="mean_ttft_ms:2%", max_repeats=3)
    answer = search.answer(outcomes_of([9.0, 10.0, 11.0]))
    assert answer is not None and answer.low is not None and answer.high is not None
    assert answer.value == pytest.approx(10)
    assert (answer.name, answer.unit, answer.probes) == ("mean of mean_ttft_ms", "ms", 3)
    assert answer.high - answer.value == pytest.approx(2.4841, abs=1e-3) == answer.value - answer.low
    assert answer.limited_by == "search.max_repeats=3"
    narrow = search.answer(outcomes_of([10.0, 10.01, 9.99]))
    assert narrow is not None and narrow.limited_by == "search.ci=mean_ttft_ms:2%"
    assert search.answer(outcomes_of([10.0])) is None


def test_a_metric_that_no_point_has_is_an_error() -> None:
    search = Repeats(ci="p99_itl_ms:2%")
    with pytest.raises(ConfigError, match="no point has the metric p99_itl_ms") as refused:
        search.next([POINT], outcomes_of([5.0]))
    assert refused.value.hint == "the first point has mean_ttft_ms"


@pytest.mark.parametrize(
    ("ci", "message", "hint"),
    [
        (None, "search=repeats needs search.ci", "search.ci=p99_ttft_ms:2%"),
        ("fast", "search.ci=fast is not METRIC:PERCENT", "search.ci=p99_ttft_ms:2%"),
        ("p99_ttft_ms:2", "is not METRIC:PERCENT", "search.ci=p99_ttft_ms:2%"),
        ("p99_ttft_ms:0%", "is not METRIC:PERCENT", "search.ci=p99_ttft_ms:2%"),
        ("p99_ttft:2%", "no such metric: p99_ttft", "p99_ttft_ms"),
    ],
)
def test_a_malformed_goal_is_refused(ci: str | None, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        Repeats(ci=ci)
    assert hint in refused.value.hint


def test_as_many_repeats_as_asked_for_may_be_added() -> None:
    assert Repeats(ci="mean_ttft_ms:2%", max_repeats=300).max_points == 300
    with pytest.raises(ConfigError, match=r"search\.max_repeats=0 must be at least 1"):
        Repeats(ci="mean_ttft_ms:2%", max_repeats=0)
