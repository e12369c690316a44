"""the past of each point and metric: values over time, noise, and where the level changed

SOURCE: a tree of results (default: outputs). INVALID runs take no part; kinds of machines are kept apart.
"""

from __future__ import annotations

import argparse
import sys

from benchhydra.commands import _sources
from benchhydra.errors import ResultError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra history``."""
    parser.add_argument("source", nargs="?", default=_sources.HISTORY, help="results of the past")
    parser.add_argument(
        "--metric", default="*", metavar="M", help="a name, or a pattern of metrics with a direction ('mean_*')"
    )
    parser.add_argument("--changes", action="store_true", help="only series whose level changed")


def run(args: argparse.Namespace) -> int:
    """Print the series."""
    from benchhydra.analysis.history import metric_histories
    from benchhydra.render.terminal.history_table import history_table

    found = list(metric_histories(_sources.runs_of(args.source), args.metric))
    if not found:
        raise ResultError(f"no usable run of {args.source} has a metric {args.metric}", hint="benchhydra metrics")
    history_table([s for s in found if s.changes or not args.changes], sys.stdout)
    return 0
