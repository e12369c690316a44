"""What a run and a sweep print on stdout when they end: tables, or their results as JSON (``--json``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchhydra.artifacts import RESULT_FILE, read_json_or_none
from benchhydra.render.point_report import PointReport
from benchhydra.render.terminal.point_table import print_point
from benchhydra.verbosity import Verbosity, verbosity

if TYPE_CHECKING:
    from benchhydra.render.sweep_rows import SweepRows


def print_run(report: PointReport) -> None:
    """Print one run: its table, or what is in its ``result.json``."""
    if verbosity() is Verbosity.TABLES:
        print_point(report, sys.stdout)
    elif verbosity() is Verbosity.JSON:
        _print_json(report.result.to_json())


def print_sweep(sweep: SweepRows, point_dirs: Sequence[str]) -> None:
    """Print a sweep: its tables, or a list of what is in the ``result.json`` of its points, in their order.

    Points without a result are not in the list.
    """
    if verbosity() is Verbosity.TABLES:
        from benchhydra.render.terminal import sweep_table  # start-up time: a single run has no summary

        sweep_table.print_sweep(sweep, sys.stdout)
    elif verbosity() is Verbosity.JSON:
        results = [read_json_or_none(Path(directory) / RESULT_FILE) for directory in point_dirs if directory]
        _print_json([result for result in results if result is not None])


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
