"""Store results permanently, under ROOT/date/event/label/python/branch/commit/run_id.

Nothing is overwritten: if a result is already archived or cannot be read, the others are stored, and the command ends
with an error that names it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchhydra import archive
from benchhydra.errors import ResultError
from benchhydra.result_files import read_result_files


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
    """Store every result and print its path. Raises ResultError at the end if some could not be read or stored."""
    source = read_result_files(args.source)
    refused: list[str] = []
    for directory, result in source.results:
        place = archive.place_of(result, event=args.event, label=args.label, branch=args.branch)
        try:
            sys.stdout.write(f"{archive.archive_result(directory, args.root, place)}\n")
        except ResultError as error:
            refused.append(error.message)
    if source.faults or refused:
        hint = "an archive is never overwritten" if refused else ""
        raise ResultError("; ".join([*source.faults, *refused]), hint=hint)
    return 0
