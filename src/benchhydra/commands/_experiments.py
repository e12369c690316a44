"""Run experiments one after another, with one summary and one exit code.

Each experiment is a sweep in a process of its own, so that a crash does not affect the next one.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchhydra import interruption, render
from benchhydra.artifacts import SUMMARY_MARKDOWN_FILE, SWEEP_FILE, write_atomic
from benchhydra.errors import ConfigError, ResultError
from benchhydra.renamed_keys import rename
from benchhydra.render.suite_report import ExperimentOutcome, SuiteReport
from benchhydra.result_files import read_result_files


@dataclass(frozen=True, kw_only=True)
class SuiteExperiment:
    """The name of an experiment's directory, and the arguments of its ``benchhydra`` process."""

    name: str
    words: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The common arguments of commands that run experiments."""
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides, for every experiment")
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a directory with more options and experiments")
    parser.add_argument("--plan", action="store_true", help="print what would run, and start nothing")
    parser.add_argument("--resume", action="store_true", help="resume what is in -o DIR: keep believable results")


def run_experiments(experiments: Sequence[SuiteExperiment], args: argparse.Namespace, output: Path) -> int:
    """Run the experiments into ``output``, write the summary there and print it. Returns 0 if all of them succeeded."""
    args.overrides, notes = rename(args.overrides)
    sys.stderr.write("".join(f"{note}\n" for note in notes))
    if args.plan:
        codes = [_start(_command(experiment, args, output), experiment.name) for experiment in experiments]
        return int(any(codes))
    _make_directory(output)
    outcomes: list[ExperimentOutcome] = []
    for experiment in _with_distinct_names(experiments):
        outcomes.append(_run(experiment, args, output))
        report = SuiteReport(outcomes=outcomes, planned=len(experiments))
        write_atomic(output / SUMMARY_MARKDOWN_FILE, render.rendered("suite", "markdown", report))
    render.render("suite", "markdown", SuiteReport(outcomes=outcomes, planned=len(experiments)), sys.stdout)
    return int(any(outcome.exit_code for outcome in outcomes))


def experiment_slug(text: str) -> str:
    """The text as a directory name: lower case, other characters replaced by "-"."""
    return re.sub(r"[^A-Za-z0-9_.=-]+", "-", text).strip("-.").lower()


def _run(experiment: SuiteExperiment, args: argparse.Namespace, output: Path) -> ExperimentOutcome:
    start_s = time.monotonic()
    code = _start(_command(experiment, args, output), experiment.name)
    directory = output / experiment.name
    return ExperimentOutcome(
        name=experiment.name,
        directory=directory,
        exit_code=code,
        wall_s=time.monotonic() - start_s,
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
    """The number of results of each verdict; failed results are counted as "failed"."""
    try:
        results = read_result_files(directory).results
    except ResultError:  # the experiment ended before its first point
        return {}
    return Counter(result.status if result.status == "failed" else result.verdict.value for _, result in results)


def _with_distinct_names(experiments: Sequence[SuiteExperiment]) -> list[SuiteExperiment]:
    """The experiments, with a number appended to repeated names, so that each has a directory of its own."""
    counts: Counter[str] = Counter()
    distinct = []
    for experiment in experiments:
        counts[experiment.name] += 1
        number = f"-{counts[experiment.name]}" if counts[experiment.name] > 1 else ""
        distinct.append(SuiteExperiment(name=experiment.name + number, words=experiment.words))
    return distinct


def _make_directory(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot write to {output}: {error.strerror}", hint="-o DIR selects another directory"
        ) from error
