"""``BenchConfig``: the root schema of every composed experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from benchhydra import registry
from benchhydra.datasets import Dataset
from benchhydra.engines import Engine
from benchhydra.errors import ConfigError
from benchhydra.loads import LoadShape
from benchhydra.registry import check_choices, knob
from benchhydra.scripts import Script
from benchhydra.target import Gpus, Model, Sparsity
from benchhydra.tracking import Tracking
from benchhydra.validity import ValidityLimits


@dataclass(kw_only=True)
class Sweep:
    """How a sweep is planned, ordered, resumed and stopped."""

    plan: bool = knob(False, "print points, groups and server starts, and start nothing")
    resume: str | None = knob(None, "sweep directory to go on with, or auto for the newest of the same points")
    zip: list[list[str]] = knob([], "axes that go together: [[num_prompts,qps]]")
    order: str = knob("blocked", "order of repeats on a server", choices=("blocked", "interleaved", "shuffled"))
    fail_fast: bool = knob(False, "stop at the first failed point")
    max_failures: int | None = knob(None, "stop after this many failed points", unit="points")
    max_time_s: float | None = knob(None, "stop at a point's end once this long has passed", unit="s")
    ci: str | None = knob(None, "repeat until a confidence interval is this narrow: p99_ttft_ms:2%")
    max_repeats: int = knob(10, "most repeats with sweep.ci", unit="repeats")
    any_engine_version: bool = knob(False, "resume although the results there are of another engine version")
    job: str | None = knob(None, "internal: the points of one group, encoded")


@dataclass(kw_only=True)
class BenchConfig:
    """An experiment: one point of a sweep."""

    description: str = knob("", "free text that reaches every output")
    script: Script = MISSING
    model: Model = MISSING
    dataset: Dataset = MISSING
    load: LoadShape = MISSING
    engine: Engine = MISSING
    gpus: Gpus = MISSING
    sparsity: Sparsity = MISSING
    tracking: Tracking = MISSING
    qps: float = knob(1.0, "mean offered rate of open loops; inf sends everything at once", unit="requests/s")
    num_prompts: int | None = knob(None, "requests; null: load.duration_s * qps", unit="requests")
    seed: int = knob(0, "of prompts and arrivals")
    repeats: int = knob(1, "how often each point is measured")
    repeat: int = knob(0, "which repeat this is; set by the sweep")
    validity: ValidityLimits = field(default_factory=ValidityLimits)
    sweep: Sweep = field(default_factory=Sweep)

    def __post_init__(self) -> None:
        if isinstance(self.num_prompts, int) and self.num_prompts < 1:
            raise ConfigError(f"num_prompts={self.num_prompts} must be at least 1")
        if isinstance(self.repeats, int) and self.repeats < 1:
            raise ConfigError(f"repeats={self.repeats} must be at least 1")
        if isinstance(self.sweep, Sweep):
            check_choices(self.sweep)


@cache
def register() -> None:
    """Discover all options, and put their schemas and the root's into Hydra's ConfigStore; once in a process."""
    registry.discover()
    store = ConfigStore.instance()
    store.store(name="schema", node=BenchConfig)
