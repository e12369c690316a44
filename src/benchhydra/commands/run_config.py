"""run what an nm-vllm config file asks for

benchhydra run-config benchmark_serving.json -o out    a JSON config, or a .txt list of them
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchhydra import nm_vllm_config
from benchhydra.commands import _experiments
from benchhydra.commands._experiments import SuiteExperiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra run-config``."""
    parser.add_argument("file", type=Path, help="an nm-vllm JSON config, or a .txt list of them")
    _experiments.add_arguments(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="gets a directory for each experiment"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0 where every experiment ended well, else 1."""
    experiments = [
        SuiteExperiment(
            name=f"{i:02d}-{_experiments.experiment_slug(asked.description) or 'config'}", words=tuple(asked.command())
        )
        for i, asked in enumerate(nm_vllm_config.read_nm_vllm_config(args.file), start=1)
    ]
    return _experiments.run_experiments(experiments, args, args.output)
