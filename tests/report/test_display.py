"""Where the page is read: on phones, in the dark, in a sealed frame, at an address that is none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchhydra.analysis.runs import Runs
from benchhydra.report.data.details import file_slug

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE = {"width": 360, "height": 740}

pytestmark = pytest.mark.slow
Open = Callable[..., "AbstractContextManager[Page]"]


@pytest.mark.parametrize("address", ["#/history", "#/sweeps", "#/comparison", "benchmark", "run", "sweep"])
def test_phone_needs_no_sideways_scroll(opened: Open, found: Runs, address: str) -> None:
    run = next(run for run in found.runs if run.run_id == "s1-0-0")
    place = file_slug(f"{run.machine}\n{run.point_key}")
    longer = {
        "benchmark": f"#/benchmark/{place}",
        "run": f"#/run/{place}/{file_slug(run.run_id)}",
        "sweep": f"#/sweep/{file_slug('s1')}",
    }
    with opened(longer.get(address, address), viewport=PHONE, is_mobile=True, has_touch=True) as page:
        assert page.locator("h1:has-text('Not found')").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_dark_mode_follows_the_system_and_the_button(opened: Open) -> None:
    with opened("#/history", color_scheme="dark") as page:
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.text_content("#theme") == "Theme: light"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


@pytest.mark.parametrize(
    "address", ["#/nowhere", "#/benchmark/none", "#/run/none/none", "#/sweep/none", "#/constructor", "#/%E0%A4%A"]
)
def test_unknown_address_shows_a_message(opened: Open, address: str) -> None:
    with opened(address) as page:
        assert page.text_content("h1") == "Not found"
        page.click("main a")
        page.wait_for_selector("h1:has-text('History')")


def test_works_in_a_sandboxed_frame_without_an_address(browser: Browser, folder: Path) -> None:
    """As MLflow shows it: a blob in a frame that may run scripts and nothing else."""
    page = browser.new_page()
    troubles: list[str] = []
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.evaluate(
        """(html) => {
          const frame = document.createElement('iframe');
          frame.setAttribute('sandbox', 'allow-scripts');
          frame.src = URL.createObjectURL(new Blob([html], { type: 'text/html' }));
          document.body.append(frame);
        }""",
        (folder / "report.html").read_text(encoding="utf-8"),
    )
    frame = page.frame_locator("iframe")
    frame.locator("nav >> text=Sweeps").click()
    frame.locator("tbody th a").first.click()
    frame.locator("h1", has_text="Sweep of").wait_for()
    assert frame.locator("figure").count() > 2
    assert frame.locator(".exports").count() == 0  # the frame may save no files
    assert troubles == []
    page.close()
