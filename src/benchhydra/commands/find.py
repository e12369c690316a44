"""List the results in an archive.

Filters may contain *: benchhydra find --root DIR --branch main --date '2026-11-*'
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchhydra import archive
from benchhydra.commands import _sources
from benchhydra.errors import ResultError
from benchhydra.render.archive_rows import FIELDS, ArchiveRow
from benchhydra.render.figures import count
from benchhydra.result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra find``."""
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="the archive")
    for level in archive.LEVELS:
        parser.add_argument(f"--{level.replace('_', '-')}", default="*", help=f"only this {level.replace('_', ' ')}")
    for name in FIELDS:
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"only this {name.replace('_', ' ')}")
    _sources.add_format_argument(parser, "archive", default="text")


def run(args: argparse.Namespace) -> int:
    """List the matching results. Returns 1 if there are none, or if some cannot be read, and says so."""
    levels = {level: getattr(args, level) for level in archive.LEVELS}
    archived = archive.find_archived(args.root, levels)
    rows: list[ArchiveRow] = []
    faults: list[str] = []
    for place, path in archived:
        try:
            rows.append(ArchiveRow(place=place, path=path, result=Result.read(path)))
        except ResultError as error:
            faults.append(error.message)
    matching = [row for row in rows if _matches(row.result, args)]
    _sources.print_headline("error", f"none of {count(len(rows), 'result')} below {args.root} matches", not matching)
    _sources.write_document("archive", args.format, matching, None)
    return _sources.print_skipped(faults) or int(not matching)


def _matches(result: Result, args: argparse.Namespace) -> bool:
    return all(getattr(args, name) in (None, str(getattr(result, name))) for name in FIELDS)
