"""The outcomes of a suite's experiments as Markdown: its ``summary.md``."""

from __future__ import annotations

from typing import TextIO

from benchhydra.escaping import escape_markdown, markdown_code
from benchhydra.render import renderer
from benchhydra.render.figures import count, duration
from benchhydra.render.suite_report import ExperimentOutcome, SuiteReport
from benchhydra.render.text import markdown_table
from benchhydra.result import Verdict

COUNTS = (*(verdict.value for verdict in Verdict), "failed")
COLUMNS = ("experiment", *COUNTS, "time", "exit code", "results")


@renderer("suite", "markdown")
def write_suite(report: SuiteReport, stream: TextIO) -> None:
    """A table with one row an experiment, then the number of experiments that ran and that failed."""
    failed = sum(1 for outcome in report.outcomes if outcome.exit_code)
    table = markdown_table(COLUMNS, map(_row, report.outcomes), right=range(1, len(COLUMNS) - 1))
    ran = f"{len(report.outcomes)} of {count(report.planned, 'experiment')} ran, {failed} failed"
    stream.write("\n".join([*table, "", ran]) + "\n")


def _row(outcome: ExperimentOutcome) -> list[str]:
    counts = [str(outcome.counts.get(name, 0)) for name in COUNTS]
    directory = markdown_code(str(outcome.directory))
    return [escape_markdown(outcome.name), *counts, duration(outcome.wall_s), str(outcome.exit_code), directory]
