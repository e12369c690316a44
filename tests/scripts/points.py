"""Points composed and run in this process, on the fake engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from benchhydra import config, registry
from benchhydra.config import BenchConfig, plain_config
from benchhydra.result import Result
from benchhydra.run import run_point
from benchhydra.servers.pool import ServerPool

registry.discover()
config.register()


def composed(*overrides: str) -> BenchConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(registry.CONF_DIR), version_base="1.3"):
        made: Any = OmegaConf.to_object(
            compose("config", overrides=["model=llama2", "engine=fake", "tracking=none", *overrides])
        )
    assert isinstance(made, BenchConfig)
    return made


def run(directory: Path, *overrides: str) -> Result:
    """Run one point; its pool of servers is closed at the end."""
    made = composed(*overrides)
    pool = ServerPool(directory.with_name(f"{directory.name}-servers"))
    try:
        return run_point(made, resolved=plain_config(made), out_dir=directory, pool=pool)
    finally:
        pool.close()
