"""Writing a report: a folder for any web server (or none), or one HTML file that needs nothing beside it.

Scripts may not fetch files of a page opened from the disk, so each piece of data is a script that hands itself over:
``registerPiece("benchmarks/1f3a", {...})``. In the single file all data stand in one JSON block. Neither page runs
anything that was not written here: the Content-Security-Policy allows the folder's own scripts, or hashes of the
single file's.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchhydra.errors import ResultError
from benchhydra.report.site import Piece

HERE = Path(__file__).parent
STATIC, VENDOR = HERE / "static", HERE / "vendor"
LIBRARY = VENDOR / "echarts.common.min.js"
#: In the order in which they are loaded.
SCRIPTS = (
    "elements",
    "figures",
    "pieces",
    "address",
    "filters",
    "labels",
    "tables",
    "charts",
    "benchmark_list",
    "metric_history",
    "benchmark",
    "distributions",
    "requests",
    "series_charts",
    "run",
    "sweep_curves",
    "sweep",
    "sweep_list",
    "comparison",
    "theme",
    "main",
)
#: What a report's folder holds; nothing else in it is touched.
OWN = ("index.html", "assets", "data", ".nojekyll")
MARK = "<!-- made by benchhydra report -->"


def write_folder(pieces: Iterable[Piece], title: str, folder: Path) -> int:
    """Write the site; the old one stays until the new one is whole. Returns the number of data files.

    Raises ResultError where the folder holds something else, or cannot be written.
    """
    _check_ours(folder)
    made = not folder.exists()
    fresh = folder / f".report-{os.getpid()}"
    try:
        count = _fill(fresh, pieces, title)
        _replace(fresh, folder)
    except OSError as error:
        raise ResultError(f"cannot write {folder}: {error.strerror}", hint="-o DIR names another place") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if made:  # and nothing was written
            with contextlib.suppress(OSError):
                folder.rmdir()
    return count


def _check_ours(folder: Path) -> None:
    index = folder / "index.html"
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ResultError(f"{folder} is a file", hint="-o DIR, or -o FILE.html for one file")
    theirs = index.is_file() and MARK not in index.read_text(encoding="utf-8", errors="replace")
    if theirs or (not index.exists() and any((folder / name).exists() for name in ("assets", "data"))):
        raise ResultError(f"{folder} holds something else than a report", hint="-o DIR names another place")


def _fill(fresh: Path, pieces: Iterable[Piece], title: str) -> int:
    assets = fresh / "assets"
    assets.mkdir(parents=True)
    for file in (LIBRARY, *(STATIC / f"{name}.js" for name in SCRIPTS), STATIC / "style.css"):
        shutil.copyfile(file, assets / file.name)
    shutil.copyfile(VENDOR / "LICENSE", assets / "echarts.LICENSE.txt")
    shutil.copyfile(VENDOR / "NOTICE", assets / "echarts.NOTICE.txt")
    (fresh / ".nojekyll").touch()  # GitHub Pages serves the files as they are
    count = 0
    for name, data in pieces:
        count += 1
        file = fresh / "data" / f"{name}.js"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b'registerPiece("%s",%s);\n' % (name.encode(), encode_json(data)))
    (fresh / "index.html").write_text(_folder_page(title), encoding="utf-8")
    return count


def _replace(fresh: Path, folder: Path) -> None:
    for name in OWN:
        old = folder / name
        if old.is_dir():
            shutil.rmtree(old)
        (fresh / name).replace(old)


def encode_json(data: Any) -> bytes:
    """JSON that can stand inside a script: no ``<``, and no line separators; NaN and infinity are null."""
    text = msgspec.json.encode(data)
    for found, escaped in ((b"<", b"\\u003c"), ("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029")):
        text = text.replace(found, escaped)
    return text


def _folder_page(title: str) -> str:
    policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'"
    sources = [f"assets/{LIBRARY.name}", *(f"assets/{name}.js" for name in SCRIPTS)]
    return _render(title=title, policy=policy, styles=["assets/style.css"], sources=sources)


def write_file(pieces: Iterable[Piece], title: str, file: Path) -> None:
    """Write the report as one file. Raises ResultError."""
    page = single_page(pieces, title)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.tmp")
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise ResultError(f"cannot write {file}: {error.strerror}", hint="-o FILE.html names another place") from error


def single_page(pieces: Iterable[Piece], title: str) -> str:
    """The report as one HTML text."""
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    scripts = [LIBRARY.read_text(encoding="utf-8"), *((STATIC / f"{n}.js").read_text("utf-8") for n in SCRIPTS)]
    allowed = " ".join(_hash(script) for script in scripts)
    policy = f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; base-uri 'none'"
    return _render(
        title=title,
        policy=policy,
        inline_styles=[Markup(style)],  # our own file
        inline_scripts=[Markup(script) for script in scripts],  # our own files, and the library
        data=Markup(encode_json(dict(pieces)).decode()),  # encode leaves no <
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _render(*, title: str, policy: str, **parts: Any) -> str:
    known = {"styles": [], "sources": [], "inline_styles": [], "inline_scripts": [], "data": ""} | parts
    page: str = _template().render(title=title, policy=policy, mark=Markup(MARK), **known)  # a constant
    return page


@cache
def _template() -> Any:
    environment = Environment(loader=FileSystemLoader(STATIC), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("index.html.j2")
