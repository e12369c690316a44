"""What every search keeps to, ours and those of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.search.outcomes import measured, planned

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.metrics import table
from benchhydra.points import Outcome, PlannedPoint, override_key
from benchhydra.search import Answer, Search

registry.discover()
#: What some searches ask of their user.
MANDATORY: dict[str, dict[str, Any]] = {
    "repeats": {"ci": "p99_ttft_ms:2%"},
    "optimize": {"objective": "p99_ttft_ms", "space": {"engine.args.max_num_seqs": [32, 64]}},
}
SEARCHES = [cls(**MANDATORY.get(name, {})) for name, cls in registry.options("search").items()]

every_search = pytest.mark.parametrize("search", SEARCHES, ids=registry.option_name)


def study(search: Search) -> tuple[list[PlannedPoint], list[Outcome]]:
    """Two planned repeats with every metric, the second half as large again as the first."""
    varied = [f"{key}=1" for key in search.varies if key != "repeat"]
    points = [planned("model=tiny", *varied, f"repeat={repeat}", repeat=repeat) for repeat in range(2)]
    outcomes = [measured(p, **dict.fromkeys(table(), 2.0 + p.identity.repeat)) for p in points]
    return points, outcomes


def test_the_built_in_searches_are_registered() -> None:
    assert {"grid", "repeats"} <= registry.options("search").keys()
    assert [registry.option_name(search) for search in SEARCHES if not search.adds_points] == ["grid"]


@every_search
def test_a_search_changes_nothing_and_repeats_its_answer(search: Search) -> None:
    points, outcomes = study(search)
    before = repr((search, points, outcomes))
    first = [list(overrides) for overrides in search.next(points, outcomes)], search.answer(outcomes)
    again = [list(overrides) for overrides in search.next(points, outcomes)], search.answer(outcomes)
    assert again == first
    assert repr((search, points, outcomes)) == before


@every_search
def test_a_search_changes_only_the_keys_that_it_varies(search: Search) -> None:
    asked: Sequence[Sequence[str]] = search.next(*study(search))
    assert bool(asked) <= search.adds_points
    for overrides in asked:
        assert not isinstance(overrides, str)
        assert {override_key(override) for override in overrides} <= {*search.varies, "repeat"}


@every_search
def test_a_search_is_done_if_every_point_failed(search: Search) -> None:
    points, _ = study(search)
    failed = [Outcome.of_point(point, status="failed", error="no server") for point in points]
    assert list(search.next(points, failed)) == []
    assert search.answer(failed) is None


@every_search
def test_an_answer_counts_its_points(search: Search) -> None:
    _, outcomes = study(search)
    answer = search.answer(outcomes)
    if answer is not None:
        assert answer.unit and answer.limited_by and 0 < answer.probes <= len(outcomes)


@pytest.mark.parametrize("field", ["value", "low", "high"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_an_answer_is_finite(field: str, number: float) -> None:
    values: dict[str, Any] = {"value": 1.0, "unit": "requests/s", field: number}
    with pytest.raises(ConfigError, match=f"the answer's {field} is {number}"):
        Answer(**values)


def test_at_least_one_point_may_be_added() -> None:
    with pytest.raises(ConfigError, match=r"search\.max_points=0 must be at least 1"):
        Search(max_points=0)
