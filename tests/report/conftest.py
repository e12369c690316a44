"""One tree of results for all tests of the report, and its site in headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.made import (
    HOSTILE,
    SLOWER,
    write_history,
    write_hostile,
    write_search,
    write_sweep,
    write_system,
)

from benchhydra.analysis.compare import compare
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.report import pages
from benchhydra.report.data.comparison import comparison_data
from benchhydra.report.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
#: How long anything may take before a test gives up; nothing is judged by it.
PATIENCE_MS = 60_000

Open = Callable[..., "AbstractContextManager[Page]"]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one tree."""
    root = tmp_path_factory.mktemp("results")
    write_history(root / "history")
    write_hostile(root)
    write_sweep(root / "sweep")
    return root


@pytest.fixture(scope="session")
def found(tree: Path) -> Runs:
    return read_runs(str(tree))


@pytest.fixture(scope="session")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems at six rates, the candidate slower; and a sweep of both."""
    root = tmp_path_factory.mktemp("systems")
    write_system(root / "base", "base")
    write_system(root / "candidate", "candidate", slower=SLOWER)
    for seqs, slower in ((64, 1.0), (256, SLOWER)):
        write_system(root / f"both/{seqs}", f"of {seqs} sequences", slower=slower, seqs=seqs, sweep_id="both")
    return root


@pytest.fixture(scope="session")
def systems_site(systems: Path) -> Site:
    """The report of the systems, with their comparison."""
    sides = [read_runs(str(systems / side)) for side in ("base", "candidate")]
    data = comparison_data(compare(*sides, thresholds=Thresholds()), "base", "candidate")
    return Site(results=read_runs(str(systems)), title="Systems", comparison=data)


@pytest.fixture(scope="session")
def search_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The report of a search."""
    root = tmp_path_factory.mktemp("search")
    write_search(root)
    return Site(results=read_runs(str(root)), title="Search")


@pytest.fixture(scope="session")
def folder(found: Runs, systems_site: Site, search_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of all results, compared with themselves; ``systems``; and ``search``."""
    made = Site(
        results=found,
        title="Nightly",
        repository="https://example.com/o/r",
        comparison=comparison_data(compare(found, found, thresholds=Thresholds()), "base", HOSTILE),
    )
    out = tmp_path_factory.mktemp("report")
    pages.write_folder(made.pieces(), made.title, out / "site")
    pages.write_file(made.pieces(), made.title, out / "report.html")
    pages.write_folder(systems_site.pieces(), systems_site.title, out / "systems")
    pages.write_folder(search_site.pieces(), search_site.title, out / "search")
    return out


@pytest.fixture(scope="module")  # not longer: while it is open, its event loop counts as running in this thread
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH (Debian's package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser, folder: Path) -> Open:
    """Open a page at an address; at the end there must have been no error, no hostile script, no request elsewhere."""

    @contextmanager
    def opening(address: str = "", *, file: str = "site/index.html", **options: Any) -> Iterator[Page]:
        troubles: list[str] = []
        page = browser.new_page(**({"viewport": {"width": 1200, "height": 900}} | options))
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda asked: troubles.append(asked.url) if asked.url.startswith("http") else None)
        page.goto((folder / file).as_uri() + address)
        page.wait_for_selector("html[data-ready]")
        yield page
        assert page.evaluate("window.hit") is None
        assert troubles == []
        page.close()

    return opening
