"""Find the first bad build between a good and a bad one: halve the line of builds, and be sure at each step.

benchhydra bisect --good engine.python=/opt/vllm-0.30/bin/python --bad engine.python=/opt/vllm-0.33/bin/python \\
    --versions 0.31.0,0.32.0 model=tiny qps=8 --metric mean_tpot_ms         versions between them, from the registry
benchhydra bisect --good 0.30.0 --bad 0.33.0 --versions 0.31.0,0.32.0 model=tiny qps=8 --metric mean_tpot_ms
benchhydra bisect --good v0.30.0 --bad main --repository ~/vllm --build 'make-env {commit} {directory}' \\
    model=tiny qps=8 --metric mean_tpot_ms                                  the commits between two commits
benchhydra bisect --good engine.python=/a/bin/python --bad engine.python=/d/bin/python \\
    --pythons /b/bin/python,/c/bin/python model=tiny qps=8 --metric mean_ttft_ms  interpreters that exist
benchhydra bisect --resume outputs/bisect/2026-11-26/16-40-00                  goes on after an interruption

A version gets an environment in the cache, made with uv. The command of --build is split into words and run without a
shell, in the repository, once a commit; its last line is the interpreter's path, or it installs into {directory}.
First good is tested against bad, as ab does; then the build in the middle against both, in rounds of three runs, until
it differs surely from one of them. If each build is as fast as good or as bad, the answer is wrong in at most
--error-percent of bisections. Builds that cannot be made or started are skipped.
Exit code 0: the first bad build is known; 4: good and bad do not differ surely; 5: good or bad has no usable run;
6: several builds may be the first bad one, because builds between them could not be tested, or the budget is spent.
"""

from __future__ import annotations

import argparse
import random
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchhydra.artifacts import BISECT_JSON_FILE, BISECT_MARKDOWN_FILE, SWEEP_FILE, read_json, read_json_or_none
from benchhydra.commands import _sides, _sources, command_parser
from benchhydra.errors import BenchhydraError, ConfigError, ResultError
from benchhydra.escaping import printable_lines
from benchhydra.output_directory import PathLock, claim_directory
from benchhydra.redaction import HIDDEN, excerpt, redact
from benchhydra.renamed_keys import rename

if TYPE_CHECKING:
    from benchhydra.analysis.bisect_run import BisectRun
    from benchhydra.analysis.runs import Runs
    from benchhydra.builds import Build
    from benchhydra.render.bisect_report import BisectReport

