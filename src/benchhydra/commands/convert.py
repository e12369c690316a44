"""Convert another tool's result file to result.json.

Reads what nm-vllm, ``vllm bench serve`` (and throughput, and sweep), guidellm, aiperf, SGLang's ``bench_serving``,
inference-perf, genai-bench and llm-d's benchmark report write.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from benchhydra import formats
from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import ResultError
from benchhydra.escaping import printable
from benchhydra.result import Result, Verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra convert``."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="another tool's result file")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="directory of the results, one subdirectory a run",
    )


def run(args: argparse.Namespace) -> int:
    """Write a ``result.json`` for each run, and print its path and verdict.

    Raises ResultError, also if a file holds no run, or if every run is INVALID.
    """
    results = [(file, result) for file in args.files for result in _results(file)]
    for file, result in results:
        directory = args.output / _name(file, result)
        if (directory / RESULT_FILE).exists():
            raise ResultError(f"{directory} already has a result", hint="-o DIR selects another directory")
        result.write(directory)
        sys.stdout.write(f"{directory / RESULT_FILE}  {result.verdict}  {len(result.metrics)} metrics\n")
        sys.stdout.write("".join(f"  {printable(reason.text)}\n" for reason in result.reasons))
        sys.stdout.write("".join(f"  note: {warning}\n" for warning in result.warnings))
    if all(result.verdict is Verdict.INVALID for _, result in results):
        reasons = dict.fromkeys(reason.text for _, result in results for reason in result.reasons)
        raise ResultError(f"every converted run is INVALID: {'; '.join(reasons)}")
    return 0


def _results(file: Path) -> list[Result]:
    results = formats.read_foreign_results(file)
    if not results:
        raise ResultError(f"{file} holds no run")
    return results


def _name(file: Path, result: Result) -> str:
    stem = re.sub(r"[^A-Za-z0-9_.=-]+", "-", file.stem).strip(".-") or "result"
    return f"{stem}-{result.run_id[:8]}"
