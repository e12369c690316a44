"""Take the picture of docs/getting-started.md: the report's comparison of two made-up systems, in headless Chromium.

python -m benchmarks.docs_pictures
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from tests.report.made import SLOWER, write_system

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZE = {"width": 1200, "height": 1000}
#: Until charts are drawn.
DRAWN_MS = 1500


def main() -> None:
    """Write the report of two sweeps to a temporary folder, and photograph its first page."""
    with tempfile.TemporaryDirectory() as directory:
        write_system(Path(directory, "old"), "old")
        write_system(Path(directory, "new"), "new", slower=SLOWER)
        command = [sys.executable, "-m", "benchhydra", "report", "old", "new", "--compare", "--no-mlflow"]
        subprocess.run([*command, "--repository", ""], cwd=directory, check=True)
        with sync_playwright() as playwright:
            program = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
            take(browser, Path(directory, "report", "index.html").as_uri())


def take(browser: Browser, address: str) -> None:
    """Photograph the page that a report with a comparison opens with."""
    page = browser.new_page(viewport=SIZE, color_scheme="light")
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    page.wait_for_timeout(DRAWN_MS)
    FOLDER.mkdir(exist_ok=True)
    page.screenshot(path=FOLDER / "comparison.png")


if __name__ == "__main__":
    main()
