"""Batches of prompts on an offline engine: no server, no client, no times of single requests.

``OfflineLoad(options, point, lease).measure(count)`` warms the engine up, empties its caches, and times one batch. A
script with other steps (several batches of one size) calls them itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchhydra.datasets import Dataset, Prompt
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.datasets.warmup_prompts import warmup_prompts
from benchhydra.errors import ConfigError, EngineError
from benchhydra.measure import Measurement, Point
from benchhydra.measure.media import refuse_parts
from benchhydra.measure.texts import write_texts
from benchhydra.measure.warmup import check_warmup
from benchhydra.probes import Sample
from benchhydra.probes.server import ServerProbe, facts_between, totals_between
from benchhydra.probes.server_metrics import Reading, parse_published
from benchhydra.probes.watch import Watch, target_of
from benchhydra.records import NEVER, Records, Status
from benchhydra.registry import knob
from benchhydra.series import Series
from benchhydra.servers import Lease


@dataclass(kw_only=True)
class OfflineOptions:
    """Options of scripts that use an offline engine. Such a script inherits from this and from ``Script``."""

    ignore_eos: bool = knob(True, "make the engine generate exactly the requested number of tokens")
    temperature: float = knob(0.0, "sampling temperature")
    warmup_requests: int = knob(8, "warm-up prompts before the measured batch", unit="requests")
    timeout_s: float = knob(3600.0, "a batch that takes longer has failed", unit="s")
    keep_text: bool = knob(False, "write prompts and generated texts to texts.jsonl")

    def check(self, point: Point) -> None:
        """Raise ConfigError if the point cannot be run."""
        check_warmup(self.warmup_requests)
        point.dataset.check(1 if point.num_prompts is None else point.num_prompts)
        refuse_parts(point.dataset)
        refuse_request_fields(point.dataset)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The result of one batch. Times are of the monotonic clock; the sequences have one entry per prompt."""

    start_ns: int
    end_ns: int
    prompt_tokens: Sequence[int]
    output_tokens: Sequence[int]
    texts: Sequence[str]
    first_ns: Sequence[int] = ()  # time of each prompt's first token; empty if the engine does not report it
    metrics: tuple[Reading, Reading] = (Reading(), Reading())  # the engine's own, before and after; empty without any


def refuse_request_fields(dataset: Dataset) -> None:
    """Raise ConfigError for what only requests to a server have: adapters, priorities, the output check."""
    for key in ("adapters", "priorities", "expect"):
        if getattr(dataset, key):
            raise ConfigError(f"dataset.{key} has no effect on an engine without a server", hint="script=serving")