MOST_ROUNDS = 40
DEFAULT_PACKAGE = "vllm"
LOCK_FILE = ".lock"
LINE_LENGTH = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra bisect``."""
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="overrides of all builds")
    parser.add_argument("--good", metavar="BUILD", help="the good build: KEY=VALUE, a version, or a commit")
    parser.add_argument("--bad", metavar="BUILD", help="the bad build")
    between = parser.add_mutually_exclusive_group()
    between.add_argument("--versions", metavar="V,V", help="versions between them, oldest first")
    between.add_argument("--pythons", metavar="PATH,PATH", help="interpreters between them, oldest first")
    between.add_argument("--build", metavar="COMMAND", help="makes the build of {commit}, into {directory} if it can")
    parser.add_argument("--package", default=DEFAULT_PACKAGE, help="the package of versions (default: %(default)s)")
    parser.add_argument("--repository", type=Path, default=Path(), metavar="DIR", help="of the commits (default: .)")
    parser.add_argument("--metric", metavar="M", help="the metric that became worse")
    parser.add_argument(
        "--error-percent", type=float, default=5.0, metavar="P", help="chance of a wrong answer (default: %(default)g)"
    )
    parser.add_argument(
        "--max-rounds", type=int, default=MOST_ROUNDS, metavar="N", help="rounds of one test (default: %(default)s)"
    )
    parser.add_argument("--budget-s", type=float, default=36000.0, metavar="S", help="stop after this time (36000)")
    parser.add_argument("--runs-per-start", type=int, default=1, metavar="N", help="runs on a server start")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the order within rounds, of the load")
    parser.add_argument("--thresholds", default="default", metavar="FILE", help="a YAML file, or a name in conf/gate")
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a directory with more options")
    _sources.add_format_argument(parser, "bisect", default="summary")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="directory of all results")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with the bisection in this directory")


def run(args: argparse.Namespace) -> int:
    """Run the bisection and print it. Returns the outcome as exit code."""
    if args.resume is not None:
        args = _resumed(args)
    _check(args)
    builds = _builds(args)
    shared = _check_builds(args, builds)
    output = _output(args)
    with PathLock(output / LOCK_FILE, create=True) as lock:
        if not lock.acquire():
            raise ConfigError(f"another process runs the bisection in {output}")
        bisect = _bisect_run(args, builds, shared, output)
        _announce(args, builds)
        report = _report(args, builds, bisect, output)
        _sources.write_document("bisect", "json", report, output / BISECT_JSON_FILE)  # --resume reads the command in it
        try:
            bisect.run()
        finally:
            _conclude(args, report)
    return int(bisect.outcome())


def _resumed(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments of the bisection in ``--resume``. Raises ConfigError if it holds none."""
    try:
        words = read_json(args.resume / BISECT_JSON_FILE).get("command")
    except ResultError as error:
        raise ConfigError(f"--resume {args.resume} holds no bisection", hint="its directory has bisect.json") from error
    defaults = vars(command_parser("bisect").parse_intermixed_args([]))
    given = [name for name, value in vars(args).items() if value != defaults[name] and name not in ("resume", "format")]
    if given:
        raise ConfigError(f"--resume with {', '.join(given)}: the builds and options of the first run hold")
    if not isinstance(words, list):
        raise ConfigError(f"{args.resume / BISECT_JSON_FILE} has no command")
    if any(HIDDEN in str(word) for word in words):
        raise ConfigError(
            f"{args.resume / BISECT_JSON_FILE} has a secret as {HIDDEN}: this bisection cannot be resumed",
            hint="secrets go into environment variables, not into overrides",
        )
    resumed = command_parser("bisect").parse_intermixed_args([str(word) for word in words])
    resumed.resume, resumed.format = args.resume, args.format
    return resumed


def _check(args: argparse.Namespace) -> None:
    if not args.good or not args.bad or not args.metric:
        raise ConfigError("bisect needs --good, --bad and --metric", hint="benchhydra bisect --help")
    if args.max_rounds < 1 or args.runs_per_start < 1 or args.budget_s <= 0 or not 0 < args.error_percent < 50:
        raise ConfigError(
            "--max-rounds, --runs-per-start and --budget-s must be above 0, and --error-percent between 0 and 50"
        )


def _builds(args: argparse.Namespace) -> list[Build]:
    """The builds in their order, the good one first. Makes none. Raises ConfigError."""
    from benchhydra import builds  # start-up time, not for --help

    if args.build is not None:
        if "{commit}" not in args.build:
            raise ConfigError("--build has no {commit}", hint="--build 'COMMAND {commit}'")
        commits = builds.commits_between(args.good, args.bad, args.repository)
        return [builds.commit_build(args.build, commit, args.repository, _say) for commit in commits]

    def endpoint(typed: str) -> Build:
        return builds.typed_build(typed) if "=" in typed else builds.version_build(args.package, typed, _say)

    versions = [builds.version_build(args.package, version, _say) for version in _items(args.versions)]
    between = versions or [builds.interpreter_build(python) for python in _items(args.pythons)]
    line = [endpoint(args.good), *between, endpoint(args.bad)]
    repeated = next((build.typed for i, build in enumerate(line) if build.typed in [b.typed for b in line[:i]]), None)
    if repeated is not None:
        raise ConfigError(f"{repeated} is twice in the line of builds")
    return line


def _items(text: str | None) -> list[str]:
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def _check_builds(args: argparse.Namespace, builds: list[Build]) -> list[str]:
    """The overrides of all builds, renamed, after a check that they make a point. Raises BenchhydraError."""
    shared, notes = rename(args.words)
    for note in notes:
        _say(note)
    typed = [build for build in builds if "=" in build.typed and "==" not in build.typed]
    for build in typed:
        try:
            _sides.compose_side([*shared, build.typed], args.config_dir, metrics=[args.metric])
        except BenchhydraError as error:
            if build in (builds[0], builds[-1]) or not Path(build.name).is_file():
                raise
            _say(f"{build.name} will be skipped: {error.message}")  # the other builds take the same words
    if not typed:
        _sides.compose_side(list(shared), args.config_dir, metrics=[args.metric])
    return list(shared)


