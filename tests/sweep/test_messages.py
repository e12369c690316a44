"""The texts of a sweep: counts of points and servers, answers and errors of a search, and the estimated time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchhydra.config import Sweep
from benchhydra.engines import ServerSpec
from benchhydra.points import Identity, Outcome, PlannedPoint
from benchhydra.search import Answer
from benchhydra.search.grid import Grid
from benchhydra.sweep.messages import (
    begin_line,
    config_options,
    failure_lines,
    failure_summary,
    search_error_lines,
    sweep_plan_lines,
)
from benchhydra.sweep.plan.estimate import estimate_line
from benchhydra.sweep.plan.groups import ServerGroup
from benchhydra.sweep.plan.sweep_plan import SweepPlan
from benchhydra.sweep.study_result import StudyResult

STUDIES = [
    StudyResult(
        search="capacity",
        overrides=("script=serving", "model=a"),
        answer=Answer(value=12.5, low=12.0, high=13.25, unit="requests/s", limited_by="p99_ttft_ms <= 200", probes=7),
    ),
    StudyResult(
        search="repeats",
        overrides=("script=serving", "model=b"),
        answer=Answer(value=31.2345, unit="ms", name="mean of p99_ttft_ms", probes=1),
    ),
    StudyResult(search="capacity", overrides=("model=c",), error="ZeroDivisionError: division by zero"),
    StudyResult(search="capacity", overrides=("model=d",)),
]


def test_each_error_of_a_search_is_one_line() -> None:
    assert list(search_error_lines(STUDIES, ("model",))) == [
        "failed: search=capacity model=c: ZeroDivisionError: division by zero"
    ]


@pytest.mark.parametrize(
    ("statuses", "studies", "summary"),
    [
        (["ok", "ok"], [], None),
        (["ok", "ok"], STUDIES[:2], None),
        (["ok", "failed", "skipped", "skipped"], [], "1 failed, 2 skipped of 4 points"),
        (["ok"], STUDIES, "1 failed search"),
        (["invalid"], STUDIES[2:3] * 2, "1 invalid of 1 point; 2 failed searches"),
    ],
)
def test_the_exit_code_is_explained(statuses: list[str], studies: list[StudyResult], summary: str | None) -> None:
    point = PlannedPoint(overrides=("qps=1",), directory="", identity=Identity("a", "", 0))
    outcomes = [Outcome.of_point(point, status=status) for status in statuses]
    assert failure_summary(outcomes, studies) == summary


def failed(qps: int, error: str, **more: Any) -> Outcome:
    point = PlannedPoint(overrides=(f"qps={qps}", "model=m"), directory="/nowhere", identity=Identity("a", "", qps))
    return replace(Outcome.of_point(point, status="failed", error=error), **more)


def test_a_failed_point_has_its_error_its_log_and_its_command() -> None:
    lines = list(failure_lines([failed(1, "it died\n  last lines", log_tail="a\nb")], ("qps",)))
    command = "to run this point by itself: benchhydra qps=1 model=m"
    assert lines == ["failed: qps=1", "  it died", "  | a", "  | b", f"  {command}"]


def test_an_error_that_points_share_is_shown_once() -> None:
    outcomes = [failed(qps, f"died after {qps}.5 s", log_tail=f"log {qps}") for qps in (1, 2, 3)]
    lines = list(failure_lines([*outcomes, failed(4, "refused")], ("qps",)))
    assert lines[:3] == ["3 points failed alike: died after 1.5 to 3.5 s", "  | log 1", "failed: qps=1"]
    assert [line for line in lines if line.startswith("failed: ")] == [f"failed: qps={qps}" for qps in (1, 2, 3, 4)]
    assert sum("to run this point by itself: " in line for line in lines) == 4
    assert lines[-3:-1] == ["failed: qps=4", "  refused"]
    assert len(lines) == 2 + 2 * 3 + 3


def test_the_estimate_comes_from_the_same_points() -> None:
    wanted = [Identity(key, "", 0) for key in "abc"]
    assert "unknown" in estimate_line(wanted, {Identity("z", "", 0): 5.0})
    history = {Identity("a", "", 0): 3600.0, Identity("a", "seed=1", 1): 7200.0, Identity("b", "", 0): 3600.0}
    # 5400 s for a, 3600 s for b, and their mean for c
    assert estimate_line(wanted, history) == "estimated time: 3 h 45 min (from earlier results of 2 of 3 points)"
    assert estimate_line(wanted[:1], {wanted[0]: 44.6}).startswith("estimated time: 45 s (")


def test_options_that_find_configs_are_part_of_a_points_command() -> None:
    words = ["--config-dir", "conf", "-m", "qps=1", "hydra.searchpath=[x]", "-cn=mine"]
    assert config_options(words) == ["--config-dir", "conf", "hydra.searchpath=[x]", "-cn=mine"]


def plan_of(*groups: ServerGroup) -> SweepPlan:
    return SweepPlan(
        directory=Path(),
        resumed=False,
        settings=Sweep(),
        search=Grid(),
        swept=("qps",),
        points=[point for group in groups for point in group.points],
        configs={},
        groups=groups,
        kept_results=[],
        engine_versions={},
    )


def group_of(spec: ServerSpec | None, points: int) -> ServerGroup:
    identities = [Identity(str(spec), "", repeat) for repeat in range(points)]
    members = [PlannedPoint(overrides=("qps=1",), directory="", identity=identity) for identity in identities]
    return ServerGroup(spec=spec, points=tuple(members))


SERVED = group_of(ServerSpec(kind="http", argv=("vllm", "serve")), 2)
ATTACHED = group_of(ServerSpec(kind="attached", base_url="http://127.0.0.1:8000"), 1)
OWN_ENGINES = group_of(None, 3)


@pytest.mark.parametrize(
    ("groups", "begin", "counts"),
    [
        ([SERVED], "sweep: 2 points on 1 server", "2 points, 1 group, 1 server start"),
        ([ATTACHED], "sweep: 1 point on 1 server", "1 point, 1 group, 0 server starts"),
        (
            [OWN_ENGINES],
            "sweep: 3 points; each point starts its own engines",
            "3 points, 1 group, each point starts its own engines",
        ),
        (
            [SERVED, OWN_ENGINES],
            "sweep: 5 points on 1 server; 3 of the points start their own engines",
            "5 points, 2 groups, 1 server start, 3 of the points start their own engines",
        ),
    ],
)
def test_points_that_start_their_own_engines_are_not_on_a_server(
    groups: list[ServerGroup], begin: str, counts: str
) -> None:
    plan = plan_of(*groups)
    assert begin_line(plan) == begin
    assert next(sweep_plan_lines(plan, {})) == counts


def test_a_point_without_history_takes_at_least_as_long_as_its_load() -> None:
    wanted = [Identity(key, "", 0) for key in "ab"]
    loads_s = {wanted[0]: 60_000.0}
    text = "estimated time: at least 16 h 40 min (the loads of 1 of 2 points; starts of servers come on top)"
    assert estimate_line(wanted, {}, loads_s) == text
    assert estimate_line(wanted, {wanted[1]: 60.0}, loads_s).startswith("estimated time: 16 h 41 min (")
