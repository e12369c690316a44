"""Show the history of each point and metric: values over time, noise, and where the level changed.

SOURCE: a tree of results (default: outputs). INVALID runs are left out; each class of machines has its own history.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchhydra.analysis.runs import Runs
from benchhydra.commands import _sources
from benchhydra.errors import ResultError
from benchhydra.render.figures import count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra history``."""
    parser.add_argument("source", nargs="?", default=_sources.HISTORY, help="results of the past")
    parser.add_argument(
        "--metric", default="*", metavar="M", help="a name, or a pattern of metrics with a direction ('mean_*')"
    )
    parser.add_argument("--changes", action="store_true", help="only metrics whose level changed")
    _sources.add_format_argument(parser, "history", default="table")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")


def run(args: argparse.Namespace) -> int:
    """Print the histories. Raises ResultError if there are none."""
    from benchhydra.analysis.history import metric_histories  # start-up time: the statistics, not for --help

    runs = _sources.runs_of(args.source)
    histories = list(metric_histories(runs, args.metric))
    if not histories:
        raise _nothing_to_show(args, runs)
    selected = [history for history in histories if history.changes or not args.changes]
    _sources.write_document("history", args.format, selected, args.output)
    return 0


def _nothing_to_show(args: argparse.Namespace, runs: Runs) -> ResultError:
    """The error that says why the runs of a source have no history."""
    unusable = [run for run in runs.runs if not run.usable]
    if len(unusable) == len(runs.runs):
        reasons = dict.fromkeys(text for run in unusable for text in run.reasons)
        text = "; ".join([*reasons][:3]) or "no reason is recorded"
        return ResultError(f"all {count(len(runs.runs), 'run')} of {args.source} are unusable: {text}")
    return ResultError(
        f"none of the {len(runs.runs) - len(unusable)} usable runs of {args.source} has a metric {args.metric}",
        hint="benchhydra metrics",
    )
