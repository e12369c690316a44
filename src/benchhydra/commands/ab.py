"""Test which of two configurations is faster: run both alternately, in random order, until the evidence suffices.

benchhydra ab A.yaml B.yaml model=tiny qps=8                   two files of overrides, and overrides of both sides
benchhydra ab --a engine.python=/old/bin/python --b engine.python=/new/bin/python model=llama2 qps=5

A file holds keys and values (engine.args.max_num_seqs: 64) or a list of overrides. The test stops when a main metric of
B is worse, when all are decided, or when the budget is spent. The intervals are valid after every pair.
Exit code 0: no main metric is worse; 3: B is worse; 4: nothing comparable; 5: a side has no usable run; 7 to 12: the
sides cannot be judged against each other, as in gate.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchhydra.artifacts import AB_JSON_FILE, AB_MARKDOWN_FILE
from benchhydra.commands import _sides, _sources
from benchhydra.errors import ConfigError
from benchhydra.escaping import printable_lines
from benchhydra.output_directory import claim_directory
from benchhydra.renamed_keys import rename

if TYPE_CHECKING:
    from benchhydra.analysis.ab import AbTest
    from benchhydra.analysis.runs import Runs
    from benchhydra.analysis.thresholds import Thresholds
    from benchhydra.commands._sides import AbSide


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra ab``."""
    parser.add_argument("words", nargs="*", metavar="FILE|KEY=VALUE", help="A.yaml B.yaml; overrides of both sides")
    parser.add_argument("--a", action="append", default=[], metavar="KEY=VALUE", help="an override of side A")
    parser.add_argument("--b", action="append", default=[], metavar="KEY=VALUE", help="an override of side B")
    parser.add_argument("--metric", action="append", default=[], metavar="M", help="a main metric, or a pattern")
    parser.add_argument("--all", action="store_true", help="continue until every main metric is decided")
    parser.add_argument("--budget-s", type=float, default=3600.0, metavar="S", help="stop after this time (3600)")
    parser.add_argument("--max-pairs", type=int, default=40, metavar="N", help="stop after N pairs (40)")
    parser.add_argument(
        "--runs-per-start",
        type=int,
        default=1,
        metavar="N",
        help="runs on a server start; their mean is one observation",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the order within pairs, and of the load"
    )
    parser.add_argument("--history", metavar="SOURCE", help="runs to estimate the noise from (default: outputs)")
    parser.add_argument("--thresholds", default="default", metavar="FILE", help="a YAML file, or a name in conf/gate")
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a directory with more options")
    _sources.add_format_argument(parser, "ab", default="summary")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="directory of all results (default: outputs/ab/...)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the test and print it. Returns the outcome as exit code."""
    from benchhydra.analysis import thresholds  # start-up time: the statistics, not for --help

    if args.max_pairs < 1 or args.runs_per_start < 1 or args.budget_s <= 0:
        raise ConfigError("--max-pairs, --runs-per-start and --budget-s must be above 0")
    sides, limits = _read_sides(args), thresholds.read_thresholds(args.thresholds)
    if args.output and args.output.exists() and any(args.output.iterdir()):
        raise ConfigError(f"{args.output} is not empty", hint="-o DIR selects another directory")
    output = args.output or claim_directory(Path("outputs/ab") / time.strftime("%Y-%m-%d/%H-%M-%S"), hint="-o DIR")
    test = _test(args, sides, limits, output)
    _announce(args, sides, test)
    try:
        test.run()
    finally:
        _conclude(args, sides, test, output)
    return int(test.outcome())


def _read_sides(args: argparse.Namespace) -> dict[str, AbSide]:
    """Side ("a", "b") -> its overrides, composed and checked. Raises BenchhydraError."""
    files, shared = _sides.split_words(args.words)
    if files and len(files) != 2:
        raise ConfigError(f"ab takes two files or none, not {len(files)}", hint="benchhydra ab A.yaml B.yaml")
    own = {"a": list(args.a), "b": list(args.b)}
    typed = {side: shlex.join(words) for side, words in own.items()}
    for side, file in zip(own, files, strict=False):
        own[side] = [*_sides.read_side(file), *own[side]]
        typed[side] = f"{file} {typed[side]}".strip()
    if own["a"] == own["b"] and not files:
        raise ConfigError("both sides are the same", hint="--a KEY=VALUE --b KEY=VALUE, or two files")
    renamed = {side: rename([*shared, *words]) for side, words in own.items()}
    for note in dict.fromkeys(note for _, notes in renamed.values() for note in notes):
        _say(note)
    return {
        side: _sides.compose_side(words, args.config_dir, typed[side], args.metric)
        for side, (words, _) in renamed.items()
    }


