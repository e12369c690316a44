"""Write results as a web page: history, sweeps, and the changes between two sources.

SOURCE: a result.json, a point, a sweep, an archive, a tree of them, or mlflow:EXPERIMENT?filter (default: outputs).

benchhydra report                                    history and sweeps; open report/index.html in a browser
benchhydra report outputs -o report.html             the same in one file
benchhydra report BASE CANDIDATE --compare           and the changes from BASE to CANDIDATE
benchhydra report SWEEP --compare --base engine.args.max_num_seqs=64 --candidate engine.args.max_num_seqs=128

For a SOURCE that is a sweep the page is also logged to the MLflow runs of its points.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchhydra.artifacts import REPORT_FILE, SWEEP_FILE
from benchhydra.commands import _sources
from benchhydra.errors import ConfigError
from benchhydra.render.figures import count

if TYPE_CHECKING:
    from benchhydra.analysis.runs import Runs
    from benchhydra.report.site import Site

#: Every MLflow run of a sweep gets a copy of the page, so it shows the requests of fewer runs: each takes 45 kB.
LOGGED_REQUESTS = 40
#: The folder of the site, in the working directory.
FOLDER = Path("report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra report``."""
    from benchhydra.report import NEWEST_REQUESTS  # start-up time: not for --help, which imports every command

    parser.add_argument("sources", nargs="*", metavar="SOURCE", help=f"results (default: {_sources.HISTORY})")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=FOLDER,
        metavar="DIR",
        help="folder of the site, or FILE.html for one file (default: %(default)s)",
    )
    parser.add_argument("--title", default="Benchmarks", help="title of the page (default: %(default)s)")
    parser.add_argument(
        "--compare",
        action="store_true",
        help="add the changes between two sources, or between two selections of one",
    )
    _sources.add_pairing_arguments(parser)
    parser.add_argument("--history", metavar="SOURCE", help="with --compare: runs to estimate the noise floor from")
    parser.add_argument(
        "--thresholds", default="default", metavar="FILE", help="with --compare: smallest effects (YAML, or a name)"
    )
    parser.add_argument(
        "--requests",
        type=int,
        default=NEWEST_REQUESTS,
        metavar="N",
        help="show the requests of the N newest runs that have records (default: %(default)s)",
    )
    parser.add_argument(
        "--repository", metavar="URL", help="repository that commits link to (default: origin of the working directory)"
    )
    parser.add_argument("--no-mlflow", action="store_true", help="do not log the page of a sweep to MLflow")
    parser.add_argument("--uri", help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, else sqlite under outputs/)")


def run(args: argparse.Namespace) -> int:
    """Write the page, print its path, and log the pages of sweeps.

    Returns the exit code of ``compare``, else 1 if some files could not be read.
    """
    from benchhydra.analysis.runs import Runs  # start-up time, as above

    args.sources = args.sources or [_sources.HISTORY]
    _check(args)
    start_s = time.monotonic()
    parts = [_sources.runs_of(source) for source in args.sources]
    comparison = _comparison(args, parts)
    site = _site(args, Runs.joined(parts), comparison)
    page_file = _write(site, args.output)
    took_s = time.monotonic() - start_s
    sys.stdout.write(
        f"{count(len(site.results.runs), 'result')}, {count(len(site.benchmarks), 'benchmark')}, "
        f"requests of {count(len(site.with_requests), 'run')}, {took_s:.1f} s\nreport: {page_file}\n"
    )
    if not args.no_mlflow:
        for source, runs in zip(args.sources, parts, strict=True):
            _log_sweep(args, source, runs)
    faults = _sources.print_skipped(site.faults()) or int(any(part.faults for part in parts))
    return int(comparison.get("exit_code", 0)) or faults


def _check(args: argparse.Namespace) -> None:
    selects = bool(args.base_settings and args.candidate_settings)
    if args.compare and len(args.sources) != 2 and not (selects and len(args.sources) == 1):
        raise ConfigError(
            f"--compare takes two sources, not {len(args.sources)}",
            hint="report BASE CANDIDATE --compare, or report SOURCE --compare --base KEY=VALUE --candidate KEY=VALUE",
        )
    if not args.compare and (args.base_settings or args.candidate_settings or args.by):
        raise ConfigError("--base, --candidate and --by belong to a comparison", hint="add --compare")
    if args.requests < 0:
        raise ConfigError(f"--requests {args.requests} must be at least 0", hint="--requests 0 shows no requests")


def _site(args: argparse.Namespace, runs: Runs, comparison: dict[str, Any]) -> Site:
    from benchhydra.report.data import repository  # start-up time, as above
    from benchhydra.report.site import Site

    address = repository.origin() if args.repository is None else repository.web_address(args.repository)
    if args.repository and not address:
        raise ConfigError(f"--repository {args.repository} is not a URL", hint="https://HOST/OWNER/NAME")
    return Site(
        results=runs,
        title=args.title,
        sources=tuple(args.sources),
        repository=address,
        newest_requests=args.requests,
        comparison=comparison,
    )


def _comparison(args: argparse.Namespace, parts: list[Runs]) -> dict[str, Any]:
    if not args.compare:
        return {}
    from benchhydra.analysis import thresholds  # start-up time: only for --compare
    from benchhydra.analysis.compare import compare
    from benchhydra.render.headlines import comparison_headline
    from benchhydra.report.data.comparison import comparison_data

    limits, history = thresholds.read_thresholds(args.thresholds), _sources.history_of(args.history)
    base, candidate, pairing = _sources.selected_sides(args, parts[0], parts[-1])
    comparison = compare(base, candidate, thresholds=limits, history=history.runs, pairing=pairing)
    _sources.print_headline("report", comparison_headline(comparison), comparison.outcome)
    return comparison_data(comparison, *_side_names(args))


def _side_names(args: argparse.Namespace) -> tuple[str, str]:
    """What the user called the sides: the sources, and what was selected from them."""
    base, candidate = args.sources[0], args.sources[-1]
    return " ".join((base, *args.base_settings)), " ".join((candidate, *args.candidate_settings))


def _write(site: Site, output: Path) -> Path:
    from benchhydra.report import pages  # start-up time, as above

    if output.suffix.lower() in (".html", ".htm"):
        pages.write_file(site.pieces(), site.title, output)
        return output
    pages.write_folder(site.pieces(), site.title, output)
    return output / "index.html"


def _log_sweep(args: argparse.Namespace, source: str, runs: Runs) -> None:
    """Log the page of a sweep to its MLflow runs. If the tracker fails, print how to log it later."""
    from benchhydra.report import pages  # start-up time, as above
    from benchhydra.tracking import page, store

    if not (Path(source) / SWEEP_FILE).is_file():
        return
    directories = [run.directory for run in runs.runs if run.directory is not None]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / REPORT_FILE
        site = replace(_site(args, runs, {}), newest_requests=min(args.requests, LOGGED_REQUESTS))
        pages.write_file(site.pieces(), args.title, file)
        try:
            count = page.attach_report(file, directories, args.uri)
        except store.failures() as error:
            again = f"benchhydra report {shlex.quote(source)} -o {shlex.quote(str(args.output))}"
            sys.stderr.write(f"not logged to MLflow ({store.one_line(error)}); to log it later: {again}\n")
            return
    if count:
        sys.stdout.write(f"mlflow: {page.FOLDER}/{REPORT_FILE} in {count} runs of {source}\n")
