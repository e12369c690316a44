"""Take the pictures of docs/getting-started.md: the report on two sweeps, in headless Chromium.

python benchmarks/docs_pictures.py OLD NEW    after step 3 of that page, in the directory of the two sweeps
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZE = {"width": 1200, "height": 760}
#: Until charts are drawn and their animation has ended.
DRAWN_MS = 2500


def main() -> None:
    """Write the report of two sweeps to a temporary folder, and photograph its pages."""
    old, new = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchhydra", "report", old, new, "--compare", "--no-mlflow"]
        subprocess.run([*command, "-o", f"{directory}/site"], check=True)
        with sync_playwright() as playwright:
            program = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
            take(browser, Path(directory, "site", "index.html").as_uri())


def take(browser: Browser, address: str) -> None:
    """Photograph the comparison."""
    page = browser.new_page(viewport=SIZE, color_scheme="light")
    page.goto(address)
    page.get_by_role("link", name="Comparison", exact=True).click()
    page.wait_for_timeout(DRAWN_MS)
    FOLDER.mkdir(exist_ok=True)
    page.screenshot(path=FOLDER / "comparison.png")


if __name__ == "__main__":
    main()
