"""Export results in another tool's format.

gha: github-action-benchmark's custom JSON, three files by direction for each machine class
csv: one row a result, one column a metric
vllm: the JSON of ``vllm bench serve --save-result``, one file a serving result
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchhydra import formats
from benchhydra.commands._sources import print_skipped
from benchhydra.errors import ResultError
from benchhydra.result_files import read_result_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra export``."""
    parser.add_argument("source", type=Path, help="directory with results, or a result.json")
    parser.add_argument("--format", required=True, choices=sorted(formats.exporters()), help="what to write")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="directory of the files")


def run(args: argparse.Namespace) -> int:
    """Write the files and print their paths. Returns 1 if some results could not be read. Raises ResultError."""
    source = read_result_files(args.source)
    results = [result for _, result in source.results]
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        paths = formats.exporters()[args.format](results, args.output)
    except OSError as error:
        raise ResultError(
            f"cannot write to {args.output}: {error.strerror}", hint="-o DIR selects another directory"
        ) from error
    sys.stdout.write("".join(f"{path}\n" for path in paths))
    return print_skipped(source.faults)