def _test(args: argparse.Namespace, sides: dict[str, AbSide], limits: Thresholds, output: Path) -> AbTest:
    from benchhydra.analysis import rerun  # start-up time: the statistics, not for --help
    from benchhydra.analysis.ab import AbBudget, AbTest

    more = ["--config-dir", str(args.config_dir.absolute())] if args.config_dir else []

    def visit(side: str, number: int) -> Runs:
        """The runs of one server start. Both sides of a pair get the same seed, each pair a different one."""
        words = [*more, *sides[side].overrides, f"seed={args.seed * 1000 + number}"]
        directory = output / side / f"{number:03d}"
        return rerun.measure_again(words, directory, args.runs_per_start, directory.with_suffix(".log"))

    return AbTest(
        visit=visit,
        budget=AbBudget(max_pairs=args.max_pairs, wall_s=args.budget_s),
        thresholds=limits,
        main_patterns=args.metric,
        seed=args.seed,
        decide_all=args.all,
        say=_say,
    )


def _announce(args: argparse.Namespace, sides: dict[str, AbSide], test: AbTest) -> None:
    """Print both sides, the budget and, if history tells the noise, the time that it takes to detect a change."""
    for name, side in sides.items():
        _say(f"{name.upper()}: {side.typed}")
    _say(f"both: {shlex.join(_sides.split_words(args.words)[1])}")
    starts = f"at most {test.budget.max_pairs} pairs, {2 * test.budget.max_pairs} server starts, {args.budget_s:g} s"
    _say(f"{starts}; the first verdict is possible after 5 to 9 pairs")
    lines = _plan_from_history(args, sides, test)
    if lines:
        _say("with the noise of history, detecting a change takes about:")
    else:
        _say("no history of these points: the time to detect a change is estimated after 3 pairs")
    for line in lines:
        _say(f"  {line}")


def _plan_from_history(args: argparse.Namespace, sides: dict[str, AbSide], test: AbTest) -> list[str]:
    """The lines of the plan, from the noise and the wall times of these points on this class of machines."""
    from benchhydra.analysis import ab_plan  # start-up time: the statistics, not for --help
    from benchhydra.environment import this_machine_class

    keys = [side.point_key for side in sides.values()]
    plan = ab_plan.PowerPlan(_sources.history_of(args.history), this_machine_class(), keys)
    return ab_plan.plan_lines(plan.noise(test.thresholds, test.main_patterns), test.thresholds.alpha, plan.pair_s())


def _conclude(args: argparse.Namespace, sides: dict[str, AbSide], test: AbTest, output: Path) -> None:
    """Print the outcome, also after an interrupt, and write it to the directory of the results."""
    from benchhydra.render.ab_report import AbReport  # start-up time: the statistics, not for --help

    starts = sum(len(runs) // args.runs_per_start for runs in test.seen.values())
    overrides = {name: list(side.overrides) for name, side in sides.items()}
    typed = {name: side.typed for name, side in sides.items()}
    report = AbReport(test=test, overrides=overrides, typed=typed, server_starts=starts)
    if output.is_dir():
        _sources.write_document("ab", "markdown", report, output / AB_MARKDOWN_FILE)
        _sources.write_document("ab", "json", report, output / AB_JSON_FILE)
    _sources.write_document("ab", args.format, report, None)
    if all(test.seen.values()):
        _say(f"to compare again: benchhydra compare {shlex.quote(str(output / 'a'))} {shlex.quote(str(output / 'b'))}")


def _say(text: str) -> None:
    sys.stderr.write(f"{printable_lines(text)}\n")
    sys.stderr.flush()
