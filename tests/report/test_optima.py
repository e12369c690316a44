"""The best configuration in the report: what its page is told, and what a reader sees of it.

``SCREENSHOTS=DIR pytest tests/report`` keeps the picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.made import result
from tests.report.test_systems_in_browser import picture, series

from benchhydra.analysis.read_runs import read_runs
from benchhydra.report import pages
from benchhydra.report.data.details import file_slug
from benchhydra.report.site import Site
from benchhydra.result import Better
from benchhydra.search.optimization import Optimization
from benchhydra.search.proposals import Space
from benchhydra.search.trials import Estimate, Objective, Trial
from benchhydra.sweep.study_result import StudyResult

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "AbstractContextManager[Page]"]
SWEEP = f"#/sweep/{file_slug('optimum')}"
HOSTILE_REASON = "out of memory: <hostile-tag>"
OBJECTIVES = (
    Objective(name="output_throughput", unit="tokens/s", better=Better.BIGGER),
    Objective(name="mean_e2el_ms", unit="ms", better=Better.SMALLER),
)
SPACE = Space(values={"engine.args.max_num_seqs": [8, 16, 32, 64], "engine.args.block_size": [16, 32, 64]})


def throughput(settings: Mapping[str, Any]) -> float:
    return (
        500 + 4.0 * int(settings.get("engine.args.max_num_seqs", 24)) - int(settings.get("engine.args.block_size", 16))
    )


def optimization(objectives: tuple[Objective, ...]) -> Optimization:
    """Each configuration once, the default first; the last one runs out of memory, one is cut, and one is very slow."""
    made = Optimization(objectives=objectives, space=SPACE)
    configurations = [dict(zip(SPACE.values, each, strict=True)) for each in product(*SPACE.values.values())]
    for number, settings in enumerate([{}, *configurations]):
        status = {3: "cut", 12: "infeasible"}.get(number, "ok")
        first = throughput(settings)
        values = ((first, 1.02 * first), (0.9 * first + 100, 0.92 * first + 100))[: len(objectives)]
        if number == 11:
            values = (*values[:1], *((20 * low, 20 * high) for low, high in values[1:]))
        estimates = tuple(Estimate(value=sum(each) / 2) for each in values)
        made.add(
            Trial(
                number=number,
                settings=settings,
                status=status,
                reason="" if status == "ok" else HOSTILE_REASON,
                estimates=() if status == "infeasible" else estimates,
                values=() if status == "infeasible" else values,
                points=2,
            )
        )
    return made


def site_of(root: Path, objectives: tuple[Objective, ...]) -> Site:
    result("trial-0", ttft_ms=40.0, qps=4.0, sweep_id="optimum").write(root / "p0")
    answer = optimization(objectives).answer()
    study = StudyResult(search="optimize", overrides=(), answer=answer)
    points = [{"overrides": ["qps=4"], "directory": "p0"}]
    facts = {"sweep_id": "optimum", "points": points, "answers": [study.to_json()]}
    (root / "sweep.json").write_text(json.dumps(facts), encoding="utf-8")
    return Site(results=read_runs(str(root)), title="Optimum")


def optimum_of(site: Site) -> dict[str, Any]:
    (optimum,) = dict(site.pieces())[f"sweeps/{file_slug('optimum')}"]["answers"]["optima"]
    assert isinstance(optimum, dict)
    return optimum


def test_the_page_is_told_the_trials_by_rank(tmp_path: Path) -> None:
    optimum = optimum_of(site_of(tmp_path, OBJECTIVES[:1]))
    assert [trial["rank"] for trial in optimum["trials"]] == list(range(1, 14))
    best, last = optimum["trials"][0], optimum["trials"][-1]
    assert best["is_best"] and best["settings"] == "engine.args.max_num_seqs=64 engine.args.block_size=16"
    value, low, high = best["values"][0]
    assert low < value < high
    assert (last["status"], last["reason"], last["values"]) == ("infeasible", HOSTILE_REASON, [])
    assert len(optimum["rows"]) == 13 and optimum["columns"][0] == "rank"
    assert optimum["lines"][0] == "best configuration: engine.args.max_num_seqs=64 engine.args.block_size=16"
    assert optimum["importance"][0]["key"] == "engine.args.max_num_seqs"
    assert optimum["objectives"][0]["range"]["max"] > value


def test_two_objectives_have_a_front(tmp_path: Path) -> None:
    optimum = optimum_of(site_of(tmp_path, OBJECTIVES))
    assert [objective["name"] for objective in optimum["objectives"]] == ["output_throughput", "mean_e2el_ms"]
    on_front = [trial for trial in optimum["trials"] if trial["is_on_front"]]
    assert len(on_front) > 5 and all(trial["status"] == "ok" for trial in on_front)
    assert any(line.startswith("Pareto front: ") for line in optimum["lines"])


@pytest.mark.slow
def test_an_optimization_is_drawn(opened: Open, tmp_path: Path) -> None:
    site = site_of(tmp_path / "results", OBJECTIVES)
    pages.write_folder(site.pieces(), site.title, tmp_path / "site")
    with opened(SWEEP, file=str(tmp_path / "site" / "index.html")) as page:
        ranked = {line["name"]: line["data"] for line in series(page, "output_throughput of the trials")}
        assert {name: len(data) for name, data in ranked.items()} == {
            "95 %": 3 * 12,
            "best": 1,
            "ok": 10,
            "cut": 1,
            "infeasible": 0,
            "disturbed": 0,
        }
        front = next(
            line["data"]
            for line in series(page, "mean_e2el_ms against output_throughput")
            if line["name"] == "Pareto front"
        )
        assert front == sorted(front) and len(front) > 5
        assert page.get_by_text("of the values lie above the axis").count() == 2  # mean_e2el_ms, and the front
        bars = series(page, "Which keys matter for the best tenth")[0]["data"]
        assert len(bars) == len(SPACE.values)
        table = page.locator("table", has=page.locator("caption:text-is('Trials of search=optimize')"))
        assert table.locator("tbody tr").count() == 12
        assert table.get_by_text(HOSTILE_REASON).count() == 1  # of the one that is cut; the other is hidden
        assert page.locator("hostile-tag").count() == 0
        page.locator("h2:text-is('Trials of search=optimize')").scroll_into_view_if_needed()
        picture(page, "optimum")
        page.locator("h3:text-is('mean_e2el_ms against output_throughput')").scroll_into_view_if_needed()
        picture(page, "optimum-charts")
