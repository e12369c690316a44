"""compare two sets of results, metric by metric, with intervals and verdicts

BASE and CANDIDATE: a result.json, a point, a sweep, a tree of them, or mlflow:EXPERIMENT?filter.
Points are paired by what identifies them; a single point is paired with a single point whatever it is.
"""

from __future__ import annotations

import argparse
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from benchhydra.commands import _sources

if TYPE_CHECKING:
    from benchhydra.analysis.compare import Comparison

FORMATS = ("table", "markdown", "json", "html", "junit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra compare``."""
    parser.add_argument("base", help="results to compare with")
    parser.add_argument("candidate", help="results to judge")
    parser.add_argument("--format", choices=FORMATS, default="table", help="output format")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")
    parser.add_argument("--history", metavar="SOURCE", help="runs to learn the noise floor from (default: outputs)")
    parser.add_argument(
        "--thresholds", default="default", metavar="FILE", help="smallest effects: a YAML file or a name"
    )


def run(args: argparse.Namespace) -> int:
    """Compare and print. The exit code is 0 whatever the verdicts are: ``gate`` decides."""
    from benchhydra.analysis import thresholds
    from benchhydra.analysis.compare import compare

    base, candidate = _sources.runs_of(args.base), _sources.runs_of(args.candidate)
    limits, history = thresholds.read_thresholds(args.thresholds), _sources.history_of(args.history)
    found = compare(base, candidate, thresholds=limits, history=history.runs)
    if args.format == "table" and args.output is None:
        from benchhydra.render.terminal.comparison_table import compare_table

        compare_table(found, sys.stdout)
        return 0
    _sources.write_output(_document(args.format, found), args.output)
    return 0


def _document(kind: str, found: Comparison) -> str:
    from benchhydra.render.documents import compare_html, compare_json, compare_markdown, junit
    from benchhydra.render.terminal import comparison_table

    if kind == "table":
        text = StringIO()
        comparison_table.compare_table(found, text)
        return text.getvalue()
    writers = {
        "markdown": compare_markdown.compare_markdown,
        "json": compare_json.compare_json,
        "html": compare_html.compare_html,
        "junit": junit.junit,
    }
    return writers[kind](found)
