"""``BenchConfig``: the root schema of every composed experiment."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import omegaconf
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from benchhydra import registry, yaml_files
from benchhydra.client.apis import Api
from benchhydra.datasets import Dataset
from benchhydra.engines import Engine
from benchhydra.errors import ConfigError
from benchhydra.loads import LoadShape
from benchhydra.metrics.slo import REQUEST_LIMITS, slo_limits
from benchhydra.probes.settings import ProbeSettings
from benchhydra.registry import check_choices, knob, option_name
from benchhydra.scripts import Script
from benchhydra.search import Search
from benchhydra.slo import SloLimit
from benchhydra.target import Gpus, Model, Sparsity
from benchhydra.tracking import Tracking
from benchhydra.validity import ValidityLimits

#: Beyond these, a percentile would need more than a million requests.
LOWEST_PERCENT, HIGHEST_PERCENT = 0.001, 99.999


@dataclass(kw_only=True)
class Sweep:
    """How a sweep is planned, ordered, resumed and stopped."""

    plan: bool = knob(False, "print points, groups and server starts, and start nothing")
    resume: str | None = knob(None, "sweep directory to resume, or auto for the newest with the same points")
    zip: list[list[str]] = knob([], "axes that vary together: [[num_prompts,qps]]")
    order: str = knob("blocked", "order of repeats on a server", choices=("blocked", "interleaved", "shuffled"))
    fail_fast: bool = knob(False, "stop at the first failed point")
    max_failures: int | None = knob(None, "stop after this many failed points", unit="points")
    max_time_s: float | None = knob(None, "stop at a point's end once this long has passed", unit="s")
    any_engine_version: bool = knob(False, "resume even if the earlier results are from another engine version")
    job: str | None = knob(None, "internal: the points of one group, encoded")


@dataclass(kw_only=True)
class Slo:
    """The service level objective. None: no limit.

    Further keys are names of metrics: ``slo.p99_ttft_ms=500``, ``slo.mean_tpot_ms=50``, ``slo.output_throughput=900``.
    The value is the highest that is allowed, or the lowest for a metric that is better if it is bigger.
    """

    ttft_ms: float | None = knob(None, "maximum time to first token of a good request", unit="ms")
    tpot_ms: float | None = knob(None, "maximum time per output token of a good request", unit="ms")
    e2el_ms: float | None = knob(None, "maximum E2E latency of a good request", unit="ms")
    share: float | None = knob(
        None, "least fraction of the requests that must be within all limits above", unit="fraction"
    )
    failed_fraction: float | None = knob(None, "largest fraction of failed requests", unit="fraction")

    def __post_init__(self) -> None:
        for name, limit in self.request_limits().items():
            if not 0 < limit < math.inf:
                raise ConfigError(f"slo.{name}={limit:g} must be above 0 and finite", hint=f"slo.{name}=200")

    def request_limits(self) -> dict[str, float]:
        """Return the limits of single requests that are set, in ms, by column of a window (``ttft_ms``)."""
        return {name: value for name, value in self.values().items() if name in REQUEST_LIMITS}

    def limits(self) -> tuple[SloLimit, ...]:
        """Return all other limits. Raises ConfigError for a name or value that cannot be a limit."""
        return slo_limits(self.values())

    def values(self) -> dict[str, Any]:
        """Return all keys that are set: the declared ones, and names of metrics."""
        values = {name: value for name, value in vars(self).items() if value is not None and not name.startswith("_")}
        return {name: float(value) if type(value) is int else value for name, value in values.items()}


@dataclass(kw_only=True)
class BenchConfig:
    """An experiment: one point of a sweep."""

    description: str = knob("", "free text, copied into every output")
    script: Script = MISSING
    model: Model = MISSING
    dataset: Dataset = MISSING
    load: LoadShape = MISSING
    api: Api = MISSING
    engine: Engine = MISSING
    gpus: Gpus = MISSING
    sparsity: Sparsity = MISSING
    tracking: Tracking = MISSING
    search: Search = MISSING
    qps: float = knob(
        1.0,
        "mean offered rate of open loops (load=sessions: sessions/s); inf sends everything at once",
        unit="requests/s",
    )
    num_prompts: int | None = knob(
        None, "number of requests (load=sessions: of sessions); null: load.duration_s * qps", unit="requests"
    )
    seed: int = knob(0, "random seed of prompts and arrivals")
    repeats: int = knob(1, "how often each point is measured")
    repeat: int = knob(0, "number of this repeat, from 0; set by the sweep")
    objective: str | None = knob(None, "metric that a run returns to another sweeper (Optuna's): p99_ttft_ms")
    slo: Slo = field(default_factory=Slo)
    percentiles: list[float] = knob(
        [], "percentiles of latencies besides p50, p90, p95 and p99: [25,99.9] adds p25_ttft_ms, p99.9_ttft_ms, ..."
    )
    probes: ProbeSettings = field(default_factory=ProbeSettings)
    validity: ValidityLimits = field(default_factory=ValidityLimits)
    sweep: Sweep = field(default_factory=Sweep)

    def __post_init__(self) -> None:
        if isinstance(self.num_prompts, int) and self.num_prompts < 1:
            raise ConfigError(f"num_prompts={self.num_prompts} must be at least 1")
        if isinstance(self.repeats, int) and self.repeats < 1:
            raise ConfigError(f"repeats={self.repeats} must be at least 1")
        for percent in self.percentiles if isinstance(self.percentiles, list) else ():
            if isinstance(percent, float) and not LOWEST_PERCENT <= percent <= HIGHEST_PERCENT:
                text = f"percentiles: {percent:g} is not between {LOWEST_PERCENT:g} and {HIGHEST_PERCENT:g}"
                raise ConfigError(text, hint="percentiles=[25,99.9]")
        if isinstance(self.sweep, Sweep):
            check_choices(self.sweep)
        if isinstance(self.slo, Slo):
            self.slo.limits()
        self._refuse_unknown_keys()

    def _refuse_unknown_keys(self) -> None:
        """Raise ConfigError for a key that an option does not have: OmegaConf makes ``++engine.x=1`` an attribute."""
        for group, config in vars(self).items():
            if not dataclasses.is_dataclass(config) or isinstance(config, Slo):  # it has keys that are metrics
                continue
            unknown = vars(config).keys() - {field.name for field in dataclasses.fields(config)}
            for name in sorted(name for name in unknown if not name.startswith("_")):
                owners = [option for option, cls in registry.options(group).items() if name in cls.__dataclass_fields__]
                hint = (
                    f"{group}={' or '.join(owners)} has it" if owners else f"benchhydra options {group}=NAME lists keys"
                )
                raise ConfigError(f"no such key: {group}.{name}", hint=hint)


def plain_config(config: BenchConfig) -> dict[str, Any]:
    """Return a config as plain data, as results store it and point keys hash it."""
    plain = dataclasses.asdict(config)
    plain["slo"] |= config.slo.values()  # also the names of metrics
    plain["api"] = {"name": option_name(config.api), **plain["api"]}  # two APIs may differ only in their class
    plain["engine"] = {"name": option_name(config.engine), **plain["engine"]}  # and two engines
    return plain


@cache
def register() -> None:
    """Store the schemas of all options and the root schema in Hydra's ConfigStore, once per process."""
    registry.store_options()
    store = ConfigStore.instance()
    schema = OmegaConf.structured(BenchConfig)
    OmegaConf.set_struct(schema.slo, False)  # any metric may be limited
    store.store(name="schema", node=schema)
    _limit_yaml()


def _limit_yaml() -> None:
    """Let OmegaConf, and with it Hydra, refuse a file whose anchors expand too far."""
    loader = yaml_files.limited(omegaconf._utils.get_yaml_loader())
    omegaconf._utils.get_yaml_loader = lambda: loader
