"""``hydra/sweeper=benchhydra``: Hydra's part of a sweep. It parses axes, composes, and hands groups to the launcher.

What to run, in which order, and what came of it is decided in ``benchhydra.sweep``, imported only when a sweep runs:
Hydra imports this module at every start, without entering it in ``sys.modules``: so annotations are evaluated here, or
dataclasses could not read theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from benchhydra.sweep.plan.axes import Axis


@dataclass
class SweeperConf:
    """Config of the sweeper: Hydra's own keys."""

    _target_: str = "hydra_plugins.benchhydra.sweeper.BenchhydraSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="benchhydra", node=SweeperConf, provider="benchhydra")


class BenchhydraSweeper(BasicSweeper):
    """Points grouped by server, one job a group."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        from benchhydra.sweep.session import Session

        assert self.config is not None and self.hydra_context is not None
        axes = self._axes([*self._parse_config(), *arguments])
        return Session(context=self.hydra_context, task=self.task_function, master=self.config).run(axes)

    def _axes(self, arguments: Sequence[str]) -> "list[Axis]":
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from benchhydra.errors import ConfigError
        from benchhydra.sweep.plan.axes import Axis

        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        axes: dict[str, Axis] = {}
        for override in parser.parse_overrides(list(arguments)):
            key = override.get_key_element()
            values: tuple[str, ...] = (str(override.input_line),)
            if override.is_sweep_override():
                if not override.is_discrete_sweep():
                    raise ConfigError(f"{override.input_line}: an interval has no points", hint="range(1,10,2) or 1,3")
                values = tuple(f"{key}={value}" for value in override.sweep_string_iterator())
            axes[key.lstrip("+")] = Axis(key.lstrip("+"), values)
        return list(axes.values())
