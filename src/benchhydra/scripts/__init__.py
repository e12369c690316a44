"""Scripts: the benchmarks. A new one is one file: a dataclass with ``spec`` and ``measure``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.datasets import Dataset
from benchhydra.engines import Engine, ServerSpec
from benchhydra.loads import LoadShape
from benchhydra.metrics import MetricContext
from benchhydra.progress import Progress
from benchhydra.records import Records
from benchhydra.registry import check_choices, knob
from benchhydra.servers import Lease
from benchhydra.target import Target
from benchhydra.validity import Facts


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a sweep, resolved: what a script may use."""

    engine: Engine
    target: Target
    dataset: Dataset
    load: LoadShape
    num_prompts: int | None
    seed: int
    repeat: int
    out_dir: Path
    progress: Progress = field(default_factory=Progress)

    def rng(self, stream: str) -> np.random.Generator:
        """A random stream of its own for each purpose ("prompts", "arrivals", "warmup").

        Repeats draw other prompts and arrivals; the same repeat of another point or build draws the same ones.
        """
        return np.random.default_rng([self.seed, self.repeat, *stream.encode()])


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a script measured. ``metadata`` goes into the result as it is (numbers and short texts)."""

    records: Records
    facts: Facts
    context: MetricContext = field(default_factory=MetricContext)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Script:
    """Base of the ``script`` group."""

    fail_on: str = knob("invalid", "exit non-zero at this verdict", choices=("invalid", "suspect", "never"))
    keep_text: bool = knob(False, "write prompts and generated texts to texts.jsonl")

    def __post_init__(self) -> None:
        check_choices(self)

    def check(self, point: Point) -> None:
        """Raise ConfigError where the point cannot be run, before anything is started."""

    def spec(self, engine: Engine, target: Target) -> ServerSpec | None:
        """The server or offline engine that the point needs, or None. Points with equal specs share one."""
        raise NotImplementedError

    def measure(self, point: Point, lease: Lease | None) -> Measurement:
        """Run the benchmark once. Failed requests are rows; raise only where nothing could be measured."""
        raise NotImplementedError
