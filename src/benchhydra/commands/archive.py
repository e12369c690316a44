"""Store results permanently, under ROOT/date/event/label/python/branch/commit/run_id.

Nothing is overwritten: if a result is already archived, the others are stored and the command ends with an error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchhydra import archive
from benchhydra.errors import ResultError
from benchhydra.formats import find_results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra archive``."""
    parser.add_argument("source", type=Path, help="directory with results: a run, a sweep, a suite")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="the archive")
    parser.add_argument(
        "--event", default="manual", help=f"what triggered the run: {', '.join(archive.EVENTS)} (default: manual)"
    )
    parser.add_argument("--label", help="name of the machine (default: its class, from the result)")
    parser.add_argument("--branch", help="branch that was measured (default: from the result)")


def run(args: argparse.Namespace) -> int:
    """Store every result and print its path. Raises ResultError at the end if some could not be stored."""
    refused: list[str] = []
    for directory, result in find_results(args.source):
        place = archive.place_of(result, event=args.event, label=args.label, branch=args.branch)
        try:
            sys.stdout.write(f"{archive.archive_result(directory, args.root, place)}\n")
        except ResultError as error:
            refused.append(error.message)
    if refused:
        raise ResultError("; ".join(refused), hint="an archive is never overwritten")
    return 0
