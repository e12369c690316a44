"""What a reader does on the page, in headless Chromium, opened from the disk: no server, no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.made import HOSTILE, RUNS, WATCHED

from benchhydra.report.data.details import file_slug

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: How often a condition is looked at, and for how long, before a test gives up.
LOOK_MS, LOOKS = 20, 1000

pytestmark = pytest.mark.slow
Open = Callable[..., "AbstractContextManager[Page]"]


def heading(page: Page) -> str:
    return str(page.text_content("h1"))


def until(page: Page, condition: str) -> None:
    """Wait for a condition in JavaScript (Playwright's own wait would need eval, which the page forbids)."""
    for _ in range(LOOKS):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(LOOK_MS)
    raise AssertionError(f"never: {condition}")


def rows(page: Page) -> int:
    return int(page.locator("table").first.locator("tbody tr").count())


def go(page: Page, name: str) -> None:
    page.click(f"nav >> text={name}")
    page.wait_for_selector(f"h1:has-text('{name}')")


def long_history(page: Page) -> None:
    """Open the benchmark of many runs."""
    page.locator("tbody tr", has_text=f"{RUNS} (1 not usable)").locator("a").first.click()
    page.wait_for_selector(".canvas canvas")


@pytest.mark.parametrize("file", ["site/index.html", "report.html"])
def test_loads_and_every_view_draws(opened: Open, file: str) -> None:
    with opened("#/history", file=file) as page:
        assert heading(page) == "History"
        assert rows(page) == 5  # the long history, the hostile one, three rates
        long_history(page)
        go(page, "Sweeps")
        page.click("tbody th a")
        page.wait_for_selector(".canvas canvas")
        assert page.locator("figure.chart h3").all_text_contents()[:2] == [
            "TTFT against qps",
            "E2E latency against qps",
        ]
        page.click("nav >> text=Comparison")
        page.wait_for_selector("h1:has-text('What changed')")
        assert heading(page) == "What changed"


def test_filters_are_in_the_address_and_back_undoes_them(opened: Open) -> None:
    with opened("#/history") as page:
        page.select_option("#filter-model", "org/tiny")
        until(page, "document.querySelectorAll('tbody tr').length === 4")
        assert "model=org%2Ftiny" in page.url
        page.select_option("#filter-metric", "output_throughput")
        until(page, "location.hash.includes('metric=output_throughput')")
        page.wait_for_selector("th:has-text('tokens/s')")
        page.go_back()
        page.wait_for_selector("th:has-text('ms ↓')")
        assert page.input_value("#filter-metric") == "p99_ttft_ms"
        page.go_back()
        until(page, "document.querySelectorAll('tbody tr').length === 5")
        assert page.input_value("#filter-model") == ""


def test_address_with_filters_can_be_shared(opened: Open) -> None:
    with opened("#/history?model=org%2Ftiny&metric=completed&q=qps%3D32") as page:
        assert rows(page) == 1
        assert page.input_value("#filter-metric") == "completed"
        assert page.input_value("#filter-q") == "qps=32"


def test_typing_keeps_the_focus(opened: Open) -> None:
    with opened("#/history") as page:
        page.click("#filter-q")
        page.keyboard.type("qps=32")
        until(page, "document.querySelectorAll('tbody tr').length === 1")
        assert page.evaluate("document.activeElement.id") == "filter-q"
        assert page.input_value("#filter-q") == "qps=32"


def test_click_on_a_point_opens_its_run(opened: Open) -> None:
    with opened("#/history") as page:
        long_history(page)
        at = page.evaluate(
            """() => {
              const chart = echarts.getInstanceByDom(document.querySelector('.canvas'));
              const all = chart.getOption().series;
              const seriesIndex = all.findIndex((one) => one.name === 'VALID');
              const { value, run } = all[seriesIndex].data.at(-3);
              return { place: chart.convertToPixel({ seriesIndex }, value), run };
            }"""
        )
        page.hover(".canvas", position={"x": at["place"][0], "y": at["place"][1]})
        tip = page.wait_for_selector(".tip")
        assert tip is not None
        told = tip.inner_text()
        for part in ("ms", "VALID", "95 % of runs", "commit", "version 0.6"):
            assert part in told
        page.click(".canvas", position={"x": at["place"][0], "y": at["place"][1]})
        until(page, "location.hash.startsWith('#/run/')")
        page.wait_for_selector("h1:has-text('Run of 2025-')")
        assert page.url.endswith(file_slug(f"day-{at['run']:02}"))
        commit = page.get_attribute("dd a[href*='/commit/']", "href")
        assert str(commit).startswith("https://example.com/o/r/commit/")
        config = page.locator("details", has_text="config (")
        assert "num_prompts" in config.inner_text()


def test_invalid_runs_are_in_no_line_and_suspect_ones_are_marked(opened: Open) -> None:
    with opened("#/history") as page:
        long_history(page)
        option = page.evaluate(
            """() => {
              const option = echarts.getInstanceByDom(document.querySelector('.canvas')).getOption();
              return { points: option.series.map((one) => [one.name, one.data.length]), top: option.yAxis[0].max };
            }"""
        )
        assert dict(option["points"]) == {"level": RUNS - 1, "VALID": RUNS - 2, "SUSPECT": 1, "not usable": 1}
        assert option["top"] < 100  # the INVALID run's 2,000,000 ms do not stretch the axis
        said = page.locator("ul.changes").inner_text()
        assert re.match(r"\+(9|10)\.\d % worse at 2025-10-21: 0\.5 \w+ → 0\.6 \w+", said)


def test_sweep_has_direction_colours_and_a_run_to_choose(opened: Open) -> None:
    with opened("#/sweeps") as page:
        page.click("tbody th a")
        page.wait_for_selector("td.best")
        first, last = page.locator("tbody tr").first, page.locator("table").first.locator("tbody tr").last
        assert first.locator("td.worst").count() == last.locator("td.best").count() == 1  # throughput
        assert first.locator("td.best").count() >= 2  # latencies
        page.select_option("#filter-run", file_slug("s1-2-1"))
        until(page, "location.hash.includes('run=')")
        for title in ("Timeline of requests", "client, requests/s", "client.in_flight, requests", "client, ms"):
            assert page.locator(f"h3:has-text('{title}')").count() == 1


@pytest.mark.parametrize("requests", [1, 40, 600])
def test_timeline_has_room_for_every_request(opened: Open, requests: int) -> None:
    with opened("#/history") as page:
        page.evaluate(
            """(count) => {
              const column = (value) => Array.from({ length: count }, (_, i) => value(i));
              const figure = timelineChart({
                total: count,
                sent_s: column((i) => i),
                first_s: column((i) => i + 1),
                done_s: column((i) => i + 2),
                tokens: column(() => 5),
                status: column(() => "ok"),
                phase: column(() => "measured"),
              });
              document.querySelector("main").prepend(figure);
            }""",
            requests,
        )
        page.wait_for_selector(".canvas canvas")
        top, bottom = page.locator(".canvas").evaluate(
            """(canvas, count) => [0, count + 1].map((request) =>
                 echarts.getInstanceByDom(canvas).convertToPixel({ yAxisIndex: 0 }, request))""",
            requests,
        )
        assert bottom - top > 150


class TestSeries:
    """Charts of whatever was sampled: the run has series of its client and of two GPUs."""

    @pytest.fixture
    def charts(self, opened: Open) -> Iterator[Page]:
        with opened("#/sweeps") as page:
            page.click("tbody th a")
            page.select_option("#filter-run", file_slug(f"s1-{WATCHED[0]}-{WATCHED[1]}"))
            page.wait_for_selector("h3:has-text('gpu.utilization, %')")
            for figure in page.locator("h2:has-text('Over time') + .charts figure").all():
                figure.scroll_into_view_if_needed()
                figure.locator("canvas").wait_for()
            yield page

    def option(self, page: Page, title: str, path: str) -> Any:
        """A part of a chart's ECharts option."""
        canvas = page.locator("figure", has=page.locator(f"h3:text-is('{title}')")).locator(".canvas")
        return canvas.evaluate("(canvas, path) => echarts.getInstanceByDom(canvas).getOption()[path]", path)

    def test_one_chart_for_each_source_and_unit(self, charts: Page) -> None:
        titles = charts.locator("h2:has-text('Over time') + .charts h3").all_text_contents()
        assert titles == [
            "client, requests/s",
            "client.in_flight, requests",
            "client, ms",
            "gpu.utilization, %",
            "gpu.power, W",
        ]

    def test_lines_are_named_by_what_distinguishes_them(self, charts: Page) -> None:
        for title, names in (
            ("client, requests/s", ["sent_rps", "done_rps"]),
            ("client, ms", ["mean_ttft_ms", "p99_ttft_ms", "mean_tpot_ms"]),
            ("gpu.power, W", ["gpu=0", "gpu=1"]),
        ):
            assert [line["name"] for line in self.option(charts, title, "series")] == names

    def test_samples_are_points_in_seconds_after_the_first_send(self, charts: Page) -> None:
        line, _ = self.option(charts, "gpu.power, W", "series")
        assert line["data"][:3] == [[-0.25, 200], [0, 200], [0.25, 200]]
        assert self.option(charts, "gpu.power, W", "xAxis")[0]["name"] == "s after the first send"

    def test_zoom_is_shared_by_all_charts(self, charts: Page) -> None:
        figure = charts.locator("figure", has=charts.locator("h3:text-is('client, ms')"))
        figure.locator(".canvas").evaluate(
            """(canvas) => echarts.getInstanceByDom(canvas).dispatchAction({ type: 'dataZoom', start: 20, end: 60 })"""
        )
        for _ in range(2):
            for title in ("client, ms", "gpu.power, W", "client, requests/s"):
                zoom, _ = self.option(charts, title, "dataZoom")
                assert (zoom["start"], zoom["end"]) == (20, 60)
            charts.click("#theme")  # draws them anew

    def test_run_without_a_series_file_shows_series_of_its_requests(self, opened: Open) -> None:
        with opened("#/sweeps") as page:
            page.click("tbody th a")
            page.wait_for_selector("h2:has-text('Over time')")
            titles = page.locator("h2:has-text('Over time') + .charts h3").all_text_contents()
            assert titles == ["client, requests/s", "client.in_flight, requests", "client, ms"]


def test_hostile_texts_stay_texts(opened: Open) -> None:
    with opened("#/history?q=onerror") as page:
        assert HOSTILE.replace("\u2028", "") in str(page.text_content("tbody th")).replace("\u2028", "")
        page.click("tbody th a")
        page.wait_for_selector(".canvas canvas")
        assert "<img src=x" in heading(page)
        page.locator("tbody th a[href^='#/run/']").first.click()
        page.wait_for_selector("h1:has-text('Run of')")
        assert page.locator("ul.reasons li").first.inner_text().startswith("<img src=x")
        assert page.locator("main img").count() == 0


def test_comparison_names_both_sides(opened: Open) -> None:
    with opened("#/comparison") as page:
        assert heading(page) == "What changed"
        assert "<img src=x" in page.locator("dl.facts").first.inner_text()
        page.locator("section a[href^='#/run/']").first.click()
        page.wait_for_selector("h1:has-text('Run of')")


def test_works_with_the_keyboard_alone(opened: Open) -> None:
    with opened("#/history") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('tbody th a')"):
                break
        page.keyboard.press("Enter")
        until(page, "location.hash.startsWith('#/benchmark/')")
        until(page, "document.activeElement.tagName === 'H1'")  # readers hear where they are


def test_tables_are_sorted_by_their_heads(opened: Open) -> None:
    with opened("#/history") as page:
        page.focus("thead button:has-text('Runs')")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        assert page.get_attribute("th:has(button:has-text('Runs'))", "aria-sort") == "descending"
        assert f"{RUNS} (1 not usable)" in page.locator("tbody tr").first.inner_text()
