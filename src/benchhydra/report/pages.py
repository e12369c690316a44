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

from benchhydra.artifacts import write_atomic
from benchhydra.errors import ResultError
from benchhydra.redaction import redact_strings
from benchhydra.report.site import Piece

STATIC, VENDOR = Path(__file__).parent / "static", Path(__file__).parent / "vendor"
LIBRARY = VENDOR / "echarts.common.min.js"
#: In the order in which they are loaded.
SCRIPTS = (
    "elements",
    "figures",
    "pieces",
    "address",
    "filters",
    "labels",
    "export",
    "tables",
    "charts",
    "chart_figure",
    "benchmark_list",
    "metric_history",
    "benchmark",
    "distributions",
    "requests",
    "time_axis",
    "run",
    "sweep_table",
    "sweep_curves",
    "search_charts",
    "optimum_charts",
    "trade_offs",
    "sweep",
    "sweep_list",
    "comparison_curves",
    "compared_point",
    "explanation",
    "comparison",
    "theme",
    "main",
)
#: What a report's folder holds; nothing else in it is touched.
SITE_FILES = ("index.html", "assets", "data", ".nojekyll")
MARK = "<!-- made by benchhydra report -->"


def write_folder(pieces: Iterable[Piece], title: str, folder: Path) -> int:
    """Write the site; the old one stays until the new one is complete. Returns the number of data files.

    Raises ResultError where the folder holds something else, or cannot be written.
    """
    _check_is_report(folder)
    existed = folder.exists()
    new = folder / f".report-{os.getpid()}"
    try:
        count = _fill(new, pieces, title)
        _replace(folder, new)
    except OSError as error:
        raise ResultError(f"cannot write {folder}: {error.strerror}", hint="-o DIR names another place") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if not existed:
            with contextlib.suppress(OSError):  # not empty: the report was written
                folder.rmdir()
    return count


def _check_is_report(folder: Path) -> None:
    """Raise ResultError where the folder holds something else than a report."""
    index = folder / "index.html"
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ResultError(f"{folder} is a file", hint="-o DIR, or -o FILE.html for one file")
    other_page = index.is_file() and MARK not in index.read_text(encoding="utf-8", errors="replace")
    if other_page or (not index.exists() and any((folder / name).exists() for name in ("assets", "data"))):
        raise ResultError(f"{folder} holds something else than a report", hint="-o DIR names another place")


def _fill(folder: Path, pieces: Iterable[Piece], title: str) -> int:
    """Write a site into a new folder. Returns the number of data files."""
    assets = folder / "assets"
    assets.mkdir(parents=True)
    for file in (LIBRARY, *(STATIC / f"{name}.js" for name in SCRIPTS), STATIC / "style.css"):
        shutil.copyfile(file, assets / file.name)
    shutil.copyfile(VENDOR / "LICENSE", assets / "echarts.LICENSE.txt")
    shutil.copyfile(VENDOR / "NOTICE", assets / "echarts.NOTICE.txt")
    (folder / ".nojekyll").touch()  # GitHub Pages serves the files as they are
    count = 0
    for name, data in pieces:
        count += 1
        file = folder / "data" / f"{name}.js"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b'registerPiece("%s",%s);\n' % (name.encode(), encode_json(data)))
    (folder / "index.html").write_text(_folder_page(title), encoding="utf-8")
    return count


def _replace(folder: Path, new: Path) -> None:
    for name in SITE_FILES:
        old = folder / name
        if old.is_dir():
            shutil.rmtree(old)
        (new / name).replace(old)


def encode_json(data: Any) -> bytes:
    """JSON without secrets that can stand inside a script: without HTML's characters and line separators.

    NaN and infinity are null.
    """
    text = redact_strings(msgspec.json.encode(data).decode()).encode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character.encode(), b"\\u%04x" % ord(character))
    return text


def _folder_page(title: str) -> str:
    policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'"
    sources = [f"assets/{LIBRARY.name}", *(f"assets/{name}.js" for name in SCRIPTS)]
    return _render(title=title, policy=policy, styles=["assets/style.css"], sources=sources)


def write_file(pieces: Iterable[Piece], title: str, file: Path) -> None:
    """Write the report as one file. Raises ResultError."""
    page = single_page(pieces, title)
    try:
        write_atomic(file, page.encode())  # its data are redacted; its scripts must stay as they are
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
    variables = {"styles": [], "sources": [], "inline_styles": [], "inline_scripts": [], "data": ""} | parts
    page: str = _template().render(title=title, policy=policy, mark=Markup(MARK), **variables)  # MARK is a constant
    return page


@cache
def _template() -> Any:
    environment = Environment(loader=FileSystemLoader(STATIC), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("index.html.j2")
