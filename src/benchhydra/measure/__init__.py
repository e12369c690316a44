"""The steps of a measurement, which scripts combine: from a ``Point`` to a ``Measurement``.

``http_load``: a load over HTTP with warm-up, probes and a measured window. ``offline``: batches of prompts on an engine
without a server. ``warmup``: how many requests warm an engine up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from benchhydra.slo import SloLimit
from benchhydra.target import Target

if TYPE_CHECKING:  # start-up time: it imports psutil (30 ms), and every command that lists scripts imports this module
    from benchhydra.servers.pool import ServerPool

fact("ignore_eos", unit="bool", doc="the engine was made to generate exactly the requested number of tokens")


@dataclass(frozen=True, kw_only=True)
class Point:
    """The parts of a point's config that a script may use.

    slo: limits of single requests in ms, by column of a window (``ttft_ms``). limits: the other limits of the service
    level objective.
    """

    engine: Engine
    target: Target
    dataset: Dataset
    load: LoadShape
    api: Api
    slo: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[SloLimit, ...] = ()
    probes: ProbeSettings = field(default_factory=ProbeSettings)
    num_prompts: int | None
    seed: int
    repeat: int
    out_dir: Path
    progress: Progress = field(default_factory=Progress)
    pool: ServerPool | None = None  # for scripts that start servers themselves (``pool.fresh``)

    def rng(self, stream: str) -> np.random.Generator:
        """Return an independent random generator for a purpose ("prompts", "arrivals", "warmup").

        It depends on seed and repeat only: each repeat has different prompts and arrivals, and the same repeat of
        another point or build has the same ones.
        """
        return np.random.default_rng([self.seed, self.repeat, *stream.encode()])


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The outcome of a script.

    records: one row per request, with phases. facts: by declared name (``benchhydra.facts``). has: capabilities that
    metrics may need (the table in ``benchhydra.metrics``). groups: labels of the rows by which figures are given, each
    with the names of its values 0, 1, ... samples: values by name that do not belong to requests,
    shape (n,). series: in addition to those of the requests, which are derived from the records. metadata: numbers and
    short texts, copied into the result. warnings: sentences for the result.
    """

    records: Records
    facts: Mapping[str, Any] = field(default_factory=dict)
    has: frozenset[str] = frozenset({"requests"})
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    samples: Mapping[str, Float64] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    engine_version: str | None = None  # of an engine that the script started itself

    @property
    def capabilities(self) -> frozenset[str]:
        """All capabilities that metrics may need: ``has``, and the names of samples and series."""
        return self.has | self.samples.keys() | {series.name for series in self.series}
