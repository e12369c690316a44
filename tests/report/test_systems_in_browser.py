"""Two systems at six rates, one 8 % slower, as a reader sees them: comparison, sweep, run; on paper and on a phone.

``SCREENSHOTS=DIR pytest tests/report`` keeps the pictures.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.made import MAIN, RATES, SLOWER
from tests.report.test_in_browser import until

from benchhydra.report.data.details import file_slug
from benchhydra.report.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
Open = Callable[..., "AbstractContextManager[Page]"]

FILE = "systems/index.html"
#: A page is at most this many screens tall on a desktop: 1,200 x 900 pixels.
MOST_SCREENS = 4
PHONE = {"viewport": {"width": 390, "height": 844}}
SWEEP = f"#/sweep/{file_slug('both')}"
RUN = "base-5-2"


def run_address(site: Site) -> str:
    return f"#/run/{site.benchmark_ids[RUN]}/{file_slug(RUN)}"


def picture(page: Page, name: str) -> None:
    """Keep a screenshot, if a folder for them is named."""
    if os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"report-{name}.png")


def screens(page: Page) -> float:
    return float(page.evaluate("document.documentElement.scrollHeight / innerHeight"))


def chart(page: Page, title: str) -> Any:
    """The canvas of a chart, drawn."""
    figure = page.locator("figure", has=page.locator(f"h3:text-is('{title}')"))
    figure.scroll_into_view_if_needed()
    figure.locator("canvas").wait_for()
    return figure.locator(".canvas")


def series(page: Page, title: str) -> list[dict[str, Any]]:
    option = "(canvas) => echarts.getInstanceByDom(canvas).getOption().series"
    data: list[dict[str, Any]] = chart(page, title).evaluate(option)
    return data


class TestComparison:
    def test_first_screen_tells_what_got_worse_and_where(self, opened: Open) -> None:
        with opened("#/comparison", file=FILE) as page:
            picture(page, "comparison")
            headline = page.locator(".headline").inner_text()
            assert headline.startswith("WORSE: mean_tpot_ms +7")
            matrix = page.locator(".matrix")
            box = matrix.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] < 900
            assert matrix.locator("tbody tr").count() == len(RATES)
            assert matrix.locator("thead th").count() == 1 + len(MAIN)
            assert matrix.locator("td.worst").count() >= 9
            assert screens(page) < MOST_SCREENS

    def test_candidate_lies_above_the_base_on_a_clipped_axis(self, opened: Open) -> None:
        with opened("#/comparison", file=FILE) as page:
            lines = {one["name"]: one for one in series(page, "mean TPOT against qps") if one["showSymbol"]}
            sides = ([at["value"][1] for at in lines[side]["data"]] for side in ("base", "candidate"))
            for base, candidate in zip(*sides, strict=True):
                assert candidate / base == pytest.approx(SLOWER, rel=0.02)
            axis = chart(page, "mean TPOT against qps").evaluate(
                "(canvas) => echarts.getInstanceByDom(canvas).getOption().yAxis[0]"
            )
            assert axis["min"] > 5  # not 0: what differs is visible

    def test_explanation_is_drawn_as_bars(self, opened: Open) -> None:
        with opened("#/comparison", file=FILE) as page:
            bars = {one["name"]: one["data"] for one in series(page, "Change of mean E2EL by its parts")}
            assert all(part > 50 for part in bars["decode"])
            assert max(abs(part) for part in bars["queue"]) < 10

    def test_row_of_the_matrix_opens_its_point(self, opened: Open) -> None:
        with opened("#/comparison", file=FILE) as page:
            page.click(".matrix a:text-is('qps=24')")
            page.wait_for_selector("#point h2:has-text('qps=24')")
            rows = page.locator("#point tbody tr")
            assert rows.count() == len(MAIN)
            page.select_option("#filter-show", "worse")
            until(
                page,
                "[...document.querySelectorAll('#point tbody td:last-child')].every((td) => td.innerText === 'worse')",
            )
            assert rows.count() >= 2
            page.select_option("#filter-show", "all")
            until(page, f"document.querySelectorAll('#point tbody tr').length > {len(MAIN)}")


class TestSweep:
    def test_decision_is_in_the_table_and_two_fronts(self, opened: Open) -> None:
        with opened(SWEEP, file=FILE) as page:
            picture(page, "sweep")
            table = page.locator(".table", has=page.locator("th:has-text('max_num_seqs')"))
            assert table.locator("tbody tr").count() == 2 * len(RATES)
            first, second = (table.locator("tbody tr").nth(i) for i in range(2))
            assert (first.locator("td.best").count(), second.locator("td.worst").count()) == (2, 2)
            assert "±" in first.inner_text()
            assert "16.50 requests/s" in page.locator(".table").first.inner_text()
            assert screens(page) < MOST_SCREENS
            titles = page.locator("figure h3").all_text_contents()
            assert titles[:2] == [
                "output throughput against p99 E2EL",
                "output throughput per user against output throughput per GPU",
            ]
            assert titles[-3:] == [
                "mean GPU power against qps",
                "GPU j per output token against qps",
                "cost per 1m output tokens against qps",
            ]

    def test_charts_stand_two_a_row(self, opened: Open) -> None:
        with opened(SWEEP, file=FILE) as page:
            tops = [box["y"] for one in page.locator("figure").all() if (box := one.bounding_box())]
            assert tops[0] == tops[1]
            assert tops[2] == tops[3] > tops[0]

    def test_legend_names_whole_lines_and_hides_them_by_keyboard(self, opened: Open) -> None:
        with opened(SWEEP, file=FILE) as page:
            assert page.locator(".legend button").all_text_contents() == ["max_num_seqs=64", "max_num_seqs=256"]
            chart(page, "TPOT against qps")
            page.focus(".legend button:has-text('256')")
            page.keyboard.press("Enter")
            assert page.get_attribute(".legend button:has-text('256')", "aria-pressed") == "false"
            selected = "(canvas) => echarts.getInstanceByDom(canvas).getOption().legend[0].selected"
            for title in ("TPOT against qps", "TTFT against qps"):
                assert chart(page, title).evaluate(selected) == {"max_num_seqs=64": True, "max_num_seqs=256": False}


class TestRun:
    def test_run_has_server_and_gpus_below_its_requests(self, opened: Open, systems_site: Site) -> None:
        with opened(run_address(systems_site), file=FILE) as page:
            titles = page.locator(".lanes").first.locator("h3").all_text_contents()
            for title in ("Server: tokens, tokens/s", "Server: cache and speculation, fraction", "GPU power, W"):
                assert title in titles
            chart(page, "Server: parts of the latency, ms")
            picture(page, "run")
            page.click("summary:has-text('More series')")
            preemptions, _ = series(page, "server.preemptions, requests/s")
            assert {value for _, value in preemptions["data"]} == {0, 4}  # a rate, not a line that only rises
            assert page.locator("h3:has-text('sum_ms')").count() == 0


class TestExport:
    def test_chart_is_saved_as_svg_and_png(self, opened: Open, tmp_path: Path) -> None:
        with opened(SWEEP, file=FILE) as page:
            chart(page, "TPOT against qps")
            for format in ("SVG", "PNG"):
                with page.expect_download() as download:
                    page.click(f"button[aria-label='{format} of TPOT against qps']")
                assert download.value.suggested_filename == f"tpot-against-qps.{format.lower()}"
                download.value.save_as(tmp_path / format)
            svg = (tmp_path / "SVG").read_text(encoding="utf-8")
            assert svg.startswith("<svg")
            for text in ("TPOT against qps", "max_num_seqs=256", "qps, requests/s"):
                assert text in svg
            assert (tmp_path / "PNG").read_bytes().startswith(b"\x89PNG")
            assert (tmp_path / "PNG").stat().st_size > 5000

    def test_table_is_saved_as_csv_with_all_digits(self, opened: Open, tmp_path: Path) -> None:
        with opened(SWEEP, file=FILE) as page:
            with page.expect_download() as download:
                page.click("button[aria-label='CSV of Points of serving']")
            download.value.save_as(tmp_path / "points.csv")
        head, *rows = csv.reader((tmp_path / "points.csv").read_text(encoding="utf-8").splitlines())
        assert head[:3] == ["qps", "max_num_seqs", "output throughput tokens/s ↑"]
        assert [float(row[0]) for row in rows] == [rate for rate in RATES for _ in range(2)]
        assert len(rows[0][2].replace(".", "")) >= 6

    def test_matrix_is_saved_as_figures(self, opened: Open, tmp_path: Path) -> None:
        with opened("#/comparison", file=FILE) as page:
            with page.expect_download() as download:
                page.locator(".matrix .exports button").click()
            download.value.save_as(tmp_path / "matrix.csv")
        _, *rows = csv.reader((tmp_path / "matrix.csv").read_text(encoding="utf-8").splitlines())
        tpot = [float(row[1 + MAIN.index("mean_tpot_ms")]) for row in rows]
        assert all(6.5 < percent < 9.5 for percent in tpot)

    def test_formula_of_a_spreadsheet_stays_a_text(self, opened: Open) -> None:
        with opened("#/history", file=FILE) as page:
            texts = ["=cmd()", "+8.0 ✗", "-0.5", 'a "b", c']
            written = page.evaluate("(texts) => texts.map(csvText)", texts)
            assert written == ["'=cmd()", "'+8.0 ✗", "-0.5", '"a ""b"", c"']


class TestPaper:
    def test_charts_are_printed_whatever_was_on_the_screen(self, opened: Open) -> None:
        with opened(SWEEP, file=FILE, color_scheme="dark") as page:
            page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
            page.emulate_media(media="print")
            images = page.locator("img.printed")
            assert images.count() == page.locator("figure").count() > 5
            assert all(image.is_visible() for image in images.all())
            until(page, "[...document.images].every((image) => image.naturalWidth > 0)")
            assert not page.locator(".canvas").first.is_visible()
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            picture(page, "paper")
            page.evaluate("window.dispatchEvent(new Event('afterprint'))")
            assert images.count() == 0
            assert page.evaluate("document.documentElement.dataset.theme") == "system"

    def test_browser_prints_them(self, opened: Open) -> None:
        with opened("#/comparison", file=FILE) as page:
            page.evaluate(
                "addEventListener('beforeprint', () => (window.images = document.querySelectorAll('.printed').length))"
            )
            assert page.pdf().startswith(b"%PDF")
            assert page.evaluate("window.images") == page.locator("figure").count()


@pytest.mark.parametrize("name", ["comparison", "sweep", "run", "history"])
def test_nothing_is_wider_than_a_phone(opened: Open, systems_site: Site, name: str) -> None:
    addresses = {"sweep": SWEEP, "run": run_address(systems_site)}
    with opened(addresses.get(name, f"#/{name}"), file=FILE, **PHONE) as page:
        picture(page, f"{name}-phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]


def test_lines_and_their_names_have_the_colours_of_the_theme(opened: Open) -> None:
    with opened(SWEEP, file=FILE, color_scheme="dark") as page:
        picture(page, "sweep-dark")
        for theme, colour in (("dark", "#7fadff"), ("light", "#1f5fc4")):
            line = series(page, "TPOT against qps")[0]
            assert line["color"] == colour
            sign = page.locator(".legend .sign").first
            red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
            assert sign.evaluate("(sign) => getComputedStyle(sign).borderTopColor") == f"rgb({red}, {green}, {blue})"
            if theme == "dark":
                page.click("#theme")  # system -> light
