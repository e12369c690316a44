"""``hydra/sweeper=benchhydra``: the class with which Hydra runs a sweep.

The sweep itself is in ``benchhydra.sweep``. Hydra imports this module at every start, so what only a sweep needs is
imported when one runs. This module has no ``from __future__ import annotations``: Hydra does not enter it in
``sys.modules``, where dataclasses resolve annotations that are text.
"""

from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SweeperConf:
    """Config of the sweeper: Hydra's own keys."""

    _target_: str = "hydra_plugins.benchhydra.sweeper.BenchhydraSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="benchhydra", node=SweeperConf, provider="benchhydra")


class BenchhydraSweeper(BasicSweeper):
    """Groups the points by server, and runs each group as one job."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        from benchhydra.garbage_collection import begin_collection  # start-up time: a single point needs no sweep
        from benchhydra.sweep.plan.axes import parse_axes
        from benchhydra.sweep.session import Session

        begin_collection()
        assert self.config is not None and self.hydra_context is not None
        axes = parse_axes([*self._parse_config(), *arguments], self.hydra_context.config_loader)
        return Session(context=self.hydra_context, task=self.task_function, master=self.config).run(axes)
