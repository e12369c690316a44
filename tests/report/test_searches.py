"""A search in the report: what its page is told, and what a reader sees of it.

``SCREENSHOTS=DIR pytest tests/report`` keeps the picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.made import LIMIT_MS, PROBES, write_search
from tests.report.test_in_browser import until
from tests.report.test_systems_in_browser import picture, series

from benchhydra.analysis.read_runs import read_runs
from benchhydra.report.data.details import file_slug
from benchhydra.report.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "AbstractContextManager[Page]"]
SWEEP = f"#/sweep/{file_slug('search')}"
TITLE = "search=capacity: p99 TTFT"


@pytest.fixture
def answers(search_site: Site) -> dict[str, Any]:
    pieces = dict(search_site.pieces())
    answers: dict[str, Any] = pieces[f"sweeps/{file_slug('search')}"]["answers"]
    return answers


def test_the_page_is_told_each_probe_with_its_run(answers: dict[str, Any]) -> None:
    (chart,) = answers["charts"]
    assert [(probe["x"], probe["decision"]) for probe in chart["probes"]] == [(x, d) for x, _, d in PROBES]
    assert [probe["run"] for probe in chart["probes"]] == [file_slug(f"probe-{i}") for i in range(len(PROBES))]
    assert chart["probes"][0]["verdict"] == "VALID" and chart["probes"][4]["verdict"] == "INVALID"
    assert chart["probes"][4]["y"] == 700.0  # the run's own: the search has used no value of it
    assert (chart["interval"], chart["limit"]) == ([19.3, 18.8, 19.9], LIMIT_MS)
    assert chart["fit"][3] == [19.3, 500.0, 430.0, 580.0]
    assert chart["limit_text"] == "p99 TTFT <= 500 ms"
    assert chart["range"]["min"] == 0 and 500 < chart["range"]["max"] < 1500 and chart["range"]["above"] == 1


def test_the_table_has_the_answer_and_the_error(answers: dict[str, Any]) -> None:
    assert answers["columns"] == ["search", "answer", "interval", "limited by", "yields", "probes", "requests"]
    assert [row[:2] for row in answers["rows"]] == [
        ["search=capacity", "19.30 requests/s"],
        ["search=capacity", "every probe failed"],
    ]


@pytest.mark.slow
def test_a_search_is_drawn(opened: Open) -> None:
    with opened(SWEEP, file="search/index.html") as page:
        drawn = series(page, TITLE)
        points = {line["name"]: line["data"] for line in drawn if line["type"] == "scatter"}
        assert {name: len(data) for name, data in points.items()} == {
            "met": 2,
            "missed": 2,
            "undecided": 2,
            "INVALID": 1,
        }
        top = max(point["value"][1] for point in points["missed"])
        assert 500 < top < 1500, "9,000 ms stand at the upper end"
        (marks,) = [line for line in drawn if line["name"] == "answer"]
        assert {mark.get("yAxis") or mark.get("xAxis") for mark in marks["markLine"]["data"]} == {500, 19.3}
        assert [corner["xAxis"] for corner in marks["markArea"]["data"][0]] == [18.8, 19.9]
        assert [len(line["data"]) for line in drawn if line["name"] == "fit"] == [5, 5, 5]
        legend = page.locator("figure", has=page.locator(f"h3:text-is('{TITLE}')")).locator(".legend li")
        assert legend.all_inner_texts() == ["met", "missed", "undecided", "INVALID", "fit"]
        picture(page, "search")


@pytest.mark.slow
def test_a_click_on_a_probe_opens_its_run(opened: Open) -> None:
    with opened(SWEEP, file="search/index.html") as page:
        series(page, TITLE)
        place = page.evaluate(
            """() => {
              const chart = echarts.getInstanceByDom(document.querySelector('.canvas'));
              const all = chart.getOption().series;
              const seriesIndex = all.findIndex((one) => one.name === 'met');
              return chart.convertToPixel({ seriesIndex }, all[seriesIndex].data[1].value);
            }"""
        )
        page.hover(".canvas", position={"x": place[0], "y": place[1]})
        tip = page.wait_for_selector(".tip")
        assert tip is not None
        for part in ("qps 16 requests/s: met", "p99_ttft_ms: 180 ms", "302 requests", "verdict VALID"):
            assert part in tip.inner_text()
        page.click(".canvas", position={"x": place[0], "y": place[1]})
        until(page, "location.hash.startsWith('#/run/')")
        assert page.url.endswith(file_slug("probe-2"))


def test_the_ratio_to_a_limit_is_drawn_where_it_was_fitted(tmp_path: Path) -> None:
    write_search(tmp_path)
    file = tmp_path / "sweep.json"
    facts = json.loads(file.read_text(encoding="utf-8"))
    answer = facts["answers"][0]
    answer["fit"] |= {"metric": "slo_ratio_p99_ttft_ms", "unit": "ratio", "limit": 1.0}
    answer["fit"] |= {name: [value / 500 for value in answer["fit"][name]] for name in ("y", "low", "high")}
    for probe in answer["evidence"]:
        if "value" in probe:
            probe["ratio"] = probe["value"] / 500
    file.write_text(json.dumps(facts), encoding="utf-8")
    pieces = dict(Site(results=read_runs(str(tmp_path)), title="Search").pieces())
    (chart,) = pieces[f"sweeps/{file_slug('search')}"]["answers"]["charts"]
    assert [probe["y"] for probe in chart["probes"]][:4] == [0.11, 18.0, 0.36, 1.28]
    assert [probe["value"] for probe in chart["probes"]][:5] == [55.0, 9000.0, 180.0, 640.0, 700.0]
    assert (chart["metric"], chart["value_metric"], chart["limit"]) == ("slo_ratio_p99_ttft_ms", "p99_ttft_ms", 1.0)
    assert chart["range"]["max"] < 3 and chart["range"]["above"] == 1