def _output(args: argparse.Namespace) -> Path:
    """The directory of the results, which holds none unless it is resumed. Raises ConfigError."""
    if args.resume is not None:
        return Path(args.resume)
    if args.output and args.output.exists() and any(args.output.iterdir()):
        raise ConfigError(f"{args.output} is not empty", hint=f"--resume {args.output} goes on with it")
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        return Path(args.output)
    return claim_directory(Path("outputs/bisect") / time.strftime("%Y-%m-%d/%H-%M-%S"), hint="-o DIR")


def _bisect_run(args: argparse.Namespace, builds: list[Build], shared: list[str], output: Path) -> BisectRun:
    from benchhydra.analysis import rerun, thresholds  # start-up time: the statistics, not for --help
    from benchhydra.analysis.bisect_run import BisectBudget, BisectRun
    from benchhydra.analysis.read_runs import read_runs

    more = ["--config-dir", str(args.config_dir.absolute())] if args.config_dir else []
    overrides: dict[int, list[str]] = {}

    def prepare(number: int) -> None:
        if number not in overrides:
            made = builds[number].overrides()
            _sides.compose_side([*shared, *made], args.config_dir)  # an engine of this build may refuse the words
            overrides[number] = made

    def visit(test: str, number: int, round_number: int) -> Runs:
        """The runs of one server start; those of an earlier run of this bisection if it has finished them."""
        directory = output / test / f"{number:02d}" / f"{round_number:03d}"
        if (read_json_or_none(directory / SWEEP_FILE) or {}).get("finished"):
            return read_runs(str(directory))
        shutil.rmtree(directory, ignore_errors=True)
        seed = random.Random(f"{args.seed} {test} {round_number}").randrange(2**31)
        words, log = [*more, *shared, *overrides[number], f"seed={seed}"], directory.with_suffix(".log")
        try:
            return rerun.measure_again(words, directory, args.runs_per_start, log)
        except ResultError as error:
            raise ResultError(f"{error.message}: {_last_line(log)}", hint=error.hint) from error

    return BisectRun(
        names=[build.name for build in builds],
        prepare=prepare,
        visit=visit,
        metric=args.metric,
        budget=BisectBudget(max_rounds=args.max_rounds, wall_s=args.budget_s),
        thresholds=thresholds.read_thresholds(args.thresholds),
        error=args.error_percent / 100,
        seed=args.seed,
        say=_say,
    )


def _announce(args: argparse.Namespace, builds: list[Build]) -> None:
    between = ", ".join(build.name for build in builds[1:-1]) or "none"
    _say(f"good: {builds[0].typed}; bad: {builds[-1].typed}; between: {between}")
    _say(f"all: {shlex.join(args.words)}; the chance of a wrong answer is at most {args.error_percent:g} %")


def _report(args: argparse.Namespace, builds: list[Build], bisect: BisectRun, output: Path) -> BisectReport:
    from benchhydra.render.bisect_report import BisectReport  # start-up time: the statistics, not for --help

    return BisectReport(run=bisect, typed=[build.typed for build in builds], command=_command(args), directory=output)


def _conclude(args: argparse.Namespace, report: BisectReport) -> None:
    """Print the answer, also after an interrupt, and write it to the directory of the results."""
    _sources.write_document("bisect", "json", report, report.directory / BISECT_JSON_FILE)
    _sources.write_document("bisect", "markdown", report, report.directory / BISECT_MARKDOWN_FILE)
    _sources.write_document("bisect", args.format, report, None)
    if report.run.stopped:
        _say(f"to go on: benchhydra bisect --resume {shlex.quote(str(report.directory))}")


def _command(args: argparse.Namespace) -> list[str]:
    """The words that make these arguments, without those that differ from run to run."""
    left_out = ("words", "resume", "output", "format")
    options: dict[str, Any] = {name: value for name, value in vars(args).items() if name not in left_out}
    return [
        *(f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None),
        *args.words,
    ]


def _last_line(log: Path) -> str:
    """The last line of a program's output that is not a hint; "" if it has none."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return excerpt(next((line for line in reversed(lines) if line.strip() and "hint:" not in line), ""), LINE_LENGTH)


def _say(text: str) -> None:
    sys.stderr.write(f"{printable_lines(redact(text))}\n")
    sys.stderr.flush()
