"""Print every metric: name, unit, direction, formula.

docs/metrics.md is the output of ``--format markdown``.
"""

from __future__ import annotations

import argparse

from benchhydra import registry
from benchhydra.commands import _sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra metrics``."""
    _sources.add_format_argument(parser, "metrics", default="text")
    parser.add_argument(
        "--markdown", action="store_const", dest="format", const="markdown", help="the same as --format markdown"
    )


def run(args: argparse.Namespace) -> int:
    """Print the metric table."""
    from benchhydra.metrics import table  # start-up time: numpy, not for --help, which imports every command

    registry.discover()
    _sources.write_document("metrics", args.format, list(table().values()), None)
    return 0
