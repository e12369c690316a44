"""Experiments one after another, each a sweep in a process of its own, with one summary and one exit code.

A process each, so that nothing that goes wrong in one of them reaches the next.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchhydra import interruption
from benchhydra.errors import ConfigError, ResultError
from benchhydra.formats import find_results
from benchhydra.result import Verdict

SUMMARY_FILE = "summary.md"
SWEEP_FILE = "sweep.json"
FAILED = "failed"
COLUMNS = (*(verdict.value for verdict in Verdict), FAILED)


@dataclass(frozen=True, kw_only=True)
class SuiteExperiment:
    """The name of an experiment's directory, and the words that ``benchhydra`` gets."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExperimentEnd:
    """How an experiment ended: its exit code, and its results counted by verdict."""

    name: str
    directory: Path
    code: int
    wall_s: float
    counts: dict[str, int] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that commands which run experiments have in common."""
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides, for every experiment")
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a directory with more options and experiments")
    parser.add_argument("--plan", action="store_true", help="print what would run, and start nothing")
    parser.add_argument("--resume", action="store_true", help="go on with what is in -o DIR: keep believable results")


def run_experiments(experiments: Sequence[SuiteExperiment], args: argparse.Namespace, output: Path) -> int:
    """Run them into ``output``, write the summary there and print it; 0 where every one of them ended well."""
    if args.plan:
        codes = [_start(_command(experiment, args, output), experiment.name) for experiment in experiments]
        return int(any(codes))
    _make(output)
    ended: list[ExperimentEnd] = []
    for experiment in _distinct(experiments):
        ended.append(_run(experiment, args, output))
        (output / SUMMARY_FILE).write_text(summary(ended, len(experiments)), encoding="utf-8")
    sys.stdout.write(summary(ended, len(experiments)))
    return int(any(experiment.code for experiment in ended))


def summary(ended: Sequence[ExperimentEnd], wanted: int) -> str:
    """A Markdown table: a row an experiment."""
    lines = [
        f"| experiment | {' | '.join(COLUMNS)} | time | exit code | results |",
        f"|---|{'--:|' * len(COLUMNS)}--:|--:|---|",
    ]
    for one in ended:
        counts = " | ".join(str(one.counts.get(column, 0)) for column in COLUMNS)
        lines.append(f"| {one.name} | {counts} | {_duration(one.wall_s)} | {one.code} | `{one.directory}` |")
    bad = sum(1 for one in ended if one.code)
    lines += ["", f"{len(ended)} of {wanted} experiments ran, {bad} did not end well", ""]
    return "\n".join(lines)


def _run(experiment: SuiteExperiment, args: argparse.Namespace, output: Path) -> ExperimentEnd:
    began = time.monotonic()
    code = _start(_command(experiment, args, output), experiment.name)
    directory = output / experiment.name
    return ExperimentEnd(
        name=experiment.name,
        directory=directory,
        code=code,
        wall_s=time.monotonic() - began,
        counts=_counts(directory),
    )


def _command(experiment: SuiteExperiment, args: argparse.Namespace, output: Path) -> list[str]:
    directory = (output / experiment.name).absolute()
    quoted = str(directory).replace("'", "\\'")
    words = [sys.executable, "-m", "benchhydra"]
    if args.config_dir:
        words += ["--config-dir", str(args.config_dir.absolute())]
    words += [*experiment.words, *args.overrides, f"hydra.sweep.dir='{quoted}'"]
    if args.resume and (directory / SWEEP_FILE).exists():
        words.append(f"sweep.resume='{quoted}'")
    return [*words, "sweep.plan=true"] if args.plan else words


def _start(command: Sequence[str], name: str) -> int:
    sys.stderr.write(f"--- {name}\n")
    sys.stderr.flush()
    return interruption.run_program(command)


def _counts(directory: Path) -> dict[str, int]:
    try:
        results = find_results(directory)
    except ResultError:  # it ended before its first point did
        return {}
    return Counter(FAILED if result.status == FAILED else result.verdict.value for _, result in results)


def _distinct(experiments: Sequence[SuiteExperiment]) -> list[SuiteExperiment]:
    """The same experiment twice gets two directories."""
    seen: Counter[str] = Counter()
    distinct = []
    for experiment in experiments:
        seen[experiment.name] += 1
        more = f"-{seen[experiment.name]}" if seen[experiment.name] > 1 else ""
        distinct.append(SuiteExperiment(name=experiment.name + more, words=experiment.words))
    return distinct


def _make(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {output}: {error.strerror}", hint="-o DIR names another place") from error


def experiment_slug(text: str) -> str:
    """A text as a directory's name."""
    return re.sub(r"[^A-Za-z0-9_.=-]+", "-", text).strip("-.").lower()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
