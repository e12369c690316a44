"""Show results again: a run, a sweep, a tree of them, an archive, or mlflow:EXPERIMENT?filter.

benchhydra show outputs/sweeps/DATE/TIME --metrics 'p99_*,request_throughput'
benchhydra show RUN -q --metrics p99_ttft_ms        only the figure
A single run is shown as at its end, with all its metrics. benchhydra.load(SOURCE) reads the same in Python.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from benchhydra.artifacts import SWEEP_FILE
from benchhydra.commands import _sources
from benchhydra.errors import ConfigError
from benchhydra.render.run_rows import RunRows

if TYPE_CHECKING:
    from benchhydra.analysis.runs import Runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra show``."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="results, oldest first, each run once")
    parser.add_argument(
        "--metrics",
        action="append",
        default=[],
        metavar="M,M",
        help="names, or patterns ('p99_*'); default: the key metrics, in JSON and CSV all",
    )
    _sources.add_format_argument(parser, "runs", default="table")
    parser.add_argument("-q", "--quiet", action="store_true", help="only the figures: no headings, no verdicts")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")


def run(args: argparse.Namespace) -> int:
    """Show the runs. Raises ResultError if there is none, ConfigError if none has a metric that was asked for."""
    from benchhydra.analysis.runs import Runs  # start-up time: msgspec, not for --help

    runs = Runs.joined([_sources.runs_of(source) for source in args.sources])
    metrics = _chosen_metrics(runs, [name for names in args.metrics for name in names.split(",") if name])
    directory = runs.runs[0].directory
    if len(runs.runs) == 1 and directory and args.format == "table" and not metrics and not args.quiet:
        _show_point(directory, args.output)
    else:
        answers = tuple(line for source in args.sources for line in _answers(source))
        rows = RunRows(runs=runs, metrics=metrics, quiet=args.quiet, answers=answers)
        _sources.write_document("runs", args.format, rows, args.output)
    return 0


def _answers(source: str) -> list[str]:
    """The answers of the searches of a sweep, if the source is one: a line each."""
    from benchhydra.render.answer_rows import answer_lines  # start-up time, as above
    from benchhydra.render.sweep_rows import read_sweep

    return answer_lines(read_sweep(Path(source))) if (Path(source) / SWEEP_FILE).is_file() else []


def _show_point(directory: Path, output: Path | None) -> None:
    """Show one run as it was shown when it ended."""
    from benchhydra.render.point_report import PointReport  # start-up time, as above
    from benchhydra.result import Result
    from benchhydra.tracking.links import read_links

    link = read_links(directory).get("link")
    report = PointReport(result=Result.read(directory), directory=directory, mlflow_link=link)
    _sources.write_document("point", "table", report, output)


def _chosen_metrics(runs: Runs, patterns: list[str]) -> tuple[str, ...]:
    """The metrics of the runs that match, in the order of the patterns. Raises ConfigError for one without any."""
    chosen: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in runs.kinds if fnmatchcase(name, pattern)]
        if not matching:
            from benchhydra.metrics import not_computed_hint  # start-up time: numpy, needed only for errors

            raise ConfigError(f"no run has a metric {pattern}", hint=not_computed_hint(pattern))
        chosen |= dict.fromkeys(matching)
    return tuple(chosen)
