"""What is written: a folder that is replaced whole, one file that needs no other, and nothing in them that runs."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.report.made import HOSTILE

from benchhydra.analysis.runs import Runs
from benchhydra.errors import ResultError
from benchhydra.report import pages
from benchhydra.report.data.repository import web_address
from benchhydra.report.site import Piece, Site

PIECES: list[Piece] = [("index", {"a": HOSTILE}), ("sweeps/x", {"n": math.nan})]
SAID = re.compile(r'registerPiece\("([\w/]+)",(.*)\);\n', re.DOTALL)


class Parsed(HTMLParser):
    """Tags with their attributes, and the texts of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[dict[str, str | None], str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.inside.append((self.tags[-1][1], data))

    @property
    def policy(self) -> str:
        metas = [known for tag, known in self.tags if tag == "meta"]
        return next(str(known["content"]) for known in metas if known.get("http-equiv") == "Content-Security-Policy")


def read(file: Path) -> Any:
    matched = SAID.fullmatch(file.read_text(encoding="utf-8"))
    assert matched
    return json.loads(matched[2])


class TestFolder:
    def test_data_are_scripts_that_register_themselves(self, tmp_path: Path) -> None:
        assert pages.write_folder(PIECES, "t", tmp_path / "site") == 2
        assert read(tmp_path / "site/data/index.js") == {"a": HOSTILE}
        assert read(tmp_path / "site/data/sweeps/x.js") == {"n": None}

    def test_hostile_text_cannot_end_its_script(self, tmp_path: Path) -> None:
        pages.write_folder(PIECES, "t", tmp_path / "site")
        text = (tmp_path / "site/data/index.js").read_text(encoding="utf-8")
        assert "<" not in text
        assert "\u2028" not in text

    def test_page_allows_own_files_alone(self, tmp_path: Path) -> None:
        pages.write_folder(PIECES, HOSTILE, tmp_path / "site")
        page = Parsed((tmp_path / "site/index.html").read_text(encoding="utf-8"))
        assert "script-src 'self';" in page.policy
        assert "default-src 'none'" in page.policy
        assert "unsafe" not in page.policy
        assert [known for known, _ in page.inside] == []  # no inline script, no inline style
        assert not any(name.startswith("on") or name == "style" for _, known in page.tags for name in known)
        named = [known.get("src") or known.get("href") for tag, known in page.tags if tag in ("script", "link")]
        assert all((tmp_path / "site" / str(name)).is_file() for name in named)
        assert not any(str(name).startswith(("http", "//")) for name in named)

    def test_every_script_of_the_package_is_loaded(self) -> None:
        assert {f"{name}.js" for name in pages.SCRIPTS} == {file.name for file in pages.STATIC.glob("*.js")}

    def test_licence_of_the_library_is_beside_it(self, tmp_path: Path) -> None:
        pages.write_folder(PIECES, "t", tmp_path / "site")
        assert "Apache License" in (tmp_path / "site/assets/echarts.LICENSE.txt").read_text(encoding="utf-8")

    def test_new_report_replaces_the_old_one_and_nothing_else(self, tmp_path: Path) -> None:
        site = tmp_path / "site"
        pages.write_folder([("index", {}), ("old", {})], "t", site)
        (site / "CNAME").write_text("example.org", encoding="utf-8")
        pages.write_folder([("index", {})], "t", site)
        assert not (site / "data/old.js").exists()
        assert (site / "CNAME").read_text(encoding="utf-8") == "example.org"
        assert [path.name for path in tmp_path.iterdir()] == ["site"]

    def test_failing_report_leaves_the_old_one(self, tmp_path: Path) -> None:
        def failing() -> Iterator[Piece]:
            yield "index", {}
            raise ResultError("no")

        pages.write_folder([("index", {}), ("old", {})], "t", tmp_path / "site")
        with pytest.raises(ResultError):
            pages.write_folder(failing(), "t", tmp_path / "site")
        with pytest.raises(ResultError):
            pages.write_folder(failing(), "t", tmp_path / "new")
        assert (tmp_path / "site/data/old.js").exists()
        assert not [path for path in (tmp_path / "site").iterdir() if path.name.startswith(".report")]
        assert [path.name for path in tmp_path.iterdir()] == ["site"]

    @pytest.mark.parametrize("name", ["index.html", "data/x.csv"])
    def test_files_of_something_else_are_not_overwritten(self, tmp_path: Path, name: str) -> None:
        file = tmp_path / "site" / name
        file.parent.mkdir(parents=True)
        file.write_text("mine", encoding="utf-8")
        with pytest.raises(ResultError, match="something else"):
            pages.write_folder(PIECES, "t", tmp_path / "site")
        assert file.read_text(encoding="utf-8") == "mine"

    def test_folder_of_a_branch_of_pages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path(".nojekyll").touch()
        pages.write_folder(PIECES, "t", Path())
        assert read(tmp_path / "data/sweeps/x.js") == {"n": None}

    def test_file_in_the_way_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "site").write_text("", encoding="utf-8")
        with pytest.raises(ResultError, match="is a file"):
            pages.write_folder(PIECES, "t", tmp_path / "site")


class TestSingleFile:
    def test_single_page_holds_all_data(self, found: Runs) -> None:
        pieces = dict(Site(results=found, title="t").pieces())
        page = Parsed(pages.single_page(pieces.items(), "t"))
        (data,) = [text for known, text in page.inside if known.get("id") == "data"]
        assert json.loads(data) == json.loads(pages.encode_json(pieces))
        assert not [known for tag, known in page.tags if tag == "link" or known.get("src")]

    def test_policy_names_every_script_by_its_hash(self) -> None:
        page = Parsed(pages.single_page(PIECES, HOSTILE))
        scripts = [text for known, text in page.inside if known.get("type") != "application/json"]
        assert len(scripts) == len(pages.SCRIPTS) + 2  # the library, and the style
        for text in scripts:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in page.policy
        assert "unsafe" not in page.policy


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@example.com:o/r.git", "https://example.com/o/r"),
        ("https://user:secret@example.com/o/r.git", "https://example.com/o/r"),
        ("ssh://git@example.com:22/o/r.git", "https://example.com/o/r"),
        ("https://example.com:8443/o/r/", "https://example.com:8443/o/r"),
        ("http://127.0.0.1/o/r", "http://127.0.0.1/o/r"),
        ("/srv/git/r.git", ""),
        ("file:///srv/r", ""),
        ("javascript:alert(1)", ""),
        ("javascript://x/%0aalert(1)", ""),
        ("", ""),
    ],
)
def test_address_of_a_repository(remote: str, address: str) -> None:
    assert web_address(remote) == address
