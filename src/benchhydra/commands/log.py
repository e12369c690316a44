"""Log results to MLflow that are not logged yet: a point, a sweep or a whole tree.

Results that are already logged are skipped, so the command can be repeated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchhydra.commands._sources import print_skipped
from benchhydra.errors import BenchhydraError, ResultError
from benchhydra.result import Result
from benchhydra.result_files import read_result_files
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
    """Log every result and print its link. Returns 1 if some cannot be read. Raises BenchhydraError."""
    sources = [read_result_files(directory) for directory in args.directories]
    results = {directory: result for source in sources for directory, result in source.results}
    tracking = Mlflow(uri=args.uri, experiment=args.experiment, artifacts=not args.no_artifacts)
    new = 0
    faults = [fault for source in sources for fault in source.faults]
    for directory, result in sorted(results.items()):
        try:
            new += _log(tracking, directory, result, again=args.again)
        except ResultError as error:
            faults.append(f"{directory} is not logged: {error.message}")
            del results[directory]
    for sweep_id, directory in {r.sweep_id: d.parent for d, r in results.items() if r.sweep_id}.items():
        tracking.log_curves(sweep_id, directory)
    sys.stdout.write(f"{new} of {len(results)} results logged, {len(results) - new} were already logged\n")
    return print_skipped(faults)


def _log(tracking: Mlflow, directory: Path, result: Result, *, again: bool) -> bool:
    try:
        logged = tracking.record(result, directory, again=again)
    except ResultError:
        raise
    except store.failures() as error:
        raise BenchhydraError(
            f"cannot log {directory}: {store.one_line(error)}", hint="MLFLOW_TRACKING_URI or --uri selects the store"
        ) from error
    sys.stdout.write(f"{'logged' if logged.new else 'already logged'}  {directory}  {logged.link}\n")
    return logged.new
