"""list the results in an archive

Filters take * for anything: benchhydra find --root DIR --branch main --date '2026-11-*'
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchhydra import archive
from benchhydra.result import Result

#: What of a result may be asked for beside its place.
FIELDS = ("model", "dataset", "script", "verdict", "point_key")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra find``."""
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="the archive")
    for level in archive.LEVELS:
        parser.add_argument(f"--{level.replace('_', '-')}", default="*", help=f"only this {level.replace('_', ' ')}")
    for name in FIELDS:
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"only this {name.replace('_', ' ')}")
    parser.add_argument(
        "--format", choices=("text", "paths", "json"), default="text", help="how to list (default: text)"
    )


def run(args: argparse.Namespace) -> int:
    """List what matches; exit code 1 where nothing does."""
    wanted = {level: getattr(args, level) for level in archive.LEVELS}
    found = [(place, path, Result.read(path)) for place, path in archive.find_archived(args.root, wanted)]
    rows = [(place, path, result) for place, path, result in found if _matches(result, args)]
    if args.format == "json":
        sys.stdout.write(json.dumps([_row(*row) for row in rows], indent=1) + "\n")
    elif args.format == "paths":
        sys.stdout.write("".join(f"{path}\n" for _, path, _ in rows))
    else:
        _print_table(rows)
    return 0 if rows else 1


def _matches(result: Result, args: argparse.Namespace) -> bool:
    return all(getattr(args, name) in (None, str(getattr(result, name))) for name in FIELDS)


def _row(place: archive.ArchivePlace, path: Path, result: Result) -> dict[str, Any]:
    levels = {level: getattr(place, level) for level in archive.LEVELS}
    return {**levels, **{name: str(getattr(result, name)) for name in FIELDS}, "path": str(path)}


def _print_table(rows: list[tuple[archive.ArchivePlace, Path, Result]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "date", "event", "label", "branch", "commit", "script", "model", "dataset", "verdict", "run", box=None
    )
    for place, _, result in rows:
        commit, run_id = place.commit[:9], place.run_id[:12]
        facts = (result.script, result.model, result.dataset, result.verdict.value)
        table.add_row(place.date, place.event, place.label, place.branch, commit, *facts, run_id)
    Console(file=sys.stdout, soft_wrap=True).print(table)
    sys.stdout.write(f"{len(rows)} results\n")
