"""Shared by commands on results: read sources of runs, choose the output format, write the output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchhydra import render
from benchhydra.analysis.read_runs import from_tree, read_runs
from benchhydra.analysis.runs import Runs
from benchhydra.errors import ConfigError, ResultError
from benchhydra.escaping import printable
from benchhydra.redaction import redact
from benchhydra.render.figures import count

if TYPE_CHECKING:
    from benchhydra.analysis.pairing import Pairing

HISTORY = "outputs"


def runs_of(source: str) -> Runs:
    """The runs of a source, which is a path or ``mlflow:EXPERIMENT?filter``. Raises ResultError."""
    runs = read_runs(source, _from_mlflow)
    if runs.faults:
        skipped = count(len(runs.faults), "file")
        sys.stderr.write(f"{source}: skipped {skipped}, the first: {printable(runs.faults[0])}\n")
    return runs


def history_of(source: str | None) -> Runs:
    """The runs of a history. None stands for ``outputs/``, which may be missing. Raises ResultError."""
    if source is not None:
        return runs_of(source)
    return from_tree(Path(HISTORY)) if Path(HISTORY).is_dir() else Runs([], {})


def add_pairing_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that select runs of the sides, and say how points are paired."""
    for side in ("base", "candidate"):
        parser.add_argument(
            f"--{side}",
            dest=f"{side}_settings",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help=f"only runs of the {side} with this setting; of one SOURCE both sides select",
        )
    parser.add_argument(
        "--by", type=_keys, default=(), metavar="KEY,KEY", help="pair points by these settings, whatever else differs"
    )


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in text.split(",") if key.strip())


def sides_of(args: argparse.Namespace, sources: Sequence[str]) -> tuple[Runs, Runs, Pairing]:
    """(base, candidate, how their points are paired) of two sources, or of one from which both sides select.

    Raises ConfigError if a selection is missing or selects nothing, and ResultError.
    """
    if len(sources) == 1 and not (args.base_settings and args.candidate_settings):
        hint = "a second source, or --base KEY=VALUE --candidate KEY=VALUE to compare parts of one"
        raise ConfigError("only one source, and nothing that selects two sides of it", hint=hint)
    base = runs_of(sources[0])
    return selected_sides(args, base, runs_of(sources[1]) if len(sources) > 1 else base)


def selected_sides(args: argparse.Namespace, base: Runs, candidate: Runs) -> tuple[Runs, Runs, Pairing]:
    """The sides that the arguments select from two sources. Raises ConfigError if a selection selects nothing."""
    from benchhydra.analysis.pairing import Pairing, select, selected_keys  # start-up time: not for --help

    words = args.base_settings, args.candidate_settings
    pairing = Pairing(by=args.by, ignored=(*selected_keys(words[0], base), *selected_keys(words[1], candidate)))
    return select(base, words[0]), select(candidate, words[1]), pairing


def add_format_argument(parser: argparse.ArgumentParser, kind: str, default: str) -> None:
    """Add ``--format`` with every format of this kind of document, including those of plugins."""
    parser.add_argument(
        "--format", choices=render.formats(kind), default=default, help="output format (default: %(default)s)"
    )


def print_skipped(faults: Sequence[str]) -> int:
    """Name on stderr what was left out, a line each. Returns the exit code: 1 if there is anything."""
    sys.stderr.write("".join(f"skipped: {printable(fault)}\n" for fault in faults))
    return 1 if faults else 0


def print_headline(command: str, headline: str, exit_code: int) -> None:
    """Print the reason for an exit code other than 0 as the first line on stderr."""
    if exit_code:
        sys.stderr.write(f"{command}: {printable(headline)}\n")


def write_document(kind: str, format: str, document: Any, output: Path | None) -> None:
    """Render a document to a file, or to stdout if ``output`` is None. Raises ResultError if it cannot be written.

    The file is written in place, not replaced, because the user may name a pipe or a device.
    """
    if output is None:
        render.render(kind, format, document, sys.stdout)
        return
    text = render.rendered(kind, format, document)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(redact(text), encoding="utf-8", errors="replace")
    except OSError as error:
        raise ResultError(f"cannot write {output}: {error.strerror}", hint="-o FILE selects another file") from error


def _from_mlflow(query: str) -> Runs:
    from benchhydra.analysis.runs import runs_of_results  # start-up time: MLflow takes 2 s to import
    from benchhydra.tracking.source import results_from_mlflow

    return runs_of_results(results_from_mlflow(query), f"mlflow:{query}")
