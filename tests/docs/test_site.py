"""The site builds strictly: every page is in the navigation, every link and anchor leads somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import DOCS, ROOT


def build(directory: Path) -> subprocess.CompletedProcess[str]:
    """Build the documentation that lies in a directory, as ``make site`` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]  # --quiet would hide warnings from --strict
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def copied(directory: Path) -> Path:
    shutil.copytree(DOCS, directory / "docs")
    shutil.copy(ROOT / "mkdocs.yml", directory)
    return directory


def test_site_builds(tmp_path: Path) -> None:
    done = build(copied(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    sources = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md") if path.stem != "README"}
    assert [page for page in sources if not (tmp_path / "site" / page).is_file()] == []
    assert (tmp_path / "site/schema/experiment.json").is_file()
    scripts = re.findall(
        r'<(?:script|link)[^>]*(?:src|href)="(https?://[^"]+)"', (tmp_path / "site/index.html").read_text()
    )
    assert scripts == []  # nothing is fetched from other hosts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "complaint"),
    [("[a](nowhere.md)", "nowhere.md"), ("[a](glossary.md#nothing)", "nothing")],
    ids=["page", "anchor"],
)
def test_a_broken_link_is_an_error(tmp_path: Path, text: str, complaint: str) -> None:
    with (copied(tmp_path) / "docs/index.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{text}\n")
    done = build(tmp_path)
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def pieces(message: str) -> list[str]:
    return [piece.strip() for piece in message.split("...") if len(piece.strip()) > 3]


def test_messages_in_troubleshooting_are_those_of_the_program() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/benchhydra").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a text over several lines
    rows = re.findall(r"^\| (`.*?`) \| ", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.M)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 25
    missing = [piece for message in messages for piece in pieces(message) if piece not in source]
    assert missing == []
