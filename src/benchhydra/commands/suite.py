"""Run the experiments of a suite one after another, with one summary and one exit code.

benchhydra suite nightly engine.python=/opt/vllm/bin/python    overrides apply to every experiment
benchhydra suite --list                                        lists all suites
"""

from __future__ import annotations

import argparse
import sys
import time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from benchhydra.commands import _experiments
from benchhydra.commands._experiments import SuiteExperiment
from benchhydra.errors import ConfigError
from benchhydra.output_directory import claim_directory
from benchhydra.registry import CONF_DIR
from benchhydra.yaml_files import load_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra suite``."""
    parser.add_argument("suite", nargs="?", help="a suite's name, or a YAML file")
    _experiments.add_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="directory of the results, one subdirectory an experiment (default: outputs/suites/...)",
    )
    parser.add_argument("--list", action="store_true", help="list all suites")


def run(args: argparse.Namespace) -> int:
    """Run the suite. Returns 0 if every experiment succeeded, else 1."""
    directories = [directory for directory in (args.config_dir, CONF_DIR) if directory]
    if args.list:
        sys.stdout.write("".join(f"{line}\n" for line in _listing(directories)))
        return 0
    if args.suite is None:
        raise ConfigError("the name of a suite is missing", hint="benchhydra suite --list")
    path = _find(args.suite, directories)
    experiments = read_suite(path, directories)
    output = args.output
    if output is None:
        output = Path("outputs/suites") / time.strftime("%Y-%m-%d") / f"{time.strftime('%H-%M-%S')}-{path.stem}"
        output = output if args.plan else claim_directory(output, hint="-o DIR selects another directory")
    return _experiments.run_experiments(experiments, args, output)


def read_suite(path: Path, directories: list[Path]) -> list[SuiteExperiment]:
    """The experiments in a suite's file. Raises ConfigError if one of them is not in ``directories``."""
    body = load_yaml(path)
    entries = body.get("experiments") if isinstance(body, dict) else None
    if not isinstance(entries, list) or not entries or body.keys() != {"experiments"}:
        raise ConfigError(f"{path} is not a suite", hint="it must have one key, experiments: a list of names")
    return [_experiment(entry, path, directories) for entry in entries]


def _experiment(entry: Any, path: Path, directories: list[Path]) -> SuiteExperiment:
    match entry:
        case str(name):
            overrides: list[Any] = []
        case dict() if len(entry) == 1 and isinstance(next(iter(entry.values())), list):
            [(name, overrides)] = entry.items()
        case _:
            raise ConfigError(f"{path}: {entry!r} is not an experiment", hint="write NAME, or NAME: [KEY=VALUE, ...]")
    if not all(isinstance(override, str) and "=" in override for override in overrides):
        raise ConfigError(f"{path}: {name}: overrides must be texts", hint=f"{name}: [KEY=VALUE, ...]")
    names = _names(directories, "experiment")
    if name not in names:
        suggestions = get_close_matches(str(name), names, n=3) or names
        raise ConfigError(f"{path}: no such experiment: {name}", hint=f"one of: {', '.join(suggestions)}")
    return SuiteExperiment(name=_experiments.experiment_slug(name), words=("-m", f"+experiment={name}", *overrides))


def _find(suite: str, directories: list[Path]) -> Path:
    for path in (Path(suite), *(directory / "suite" / f"{suite}.yaml" for directory in directories)):
        if path.suffix in (".yaml", ".yml") and path.is_file():
            return path
    names = _names(directories, "suite")
    raise ConfigError(f"no such suite: {suite}", hint=f"one of: {', '.join(names)}; or a YAML file")


def _names(directories: list[Path], group: str) -> list[str]:
    return sorted({path.stem for directory in directories for path in (directory / group).glob("*.yaml")})


def _listing(directories: list[Path]) -> list[str]:
    lines = []
    for name in _names(directories, "suite"):
        path = _find(name, directories)
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        lines.append(f"{name:<14} {len(read_suite(path, directories)):>2} experiments: {first.lstrip('# ')}")
    return lines
