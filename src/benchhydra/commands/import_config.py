"""Convert an nm-vllm config file to presets or command lines."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from benchhydra import nm_vllm_config
from benchhydra.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra import-config``."""
    parser.add_argument("file", type=Path, help="an nm-vllm JSON config, or a .txt list of them")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--preset", metavar="NAME", help="write NAME.yaml (NAME_1.yaml, ... if the file has several experiments)"
    )
    form.add_argument("--command", action="store_true", help="print command lines (the default)")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="directory of the presets (default: conf/experiment)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the commands, or write the presets and print their paths. Raises ConfigError."""
    experiments = nm_vllm_config.read_nm_vllm_config(args.file)
    if args.preset is None:
        lines = (shlex.join(["benchhydra", *experiment.command()]) for experiment in experiments)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return 0
    for i, experiment in enumerate(experiments):
        name = args.preset if len(experiments) == 1 else f"{args.preset}_{i + 1}"
        sys.stdout.write(f"{_write((args.output or Path('conf/experiment')) / f'{name}.yaml', experiment)}\n")
    return 0


def _write(path: Path, experiment: nm_vllm_config.NmVllmExperiment) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(experiment.preset())
    except FileExistsError as error:
        raise ConfigError(f"{path} already exists", hint="--preset OTHER_NAME") from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="-o DIR selects another directory") from error
    return path
