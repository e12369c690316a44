"""What somebody sees who opens MLflow: its real server, in headless Chromium. The screenshots are for looking at.

``BENCHHYDRA_SCREENSHOTS=DIR`` says where they go; without it they are in the test's temporary directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pytest
from tests.tracking.made import write_sweep
from tests.tracking.test_ui import free_port

from benchhydra.commands.ui import ui_command
from benchhydra.result_files import read_result_files
from benchhydra.tracking import store
from benchhydra.tracking.links import read_links
from benchhydra.tracking.mlflow import Mlflow, sweep_link

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Look = Callable[..., Page]

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_S, TRIES = 60, 3
#: How long charts take to be drawn after their data have come.
SETTLE_MS = 3000
CURVES = "a:has-text('(max_num_s')"
LINES = ".js-plotly-plot .scatterlayer .trace"
MODELS, SIDES = "two-models", "base-against-candidate"


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("BENCHHYDRA_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two logged sweeps: two models, and two values of a flag of which one is 8 % slower."""
    root = tmp_path_factory.mktemp("sweeps")
    write_sweep(root / MODELS, {"org/small-model": 1.0, "org/large-model": 1.6}, rates=(0.5, 2, 8, 16))
    write_sweep(
        root / SIDES, {64: 1.0, 128: 1.08}, key="engine.args.max_num_seqs", rates=(1, 2, 4, 8, 16, 32), sampled=False
    )
    tracking = Mlflow(uri=f"sqlite:///{root / 'mlflow.db'}", artifacts=False)
    for name in (MODELS, SIDES):
        for directory, result in read_result_files(root / name).results:
            tracking.log(result, directory)
        tracking.log_curves(name, root / name)
    return root


@pytest.fixture(scope="module")
def server(sweeps: Path) -> Iterator[str]:
    port = free_port()
    env = os.environ | store.QUIET
    command = ui_command(f"sqlite:///{sweeps / 'mlflow.db'}", port)
    with (sweeps / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        _wait_ready(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(8 * PATIENCE_S):
        assert process.poll() is None
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    raise AssertionError(f"no answer from {url}")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH (Debian's package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1800, "height": 1150})
        opened.set_default_timeout(PATIENCE_S * 1000)
        yield opened
        browser.close()


@pytest.fixture
def look(page: Page, server: str, screenshots: Path) -> Look:
    """Open a link of the store at its server, wait until charts or rows are drawn, and take a screenshot."""
    from playwright.sync_api import TimeoutError

    def opening(name: str, link: str, drawn: str = LINES) -> Page:
        for _ in range(TRIES):
            page.goto("about:blank")
            page.goto(link.replace(f"http://127.0.0.1:{store.UI_PORT}", server))
            try:
                page.wait_for_selector(drawn, state="attached")
                break
            except TimeoutError as error:  # MLflow's page does not ask again if its server was too slow
                late = error
        else:
            raise late
        assistant = page.locator("[data-component-id='mlflow.assistant.chat_panel.close']")
        if assistant.count():
            assistant.click()
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=screenshots / f"mlflow-{name}.png")
        return page

    return opening


def link_of(sweeps: Path, name: str) -> str:
    link = sweep_link(name, [directory for directory, _ in read_result_files(sweeps / name).results])
    assert link is not None
    return link


def traces(page: Page) -> list[dict[str, Any]]:
    """The lines of the charts on the page: metric, title of the x axis, colour, x and y."""
    lines: list[dict[str, Any]] = page.evaluate(
        """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap((plot) =>
            plot.data.filter((trace) => trace.x && trace.x.length > 1 && trace.hoverinfo !== "skip").map((trace) => ({
                axis: plot.layout.xaxis.title?.text, metric: trace.metricKey,
                colour: trace.marker?.color ?? trace.line?.color, x: [...trace.x], y: [...trace.y],
            })))"""
    )
    return lines


def test_two_models_are_lines_over_the_exact_rate(sweeps: Path, look: Look) -> None:
    lines = traces(look(MODELS, link_of(sweeps, MODELS)))
    over_qps = [line for line in lines if line["axis"] == "qps"]
    assert len(over_qps) >= 6
    assert all(line["x"] == [0.5, 2, 8, 16] for line in over_qps)
    assert len({line["colour"] for line in over_qps}) == 2


def test_base_and_candidate_lie_apart(sweeps: Path, look: Look) -> None:
    page = look(SIDES, link_of(sweeps, SIDES))
    lines = traces(page)
    assert all(line["x"] == [1, 2, 4, 8, 16, 32] for line in lines if line["axis"] == "qps")
    one, other = [np.array(line["y"]) for line in lines if (line["axis"], line["metric"]) == ("qps", "mean_tpot_ms")]
    assert np.abs(np.log(other / one)) == pytest.approx(np.full(6, np.log(1.08)), abs=0.045), "noise is 1 % a value"
    rows = page.locator("a:has-text('max_num_s')").all_inner_texts()
    assert sorted(text.split()[0] for text in rows) == ["128", "64"]


def test_the_table_shows_verdicts_and_rounded_main_metrics(sweeps: Path, look: Look) -> None:
    text = look("table", link_of(sweeps, SIDES).replace("&compareRunsMode=CHART", ""), CURVES).inner_text("body")
    assert "verdict" in text and text.count("VALID") >= 2
    shown = [word for word in text.split() if word.replace(".", "").isdigit() and "." in word]
    assert shown and max(len(word) for word in shown) <= 8


def test_a_run_shows_its_series_by_second_in_groups(sweeps: Path, look: Look) -> None:
    directory = read_result_files(sweeps / MODELS).results[-1][0]
    link = read_links(directory)["link"].replace("?", "/model-metrics?")
    page = look("run", link)
    text = page.inner_text("body")
    assert {"client", "gpu", "host", "server", "Model metrics"} <= set(text.splitlines())
    lines = traces(page)
    assert lines and all(line["x"] == sorted(set(line["x"])) for line in lines)
    assert max(line["x"][-1] for line in lines) == 30


def test_the_plain_page_of_the_experiment_draws_lines_too(sweeps: Path, server: str, look: Look) -> None:
    experiment = read_links(read_result_files(sweeps / SIDES).results[0][0])["experiment_id"]
    query = "workflowType=machine_learning&compareRunsMode=CHART&searchFilter="
    filtered = quote(f"tags.sweep_id = '{SIDES}'")
    lines = traces(look("plain", f"{server}/#/experiments/{experiment}/runs?{query}{filtered}"))
    assert len(lines) >= 6
    assert all(line["x"] == [1, 2, 4, 8, 16, 32] for line in lines)
