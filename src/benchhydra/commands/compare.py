"""Compare two sets of results, metric by metric, with intervals and verdicts.

SOURCE: a result.json, a point, a sweep, a tree of them, or mlflow:EXPERIMENT?filter.
benchhydra compare BASE CANDIDATE
benchhydra compare SWEEP --base engine.args.max_num_seqs=64 --candidate engine.args.max_num_seqs=128

Points with equal keys are paired; if there is none, points of the same workload (script, API, dataset, load, rate,
lengths), so that two models, engines or arguments are compared. --by qps,model pairs by these settings.
Exit code 0 whatever changed; 4 to 12 if the sides cannot be judged against each other: 4 nothing comparable, 5 invalid,
6 incomplete, 7 metric missing, 8 different work, 9 same runs, 10 impossible values, 11 failed requests, 12 suspect
(docs/ci.md). The reason is the first line on stderr.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchhydra.commands import _sources
from benchhydra.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra compare``."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="BASE CANDIDATE; or one, with --base and --candidate"
    )
    _sources.add_pairing_arguments(parser)
    _sources.add_format_argument(parser, "comparison", default="matrix")
    parser.add_argument("--all", action="store_true", help="every metric of every point (--format table)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")
    parser.add_argument("--history", metavar="SOURCE", help="runs to estimate the noise from (default: outputs)")
    parser.add_argument(
        "--thresholds", default="default", metavar="FILE", help="smallest effects: a YAML file or a name"
    )


def run(args: argparse.Namespace) -> int:
    """Compare and print. Returns 0 for all changes (the command ``gate`` decides), and the outcome of problems."""
    from benchhydra.analysis import thresholds  # start-up time: the statistics, not for --help
    from benchhydra.analysis.compare import compare
    from benchhydra.render.headlines import comparison_headline

    if len(args.sources) > 2:
        raise ConfigError(f"compare takes two sources, not {len(args.sources)}")
    base, candidate, pairing = _sources.sides_of(args, args.sources)
    limits, history = thresholds.read_thresholds(args.thresholds), _sources.history_of(args.history)
    comparison = compare(base, candidate, thresholds=limits, history=history.runs, pairing=pairing)
    _sources.print_headline("compare", comparison_headline(comparison), comparison.outcome)
    full = args.all and args.format == "matrix"
    _sources.write_document("comparison", "table" if full else args.format, comparison, args.output)
    return int(comparison.outcome)
