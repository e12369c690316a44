"""Compare two sets of results, metric by metric, with intervals and verdicts.

BASE and CANDIDATE: a result.json, a point, a sweep, a tree of them, or mlflow:EXPERIMENT?filter.
Points are paired by their point key; if both sides have a single point, these two are paired in any case.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchhydra.commands import _sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra compare``."""
    parser.add_argument("base", help="results to compare with")
    parser.add_argument("candidate", help="results to judge")
    _sources.add_format_argument(parser, "comparison", default="table")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")
    parser.add_argument("--history", metavar="SOURCE", help="runs to estimate the noise from (default: outputs)")
    parser.add_argument(
        "--thresholds", default="default", metavar="FILE", help="smallest effects: a YAML file or a name"
    )


def run(args: argparse.Namespace) -> int:
    """Compare and print. Returns 0 for all verdicts: the command ``gate`` decides."""
    from benchhydra.analysis import thresholds  # start-up time: the statistics, not for --help
    from benchhydra.analysis.compare import compare

    base, candidate = _sources.runs_of(args.base), _sources.runs_of(args.candidate)
    limits, history = thresholds.read_thresholds(args.thresholds), _sources.history_of(args.history)
    comparison = compare(base, candidate, thresholds=limits, history=history.runs)
    _sources.write_document("comparison", args.format, comparison, args.output)
    return 0
