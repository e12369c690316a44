"""What measuring is made of: a point in, a measurement out. Scripts are recipes over the modules of this package.

``http_load``: a load over HTTP, prepared, warmed up, watched by probes, and cut to its window. ``offline``: an engine
without a server, given batches of prompts. ``warmup``: how many requests warm an engine up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchhydra.client.apis import Api
from benchhydra.datasets import Dataset
from benchhydra.engines import Engine
from benchhydra.facts import fact
from benchhydra.loads import LoadShape
from benchhydra.probes.settings import ProbeSettings
from benchhydra.progress import Progress
from benchhydra.records import Float64, Records
from benchhydra.series import Series
from benchhydra.target import Target

if TYPE_CHECKING:  # it imports psutil: 30 ms, for every command that knows the scripts
    from benchhydra.servers.pool import ServerPool

fact("ignore_eos", unit="bool", doc="the engine was made to generate exactly the asked number of tokens")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a sweep, resolved: what a script may use. slo: limits in ms by column of a window (``ttft_ms``)."""

    engine: Engine
    target: Target
    dataset: Dataset
    load: LoadShape
    api: Api
    slo: Mapping[str, float] = field(default_factory=dict)
    probes: ProbeSettings = field(default_factory=ProbeSettings)
    num_prompts: int | None
    seed: int
    repeat: int
    out_dir: Path
    progress: Progress = field(default_factory=Progress)
    pool: ServerPool | None = None  # for scripts that start servers themselves (``pool.fresh``)

    def rng(self, stream: str) -> np.random.Generator:
        """A random stream of its own for each purpose ("prompts", "arrivals", "warmup").

        Repeats draw other prompts and arrivals; the same repeat of another point or build draws the same ones.
        """
        return np.random.default_rng([self.seed, self.repeat, *stream.encode()])


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a script measured.

    records: a row per request, their phases marked. facts: by declared name (``benchhydra.facts``). has: what metrics
    may need (the table in ``benchhydra.metrics``). samples: values by name, shape (n,), that are no requests. series:
    beside those of the requests, which are derived from the records. metadata: goes into the result as it is (numbers
    and short texts). warnings: sentences for the result.
    """

    records: Records
    facts: Mapping[str, Any] = field(default_factory=dict)
    has: frozenset[str] = frozenset({"requests"})
    samples: Mapping[str, Float64] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    engine_version: str | None = None  # of an engine that the script started itself

    @property
    def capabilities(self) -> frozenset[str]:
        """What metrics may need: ``has``, and the names of samples and series."""
        return self.has | self.samples.keys() | {one.name for one in self.series}
