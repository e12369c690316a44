"""``search=optimize``: the best configuration among the values of a space, each tried on a server of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchhydra import metrics
from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint
from benchhydra.registry import knob, option
from benchhydra.result import Better
from benchhydra.search import Overrides, Search
from benchhydra.search.proposals import Space
from benchhydra.search.trials import CAPACITY, Objective

#: An interpolation of OmegaConf: the value of the root key.
ROOT_OBJECTIVE = "${objective}"
HINT = "'search.space={engine.args.max_num_seqs: [32,64,128]}'"


@option("search", "optimize")
class Optimize(Search):
    """The best configuration of a space: Optuna proposes, each trial has a server of its own, bad trials end early."""

    objective: str | None = knob(ROOT_OBJECTIVE, "what is optimized: a metric, or capacity; by default the root key")
    second_objective: str | None = knob(None, "another metric, or capacity: the answer is then a Pareto front")
    space: dict[str, Any] = knob({}, "values of each key: {engine.args.max_num_seqs: [32,64]}; mandatory")
    trials: int = knob(30, "most configurations that are tried, the default among them")
    budget_s: float | None = knob(None, "time after which no trial begins", unit="s")
    at_once: int = knob(1, "trials that the launcher runs at the same time")
    repeats: int = knob(3, "most measurements of a trial of a metric; a bad trial has fewer")
    precision_percent: float = knob(1.0, "half-width of the interval at which a trial is not repeated", unit="%")
    inner: dict[str, Any] = knob({}, "settings of the search in each trial of capacity: {max_probes: 12}")
    confirm_pairs: int = knob(20, "most pairs of the A/B test of the winner against the default; 0: no test")
    confirm_s: float = knob(7200.0, "most time of this test", unit="s")
    seed: int = knob(0, "random seed of the proposals")

    spans_servers = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("trials", "at_once", "repeats"):
            if isinstance(getattr(self, name), int) and getattr(self, name) < 1:
                raise ConfigError(f"search.{name}={getattr(self, name)} must be at least 1")
        if isinstance(self.precision_percent, float) and not 0 < self.precision_percent < 100:
            raise ConfigError(f"search.precision_percent={self.precision_percent:g} must be between 0 and 100")
        for name in ("budget_s", "confirm_s"):
            value = getattr(self, name)
            if isinstance(value, float) and not 0 < value < math.inf:
                raise ConfigError(f"search.{name}={value:g} must be above 0 and finite")
        self.parsed_space()
        names = self.objective_names()
        if len(set(names)) < len(names):
            raise ConfigError(f"both objectives are {names[0]}")

    def metrics_read(self) -> dict[str, str | None]:
        keys = {"objective": self.objective, "search.second_objective": self.second_objective}
        return {key: None if name == CAPACITY else name for key, name in keys.items()}

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        """Nothing: its trials need other servers than that of the planned points. The sweep runs them."""
        return ()

    def parsed_space(self) -> Space:
        """The space. Raises ConfigError if it is empty, or a key has no list of different values."""
        if not self.space:
            raise ConfigError("search=optimize needs search.space", hint=HINT)
        for key, values in self.space.items():
            if not isinstance(values, list) or not values:
                raise ConfigError(f"search.space: {key} has no list of values", hint=HINT)
            if any(isinstance(value, dict | list) for value in values):
                raise ConfigError(f"search.space: a value of {key} is neither a number, a text, true, false nor null")
            if len({(type(value), value) for value in values}) < len(values):
                raise ConfigError(f"search.space: {key} has a value twice")
        return Space(values=self.space)

    def objective_names(self) -> list[str]:
        """The names of the objectives. Raises ConfigError if there is none."""
        if self.objective is None:
            raise ConfigError("search=optimize needs an objective", hint="objective=capacity, or a metric")
        return [name for name in (self.objective, self.second_objective) if name is not None]

    def objectives(self) -> list[Objective]:
        """The objectives. Raises ConfigError for a name that is no metric, or one without a direction."""
        return [objective_of(name) for name in self.objective_names()]

    def trial_overrides(self) -> list[str]:
        """The overrides that make a trial's own search: capacity, or repeats of a metric."""
        if CAPACITY in self.objective_names():
            return [f"search={CAPACITY}", *(f"search.{key}={value}" for key, value in self.inner.items())]
        ci = f"{self.objective}:{self.precision_percent:g}%"
        return ["search=repeats", f"search.ci={ci}", f"search.max_repeats={self.repeats}"]


def objective_of(name: str) -> Objective:
    """The objective of a name. Raises ConfigError for a name that is no metric, or one without a direction."""
    if name == CAPACITY:
        return Objective(name=name, unit="requests/s", better=Better.BIGGER)
    declared = metrics.declared(name)
    if declared is None:
        raise ConfigError(f"objective: no such metric: {name}", hint=metrics.not_computed_hint(name))
    if declared.better is Better.OBSERVATION:
        raise ConfigError(f"objective={name}: neither more nor less of it is better", hint="another metric")
    return Objective(name=name, unit=declared.unit, better=declared.better)
