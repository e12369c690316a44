"""Show the history of each point and metric: values over time, noise, and where the level changed.

SOURCE: a tree of results (default: outputs). INVALID runs are left out; each class of machines has its own history.
Exit code 10 if usable runs have impossible values, such as latencies of zero.
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
    """Print the histories. Returns the exit code of impossible values if runs have some: these are left out.

    Raises ResultError if there is no history.
    """
    from benchhydra.analysis.comparison import GateOutcome  # start-up time: the statistics, not for --help
    from benchhydra.analysis.history import metric_histories
    from benchhydra.render.verdict_words import GATE_WORDS

    runs = _sources.runs_of(args.source)
    histories = list(metric_histories(runs, args.metric))
    if not histories:
        raise _nothing_to_show(args, runs)
    selected = [history for history in histories if history.changes or not args.changes]
    impossible = _impossible_values(runs)
    outcome = GateOutcome.IMPOSSIBLE if impossible else GateOutcome.FINE
    _sources.print_headline("history", f"{GATE_WORDS[outcome]}: {impossible}", outcome)
    _sources.write_document("history", args.format, selected, args.output)
    return int(outcome)


def _impossible_values(runs: Runs) -> str:
    """The values of usable runs that nothing can have, in a sentence; empty if there is none."""
    from benchhydra.analysis.pairing import runs_by_point, usable_runs  # start-up time, as above
    from benchhydra.analysis.problems import MetricRoles, impossible_values, listed
    from benchhydra.analysis.thresholds import Thresholds

    roles = MetricRoles(runs.kinds, Thresholds(), runs.scripts)
    points = runs_by_point(usable_runs(runs.runs)).values()
    return listed(
        [f"{of_point[0].label}: {text}" for of_point in points for text in impossible_values(of_point, roles)]
    )


def _nothing_to_show(args: argparse.Namespace, runs: Runs) -> ResultError:
    """The error that says why the runs of a source have no history."""
    unusable = [run for run in runs.runs if not run.usable]
    if len(unusable) == len(runs.runs):
        reasons = dict.fromkeys(text for run in unusable for text in run.reasons)
        text = "; ".join([*reasons][:3]) or "no reason is recorded"
        return ResultError(f"all {count(len(runs.runs), 'run')} of {args.source} are unusable: {text}")
    from benchhydra.metrics import not_computed_hint  # start-up time: numpy, which --help does not need

    return ResultError(
        f"none of the {len(runs.runs) - len(unusable)} usable runs of {args.source} has a metric {args.metric}",
        hint=not_computed_hint(args.metric),
    )
