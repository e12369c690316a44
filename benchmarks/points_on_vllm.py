"""Points on real vLLM servers, measured in this process: points in turn that need the same server share it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from benchhydra import config, models, registry
from benchhydra.config import plain_config
from benchhydra.progress import Progress
from benchhydra.result import Result
from benchhydra.run import run_point
from benchhydra.servers.pool import ServerPool
from benchhydra.validity import rules

#: Overrides of all points.
COMMON = ("engine=vllm", "tracking=none", "script.fail_on=never", "script.warmup_requests=2")
#: Rules of these modules judge the answers; the others judge the load generator and the machine, which may be busy.
ANSWER_RULES = ("benchhydra.validity.answers", "benchhydra.validity.outputs")


class Points:
    """Measures points, each in a folder of its name below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._pool = ServerPool(directory / "servers")

    def measure(self, name: str, *overrides: str) -> Result:
        """Measure a point. Raises BenchhydraError."""
        made = composed(*COMMON, *overrides)
        return run_point(made, resolved=plain_config(made), out_dir=self.directory / name, pool=self._pool)

    def close(self) -> None:
        """Stop the server."""
        self._pool.close()


@contextmanager
def points(directory: Path) -> Iterator[Points]:
    """Points whose last server is stopped at the end; the models that they may need are built first."""
    registry.discover()
    config.register()
    for name in ("tiny", "smollm2"):
        models.ensure_built(name, sys.executable, Progress())
    made = Points(directory)
    try:
        yield made
    finally:
        made.close()


def composed(*overrides: str) -> Any:
    """Return the configuration of these overrides."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(registry.CONF_DIR), version_base="1.3"):
        return OmegaConf.to_object(compose("config", overrides=list(overrides)))


def answer_doubts(result: Result) -> dict[str, str]:
    """Return the rules that doubt the answers themselves, with their reasons."""
    judges = {name for name, rule in rules().items() if rule.__module__ in ANSWER_RULES}
    return {reason.check: reason.text for reason in result.reasons if reason.check in judges}