class OfflineLoad:
    """Batches for one point's offline engine. The constructor raises EngineError if there is no engine."""

    def __init__(self, options: OfflineOptions, point: Point, lease: Lease | None) -> None:
        if lease is None:
            raise EngineError("an offline load needs an engine", hint="Script.spec returns engine.offline(target)")
        self._options = options
        self._point = point
        self._lease = lease
        self._tokenizer = load_tokenizer(point.target)
        self._cache_reset = lease.cache_reset

    def measure(self, count: int) -> Measurement:
        """Warm the engine up, time one batch of ``count`` prompts, and return the measurement. Raises EngineError."""
        with self.watch() as probes:
            prompts = self.prompts(count)
            self.warm_up(prompts)
            self._point.progress.status(f"generating for {count} prompts")
            probes.begin()
            batch = self.generate(prompts)
            observed = probes.end(client_processes=0)
        if self._options.keep_text:
            write_texts(self._point.out_dir, prompts, batch.texts)
        records = self.records(prompts, batch)
        return Measurement(
            records=records,
            facts={
                "ignore_eos": self._options.ignore_eos,
                "cache_reset": self._cache_reset,
                **observed.facts,
                **engine_facts([batch]),
            },
            has=frozenset({"requests", "tokens", "generated"}),
            series=(*observed.series, *engine_series([batch])),
            metadata={"num_prompts": count, "completed": int(records.completed.sum()), "request_rate": "inf"},
            warnings=(*observed.warnings, *self._point.dataset.warnings()),
        )

    def watch(self) -> Watch:
        """Start the probes for this engine, without waiting for them."""
        return Watch.start(target_of(self._lease, client_sends=False), self._point.probes)

    def prompts(self, count: int) -> list[Prompt]:
        """Return ``count`` prompts of the dataset. Deterministic."""
        point = self._point
        return list(point.dataset.sample(count, self._tokenizer, point.rng("prompts"), point.target.max_model_len))

    def warm_up(self, prompts: Sequence[Prompt]) -> None:
        """Generate for other prompts of the same lengths, then empty the caches."""
        count = self._options.warmup_requests
        if not count:
            return
        self._point.progress.status(f"warming up with {count} prompts")
        lengths = [p.prompt_tokens for p in prompts], [p.output_tokens for p in prompts]
        self.generate(warmup_prompts(count, *lengths, self._tokenizer, self._point.rng("warmup")))
        self._cache_reset = self._lease.reset()

    def generate(self, prompts: Sequence[Prompt]) -> Batch:
        """Generate for all prompts as one batch, and wait. Raises EngineError if the engine fails."""
        options = self._options
        request = {
            "op": "generate",
            "prompts": [prompt.text for prompt in prompts],
            "output_tokens": [prompt.output_tokens for prompt in prompts],
            "ignore_eos": options.ignore_eos,
            "temperature": options.temperature,
            "keep_text": options.keep_text,
        }
        answer = self._lease.call(request, timeout_s=options.timeout_s)
        before, after = map(parse_published, answer.get("metrics", ({}, {})))
        return Batch(
            start_ns=answer["start_ns"],
            end_ns=answer["end_ns"],
            prompt_tokens=answer["prompt_tokens"],
            output_tokens=answer["output_tokens"],
            texts=answer.get("texts", ()),
            first_ns=answer.get("first_ns", ()),
            metrics=(before, after),
        )

    def records(self, prompts: Sequence[Prompt], batch: Batch) -> Records:
        """Return one row per prompt, sent at the batch's start and done at its end; tokens are those generated."""
        rows = Records.of_spans(
            [batch.start_ns] * len(prompts),
            [batch.end_ns] * len(prompts),
            prompt_tokens=batch.prompt_tokens,
            output_tokens=batch.output_tokens,
        )
        requested_tokens = np.array([prompt.output_tokens for prompt in prompts], dtype=np.int32)
        empty = (rows.output_tokens == 0) & (requested_tokens > 0)
        short = (rows.output_tokens < requested_tokens) & self._options.ignore_eos
        return dataclasses.replace(
            rows,
            asked_prompt_tokens=np.array([prompt.prompt_tokens for prompt in prompts], dtype=np.int32),
            asked_output_tokens=requested_tokens,
            status=np.where(empty, Status.EMPTY, np.where(short, Status.SHORT, Status.OK)).astype(np.int32),
            error=np.where(empty, 0, NEVER).astype(np.int32),
            errors=("the engine generated no token",) if empty.any() else (),
        )


def engine_facts(batches: Sequence[Batch]) -> dict[str, Any]:
    """Return the facts from the engine's own counters, over successive batches; {} if it has none."""
    first, last = batches[0].metrics[0], batches[-1].metrics[1]
    return facts_between(first, last) if first and last else {}


def engine_series(batches: Sequence[Batch]) -> tuple[Series, ...]:
    """Return the engine's own counters and times since the first batch, at the start and the end of each batch."""
    first = batches[0].metrics[0]
    columns: dict[tuple[str, str], tuple[Sample, list[int], list[float]]] = {}
    for batch in batches if first else ():
        for time_ns, reading in zip((batch.start_ns, batch.end_ns), batch.metrics, strict=True):
            for sample in totals_between(first, reading):
                key = (sample.name, str(sample.labels))
                _, times_ns, values = columns.setdefault(key, (sample, [], []))
                times_ns.append(time_ns)
                values.append(sample.value)
    return tuple(
        Series(
            name=f"{ServerProbe.name}.{sample.name}",
            unit=sample.unit,
            labels=sample.labels,
            times_ns=np.array(times_ns, dtype=np.int64),
            values=np.array(values, dtype=np.float64),
        )
        for sample, times_ns, values in columns.values()
    )
