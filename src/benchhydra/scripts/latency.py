"""``script=latency``: repeated batches of a fixed size, on the offline engine or on a server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchhydra.datasets import Prompt
from benchhydra.engines import Engine, ServerSpec
from benchhydra.errors import ConfigError
from benchhydra.loadgen.pacing.batches import Batches
from benchhydra.loads.burst import Burst
from benchhydra.measure.http_load import HttpLoad, HttpLoadOptions
from benchhydra.measure.media import refuse_parts
from benchhydra.measure.offline import (
    Batch,
    OfflineLoad,
    OfflineOptions,
    engine_facts,
    engine_series,
    refuse_request_fields,
)
from benchhydra.records import Phase, Records
from benchhydra.registry import knob, option
from benchhydra.scripts import Measurement, Point, Script
from benchhydra.servers import Lease
from benchhydra.target import Target

#: With fewer batches, high and low percentiles are close to the extremes, so the result has a warning.
FEW_BATCHES = 30


@option("script", "latency")
class Latency(Script):
    """Repeated batches of a fixed size: latency, and prefill and decode time if the engine reports first tokens.

    Each batch has different prompts, so that the prefix cache does not make later batches faster.
    """

    on: str = knob(
        "offline",
        "offline: the engine without a server; server: send all requests of a batch at once",
        choices=("offline", "server"),
    )
    batch_size: int = knob(8, "requests in a batch; the dataset sets their lengths", unit="requests")
    iterations: int = knob(30, "measured batches", unit="batches")
    warmup_iterations: int = knob(10, "warm-up batches before the measured ones", unit="batches")
    ignore_eos: bool = knob(True, "make the engine generate exactly the requested number of tokens")
    temperature: float = knob(0.0, "sampling temperature")
    timeout_s: float = knob(600.0, "a batch that takes longer has failed", unit="s")

    key_metrics = (
        "median_batch_latency_ms",
        "p99_batch_latency_ms",
        "median_batch_prefill_ms",
        "median_batch_decode_ms",
        "output_throughput",
    )
    charts = (
        ("output_throughput", "median_batch_latency_ms"),
        ("batch_decode_throughput", "median_batch_decode_ms"),
        ("batch_prefill_throughput", "median_batch_prefill_ms"),
    )

    def load_label(self, point: Point) -> str:
        return f"batch={self.batch_size}"

    def check(self, point: Point) -> None:
        for name, minimum in (("batch_size", 1), ("iterations", 1), ("warmup_iterations", 0)):
            if getattr(self, name) < minimum:
                raise ConfigError(f"script.{name}={getattr(self, name)} must be at least {minimum}")
        if point.num_prompts is not None:
            hint = "script.batch_size=8 script.iterations=30"
            raise ConfigError(f"num_prompts={point.num_prompts} has no effect on script=latency", hint=hint)
        point.dataset.check(self._requests)
        refuse_parts(point.dataset, point.api)
        if self.on != "server":
            refuse_request_fields(point.dataset)

    def spec(self, engine: Engine, target: Target) -> ServerSpec:
        if self.on == "server":
            return engine.server(target)
        return engine.offline(target, first_token_times=True)

    def measure(self, point: Point, lease: Lease | None) -> Measurement:
        measured = self._on_server(point, lease) if self.on == "server" else self._offline(point, lease)
        warning = f"only {self.iterations} batches: percentiles are unreliable, use at least {FEW_BATCHES}"
        return replace(
            measured,
            records=self._with_phases(measured.records),
            facts={**measured.facts, "stationary": True},
            has=measured.has - {"schedule"} | {"batches"},
            metadata={**measured.metadata, "batch_size": self.batch_size, "request_rate": "inf"},
            warnings=(*measured.warnings, *([warning] if self.iterations < FEW_BATCHES else [])),
        )

    @property
    def _requests(self) -> int:
        return self.batch_size * (self.warmup_iterations + self.iterations)

    def _on_server(self, point: Point, lease: Lease | None) -> Measurement:
        options = HttpLoadOptions(
            ignore_eos=self.ignore_eos, temperature=self.temperature, request_timeout_s=self.timeout_s
        )
        at_once = Burst(qps=math.inf, processes="1")
        load = HttpLoad(options, replace(point, load=at_once, num_prompts=self._requests), lease)
        prepared = load.prepare()
        paced = replace(prepared.plan, pacing=Batches(self._requests, self.batch_size))
        return load.send(replace(prepared, plan=paced))

    def _offline(self, point: Point, lease: Lease | None) -> Measurement:
        options = OfflineOptions(ignore_eos=self.ignore_eos, temperature=self.temperature, timeout_s=self.timeout_s)
        load = OfflineLoad(options, point, lease)
        with load.watch() as watch:
            prompts = load.prompts(self._requests)
            batches = [prompts[first : first + self.batch_size] for first in range(0, len(prompts), self.batch_size)]
            generated = []
            for number, batch in enumerate(batches):
                if number == self.warmup_iterations:
                    watch.begin()
                point.progress.status(f"batch {number + 1} of {len(batches)}")
                generated.append(load.generate(batch))
            observation = watch.end(client_processes=0)
        measured = generated[self.warmup_iterations :]
        return Measurement(
            records=Records.concat([_rows(load, *pair) for pair in zip(batches, generated, strict=True)]),
            facts={"ignore_eos": self.ignore_eos, **observation.facts, **engine_facts(measured)},
            has=frozenset({"requests", "tokens", "generated"}),
            series=(*observation.series, *engine_series(measured)),
            warnings=observation.warnings,
        )

    def _with_phases(self, rows: Records) -> Records:
        """Return the rows with the first ``warmup_iterations`` batches marked as warm-up."""
        warmups = np.arange(len(rows)) < self.batch_size * self.warmup_iterations
        return replace(rows, phase=np.where(warmups, Phase.WARMUP, Phase.MEASURED).astype(np.int32))


def _rows(load: OfflineLoad, prompts: Sequence[Prompt], batch: Batch) -> Records:
    """Return one row per prompt of a batch, with times of first tokens if the engine reports them."""
    rows = load.records(prompts, batch)
    if not batch.first_ns:
        return rows
    return replace(rows, first_ns=np.array(batch.first_ns, dtype=np.int64), last_ns=rows.done_ns)
