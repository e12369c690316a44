"""What a reader does on the page, in headless Chromium, opened from the disk: no server, no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.made import HOSTILE, REPLICAS, RUNS, WATCHED

from benchhydra.analysis.runs import Runs
from benchhydra.report.data.details import file_slug

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: How often a condition is looked at, and for how long, before a test gives up.
LOOK_MS, LOOKS = 20, 3000

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
        assert page.locator("figure.chart h3").all_text_contents()[2:4] == [
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
        config.locator("summary").click()
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


def test_sweep_has_runs_and_requests_to_choose(opened: Open) -> None:
    with opened("#/sweeps") as page:
        page.click("tbody th a")
        page.wait_for_selector("h1:has-text('Sweep of')")
        assert rows(page) == 3  # points
        page.click("#toggle-rows-runs")
        until(page, "document.querySelector('tbody').rows.length === 6")
        page.click("#toggle-part-requests")
        page.wait_for_selector("#filter-run")
        page.select_option("#filter-run", file_slug("s1-2-1"))
        until(page, "location.hash.includes('run=')")
        for title in ("Requests, in order of sending", "Rate, requests/s", "Requests in flight", "TTFT, ms"):
            page.wait_for_selector(f"h3:has-text('{title}')")


@pytest.mark.parametrize("requests", [1, 40, 600])
def test_timeline_has_room_for_every_request(opened: Open, requests: int) -> None:
    with opened("#/history") as page:
        page.evaluate(
            """(count) => {
              const column = (value) => Array.from({ length: count }, (_, i) => value(i));
              const timeline = {
                total: count,
                sent_s: column((i) => i),
                first_s: column((i) => i + 1),
                done_s: column((i) => i + 2),
                tokens: column(() => 5),
                status: column(() => "ok"),
                phase: column(() => "measured"),
              };
              const axis = { range: [0, count + 2], zoom: { start: 0, end: 100 }, window: [0, count] };
              document.querySelector("main").prepend(timelineLane(timeline, axis));
            }""",
            requests,
        )
        page.wait_for_selector(".canvas canvas")
        top, bottom = page.locator(".canvas").evaluate(
            """(canvas, count) => [0, count + 1].map((request) =>
                 echarts.getInstanceByDom(canvas).convertToPixel({ yAxisIndex: 0 }, request))""",
            requests,
        )
        assert bottom - top > 120


class TestTimeAxis:
    """Lanes of whatever was sampled: the run has series of its client and of two GPUs."""

    @pytest.fixture
    def lanes(self, opened: Open) -> Iterator[Page]:
        watched = file_slug(f"s1-{WATCHED[0]}-{WATCHED[1]}")
        with opened("#/sweeps") as page:
            page.click("tbody th a")
            page.click("#toggle-part-requests")
            page.select_option("#filter-run", watched)
            page.wait_for_selector("h3:has-text('GPU power, W')")
            for figure in page.locator(".lanes figure").all():
                figure.scroll_into_view_if_needed()
                figure.locator("canvas").wait_for()
            yield page

    def option(self, page: Page, title: str, path: str) -> Any:
        """A part of a lane's ECharts option."""
        canvas = page.locator("figure", has=page.locator(f"h3:text-is('{title}')")).locator(".canvas")
        return canvas.evaluate("(canvas, path) => echarts.getInstanceByDom(canvas).getOption()[path]", path)

    def test_requests_rate_latency_and_gpus_are_stacked(self, lanes: Page) -> None:
        assert lanes.locator(".lanes h3").all_text_contents() == [
            "Requests, in order of sending",
            "Latency by time of sending, ms",
            "Rate, requests/s",
            "Requests in flight, requests",
            "TTFT, ms",
            "TPOT, ms",
            "GPU power, W",
            "GPU, fraction",
        ]

    def test_lines_are_named_by_what_distinguishes_them(self, lanes: Page) -> None:
        for title, names in (
            ("Rate, requests/s", ["sent_rps", "done_rps"]),
            ("TTFT, ms", ["mean_ttft_ms", "p99_ttft_ms"]),
            ("GPU power, W", ["gpu=0", "gpu=1"]),
        ):
            figure = lanes.locator("figure", has=lanes.locator(f"h3:text-is('{title}')"))
            assert figure.locator(".legend button").all_text_contents() == names
            lines = [line["name"] for line in self.option(lanes, title, "series")]
            assert lines == [*names, "measured window"]

    def test_samples_are_points_in_seconds_after_the_first_send(self, lanes: Page) -> None:
        line, *_ = self.option(lanes, "GPU power, W", "series")
        assert line["data"][:3] == [[-0.25, 200], [0, 200], [0.25, 200]]

    def test_measured_window_is_shaded_in_every_lane(self, lanes: Page) -> None:
        for title in ("Requests, in order of sending", "TTFT, ms", "GPU, fraction"):
            ((start, end),) = self.option(lanes, title, "series")[-1]["markArea"]["data"]
            assert (start["xAxis"], end["xAxis"]) == (0, pytest.approx(39 * 0.05 + 0.1))

    def test_zoom_is_shared_by_all_lanes(self, lanes: Page) -> None:
        figure = lanes.locator("figure", has=lanes.locator("h3:text-is('TTFT, ms')"))
        figure.locator(".canvas").evaluate(
            """(canvas) => echarts.getInstanceByDom(canvas).dispatchAction({ type: 'dataZoom', start: 20, end: 60 })"""
        )
        for _ in range(2):
            for title in ("TTFT, ms", "GPU power, W", "Rate, requests/s", "Requests, in order of sending"):
                zoom = self.option(lanes, title, "dataZoom")[0]
                assert (zoom["start"], zoom["end"]) == (20, 60)
            lanes.click("#theme")  # draws them anew

    def test_run_without_a_series_file_shows_series_of_its_requests(self, opened: Open) -> None:
        with opened("#/sweeps") as page:
            page.click("tbody th a")
            page.click("#toggle-part-requests")
            page.wait_for_selector("h2:has-text('Over time')")
            titles = page.locator(".lanes h3").all_text_contents()
            assert titles[2:] == ["Rate, requests/s", "Requests in flight, requests", "TTFT, ms", "TPOT, ms"]


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


def test_a_run_shows_the_figures_of_its_groups(opened: Open, found: Runs) -> None:
    run = next(run for run in found.runs if run.run_id == f"s1-{WATCHED[0]}-{WATCHED[1]}")
    place = file_slug(f"{run.machine}\n{run.point_key}")
    with opened(f"#/run/{place}/{file_slug(run.run_id)}") as page:
        page.wait_for_selector("h3:text-is('By replica')")
        table = page.locator("table", has=page.locator("caption:text-is('Metrics by replica')"))
        assert table.locator("tbody th").all_text_contents() == list(REPLICAS)
        heads = table.locator("thead th").all_text_contents()
        column = next(i for i, head in enumerate(heads) if head.startswith("mean_ttft_ms"))
        assert "ms ↓" in heads[column]
        assert table.locator(f"tbody tr td:nth-child({column + 1})").all_text_contents() == ["41", "41"]
        assert page.evaluate("window.hit") is None


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
