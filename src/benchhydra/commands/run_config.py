"""Run the experiments of an nm-vllm config file.

benchhydra run-config benchmark_serving.json -o out    a JSON config, or a .txt list of them
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchhydra import nm_vllm_config
from benchhydra.commands import _experiments
from benchhydra.commands._experiments import SuiteExperiment
from benchhydra.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra run-config``."""
    parser.add_argument("file", type=Path, help="an nm-vllm JSON config, or a .txt list of them")
    _experiments.add_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="directory of the results, one subdirectory an experiment",
    )


def run(args: argparse.Namespace) -> int:
    """Run the experiments. Returns 0 if all of them succeeded, else 1. Raises ConfigError if there is none."""
    experiments = [
        SuiteExperiment(name=f"{number:02d}-{_name(experiment)}", words=tuple(experiment.command()))
        for number, experiment in enumerate(nm_vllm_config.read_nm_vllm_config(args.file), start=1)
    ]
    if not experiments:
        raise ConfigError(f"{args.file} has no config: nothing would be measured")
    return _experiments.run_experiments(experiments, args, args.output)


def _name(experiment: nm_vllm_config.NmVllmExperiment) -> str:
    return _experiments.experiment_slug(experiment.description) or "config"
