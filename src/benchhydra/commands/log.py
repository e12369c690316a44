"""Log results to MLflow that are not logged yet: a point, a sweep or a whole tree.

Results that are already logged are skipped, so the command can be repeated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import BenchhydraError, ResultError
from benchhydra.result import Result
from benchhydra.tracking import store
from benchhydra.tracking.mlflow import Mlflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra log``."""
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="a point, a sweep, or a tree of them")
    parser.add_argument("--uri", help="tracking URI (default: MLFLOW_TRACKING_URI, else sqlite under outputs/)")
    parser.add_argument("--experiment", default="benchhydra", help="name of the experiment (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="replace what is already logged")
    parser.add_argument("--no-artifacts", action="store_true", help="do not copy the points' files to MLflow")


def run(args: argparse.Namespace) -> int:
    """Log every result and print its link. Raises BenchhydraError."""
    files = sorted({file for directory in args.directories for file in directory.rglob(RESULT_FILE)})
    if not files:
        where = ", ".join(map(str, args.directories))
        raise ResultError(f"no {RESULT_FILE} under {where}", hint="name the directory of a point or of a sweep")
    tracking = Mlflow(uri=args.uri, experiment=args.experiment, artifacts=not args.no_artifacts)
    new = 0
    for file in files:
        new += _log(tracking, file, again=args.again)
    sys.stdout.write(f"{new} of {len(files)} results logged, {len(files) - new} were already logged\n")
    return 0


def _log(tracking: Mlflow, file: Path, *, again: bool) -> bool:
    try:
        logged = tracking.record(Result.read(file), file.parent, again=again)
    except store.failures() as error:
        raise BenchhydraError(
            f"cannot log {file.parent}: {store.one_line(error)}", hint="MLFLOW_TRACKING_URI or --uri selects the store"
        ) from error
    sys.stdout.write(f"{'logged' if logged.new else 'already logged'}  {file.parent}  {logged.link}\n")
    return logged.new
