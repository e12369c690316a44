"""The summary of a sweep: a table on the terminal, and ``summary.md`` and ``summary.csv`` in its directory.

A sweep with a search also has ``answers.csv``.

The three renderers are called directly: discovering all renderers would take 60 ms at the end of every sweep.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import TextIO

from benchhydra.artifacts import ANSWERS_CSV_FILE, SUMMARY_CSV_FILE, SUMMARY_MARKDOWN_FILE, write_atomic
from benchhydra.render.answer_rows import answers_of
from benchhydra.render.documents import sweep_csv, sweep_markdown
from benchhydra.render.sweep_rows import SweepRows, read_sweep
from benchhydra.render.terminal import sweep_table


def write_summary(sweep_dir: Path) -> None:
    """Write ``summary.md``, ``summary.csv`` and ``answers.csv``. Raises ResultError for sweep.json, or OSError."""
    sweep = read_sweep(sweep_dir)
    write_atomic(sweep_dir / SUMMARY_MARKDOWN_FILE, _text(sweep_markdown.write_sweep, sweep))
    write_atomic(sweep_dir / SUMMARY_CSV_FILE, _text(sweep_csv.write_sweep, sweep))
    if answers_of(sweep):
        write_atomic(sweep_dir / ANSWERS_CSV_FILE, _text(sweep_csv.write_answers, sweep))


def print_summary(sweep_dir: Path) -> None:
    """Print the table to stdout. Raises ResultError if sweep.json cannot be read."""
    sweep_table.print_sweep(read_sweep(sweep_dir), sys.stdout)


def _text(write: Callable[[SweepRows, TextIO], None], sweep: SweepRows) -> str:
    text = StringIO()
    write(sweep, text)
    return text.getvalue()
