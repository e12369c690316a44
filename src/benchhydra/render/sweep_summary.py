"""The summary of a sweep in its directory: ``summary.md`` and ``summary.csv``.

A sweep with a search also has ``answers.csv``.

The renderers are called directly: discovering all of them would take 60 ms at the end of every sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import TextIO

from benchhydra.artifacts import ANSWERS_CSV_FILE, SUMMARY_CSV_FILE, SUMMARY_MARKDOWN_FILE, write_atomic
from benchhydra.render.answer_rows import answers_of
from benchhydra.render.documents import sweep_csv, sweep_markdown
from benchhydra.render.sweep_rows import SweepRows, read_sweep


def write_summary(sweep_dir: Path) -> SweepRows:
    """Write ``summary.md``, ``summary.csv`` and ``answers.csv``, and return what was read for them.

    Raises ResultError if sweep.json cannot be read, or OSError.
    """
    sweep = read_sweep(sweep_dir)
    write_atomic(sweep_dir / SUMMARY_MARKDOWN_FILE, _text(sweep_markdown.write_sweep, sweep))
    write_atomic(sweep_dir / SUMMARY_CSV_FILE, _text(sweep_csv.write_sweep, sweep))
    if answers_of(sweep):
        write_atomic(sweep_dir / ANSWERS_CSV_FILE, _text(sweep_csv.write_answers, sweep))
    return sweep


def _text(write: Callable[[SweepRows, TextIO], None], sweep: SweepRows) -> str:
    text = StringIO()
    write(sweep, text)
    return text.getvalue()
