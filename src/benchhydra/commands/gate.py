"""Decide whether a build passes: exit code 0 no regression, 3 regression, 4 to 12 it cannot be judged.

benchhydra gate BASELINE CANDIDATE, or benchhydra gate CANDIDATE --against history, or
benchhydra gate SWEEP --base KEY=VALUE --candidate KEY=VALUE.
A main metric that is probably worse is named, and fails the gate only with --fail-on-probable.
Points that look worse are measured again before they are reported, if the candidate records how to run it;
--no-confirm turns that off.
The first line on stderr is the reason for an exit code other than 0. --accept NAME passes in spite of a problem that
you expect: --accept incomplete for a point that was removed, --accept suspect, ...
Exit codes: 4 nothing comparable, 5 invalid, 6 incomplete, 7 metric missing, 8 different work, 9 same runs,
10 impossible values, 11 failed requests, 12 suspect (docs/ci.md).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchhydra import render
from benchhydra.commands import _sources
from benchhydra.errors import ConfigError
from benchhydra.redaction import redact
from benchhydra.render.figures import count

if TYPE_CHECKING:
    from benchhydra.analysis.gate import Decision, Gate
    from benchhydra.analysis.runs import Runs

#: The environment variable in which GitHub names the file of a job's page.
JOB_PAGE = "GITHUB_STEP_SUMMARY"
#: Names of the outcomes that --accept takes.
ACCEPTABLE = ("invalid", "incomplete", "metric_missing", "different_work", "failures", "suspect")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra gate``."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="BASELINE CANDIDATE; or only CANDIDATE")
    _sources.add_pairing_arguments(parser)
    parser.add_argument("--against", choices=("history",), help="compare with the newest stable segment of history")
    parser.add_argument("--history", metavar="SOURCE", help="runs of the past (default: outputs)")
    parser.add_argument("--thresholds", default="default", metavar="FILE", help="a YAML file, or a name in conf/gate")
    parser.add_argument(
        "--confirm", action=argparse.BooleanOptionalAction, default=None, help="measure points that look worse again"
    )
    parser.add_argument(
        "--confirm-dir", type=Path, default=Path("outputs/confirm"), metavar="DIR", help="directory of the re-runs"
    )
    parser.add_argument(
        "--fail-on-probable", action="store_true", help="also fail where a main metric is probably worse"
    )
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        choices=ACCEPTABLE,
        metavar="NAME",
        help=f"one of {', '.join(ACCEPTABLE)}",
    )
    _sources.add_format_argument(parser, "gate", default="markdown")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")
    parser.add_argument(
        "--comment", type=Path, metavar="FILE", help="also write the decision in Markdown, as the body of a comment"
    )


def run(args: argparse.Namespace) -> int:
    """Decide and print. Returns the outcome as exit code."""
    from benchhydra.render.headlines import gate_headline  # start-up time: the statistics, not for --help

    decision = _gate(args).decide()
    _sources.print_headline("gate", gate_headline(decision), decision.outcome)
    _sources.write_document("gate", args.format, decision, args.output)
    _publish(args, decision)
    return int(decision.outcome)


def _gate(args: argparse.Namespace) -> Gate:
    from benchhydra.analysis import thresholds  # start-up time: the statistics, not for --help
    from benchhydra.analysis.comparison import GateOutcome
    from benchhydra.analysis.gate import Gate
    from benchhydra.analysis.history_gate import HistoryGate
    from benchhydra.analysis.runs import Runs

    expected = 1 if args.against else 2
    selects = bool(args.base_settings and args.candidate_settings)
    if len(args.sources) != expected and not (selects and len(args.sources) == 1):
        hint = "benchhydra gate BASELINE CANDIDATE, or benchhydra gate CANDIDATE --against history"
        raise ConfigError(f"gate takes {count(expected, 'source')}, not {len(args.sources)}", hint=hint)
    history = _sources.history_of(args.history)
    limits = thresholds.read_thresholds(args.thresholds)
    gate: Gate
    if args.against:
        candidate = _sources.runs_of(args.sources[0])
        gate = HistoryGate(Runs([], history.kinds), candidate, limits, history.runs)
    else:
        base, candidate, pairing = _sources.sides_of(args, args.sources)
        gate = Gate(base, candidate, limits, history.runs, pairing=pairing)
    gate.fail_on_probable = args.fail_on_probable
    gate.accept = {GateOutcome[name.upper()] for name in args.accept}
    _set_rerun(gate, args, candidate)
    return gate


def _set_rerun(gate: Gate, args: argparse.Namespace, candidate: Runs) -> None:
    """Let the gate measure again; by default if every run of the candidate records its overrides.

    Raises ConfigError if ``--confirm`` is given and a run does not record them.
    """
    from time import strftime

    from benchhydra.analysis import rerun  # start-up time, as above

    can_rerun = all(rerun.overrides_of(run) is not None for run in candidate.runs)
    if args.confirm and not can_rerun:
        raise ConfigError("--confirm: the candidate does not record how to run it again", hint="--no-confirm")
    if args.confirm is not False and can_rerun:
        gate.rerun = rerun.into_directory(args.confirm_dir / strftime("%Y-%m-%d-%H-%M-%S"))
    elif args.confirm is None:
        gate.notes.append("not confirmed by re-runs: the candidate does not record how to run it again")


def _publish(args: argparse.Namespace, decision: Decision) -> None:
    """Write the body of the comment, and append the decision to the page of the CI job."""
    if args.comment is not None:
        _sources.write_document("gate", "markdown", decision, args.comment)
    job_page = os.environ.get(JOB_PAGE)
    if job_page:
        try:
            with Path(job_page).open("a", encoding="utf-8") as page:
                page.write(redact(render.rendered("gate", "markdown", decision)))
        except OSError as error:
            sys.stderr.write(f"cannot write {JOB_PAGE} {job_page}: {error.strerror}\n")
