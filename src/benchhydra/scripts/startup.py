"""``script=startup``: how long an engine takes to start, cold and warm, in total and by phase."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchhydra import interruption
from benchhydra.artifacts import SERVER_LOG_FILE
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.engines import Engine, ServerSpec
from benchhydra.engines.starts import StartCaches, StartPhases
from benchhydra.errors import ConfigError, EngineError
from benchhydra.loadgen import client_facts, run_load
from benchhydra.loads.burst import Burst
from benchhydra.measure.failure_hints import failure_hint
from benchhydra.measure.http_load import HttpLoad, HttpLoadOptions
from benchhydra.measure.offline import OfflineLoad, OfflineOptions
from benchhydra.measure.page_cache import drop_from_page_cache
from benchhydra.probes import ProbeTarget
from benchhydra.probes.watch import Watch
from benchhydra.progress import Progress
from benchhydra.records import NEVER, Float64, Phase, Records
from benchhydra.registry import knob, option, option_name
from benchhydra.scripts import Measurement, Point, Script
from benchhydra.servers import Lease
from benchhydra.servers.logs import shortened_log
from benchhydra.target import Target

COLD, WARM = "cold", "warm"


class PlannedStart(NamedTuple):
    """A start of the plan: ``COLD`` or ``WARM``, and whether it is measured."""

    cache: str
    measured: bool = True


@dataclass(frozen=True, kw_only=True)
class Start:
    """The times of one start, on the monotonic clock; first_token_ns: NEVER if unknown."""

    planned: PlannedStart
    started_ns: int
    ready_ns: int
    first_token_ns: int
    answered_ns: int
    phases: StartPhases
    engine_version: str | None

    def samples(self) -> Iterator[tuple[str, float]]:
        """Yield (name, value) of the known times and sizes; the names are those that metrics need."""
        cache = self.planned.cache
        yield f"{cache}_ready_s", (self.ready_ns - self.started_ns) / 1e9
        if self.first_token_ns != NEVER:
            yield f"{cache}_first_token_s", (self.first_token_ns - self.started_ns) / 1e9
        for name, value in dataclasses.asdict(self.phases).items():
            if value is not None:
                yield f"{cache}_{name}" if name.endswith("_s") else name, value


@option("script", "startup")
class Startup(Script):
    """Starts of an engine, cold and warm: time to ready, time to the first token, and the phases in the engine's log.

    A cold start has empty compile caches, and reads the model's files from the disk. A warm start follows a cold one
    and uses the same compile caches. The engine's libraries stay in the page cache for both.
    """

    on: str = knob("server", "what to start: the server or the offline engine", choices=("server", "offline"))
    starts: int = knob(3, "measured starts of each kind", unit="starts")
    caches: str = knob(
        "both",
        "kinds of starts: both, alternating; cold; warm (after a cold start that is not measured)",
        choices=("both", COLD, WARM),
    )
    timeout_s: float = knob(600.0, "timeout of the first request", unit="s")

    key_metrics = (
        "median_cold_ready_s",
        "median_cold_first_token_s",
        "median_warm_ready_s",
        "median_warm_first_token_s",
    )

    def load_label(self, point: Point) -> str:
        return f"starts={self.starts}"

    def check(self, point: Point) -> None:
        if self.starts < 1:
            raise ConfigError(f"script.starts={self.starts} must be at least 1")
        if point.num_prompts is not None:
            text = f"num_prompts={point.num_prompts} has no effect on script=startup"
            raise ConfigError(text, hint="script.starts=3")
        point.dataset.check(1)
        if self._engine_spec(point).kind == "attached":
            raise ConfigError("script=startup needs an engine that it can start", hint="engine=vllm")

    def spec(self, engine: Engine, target: Target) -> None:
        """Return None, because the script starts its engines itself, one after another."""

    def measure(self, point: Point, lease: Lease | None) -> Measurement:
        load_tokenizer(point.target)  # load it before the starts, so that it does not delay a first request
        (point.out_dir / SERVER_LOG_FILE).unlink(missing_ok=True)
        caches, ours = point.engine.start_caches(point.target), os.getpid()
        starts: list[Start] = []
        not_dropped: set[Path] = set()
        with Watch.start(ProbeTarget(client_pid=ours, server_pid=ours), point.probes) as watch:
            watch.begin()
            for planned_starts in self._rounds():
                with tempfile.TemporaryDirectory(prefix="benchhydra-", ignore_cleanup_errors=True) as directory:
                    spec = _with_caches_in(self._engine_spec(point), caches, Path(directory))
                    for planned in planned_starts:
                        if planned == (COLD, True) and caches is not None:
                            not_dropped.update(drop_from_page_cache(caches.files or ()))
                        starts.append(self._start(point, spec, planned))
            observation = watch.end(client_processes=1)
        return Measurement(
            records=_records(starts),
            facts=observation.facts,
            has=frozenset({"starts"}),
            samples=_samples(starts),
            series=observation.series,
            metadata={"starts": " ".join(start.planned.cache for start in starts if start.planned.measured)},
            warnings=(*observation.warnings, *self._warnings(point.engine, caches, not_dropped)),
            engine_version=starts[0].engine_version,
        )

    def _rounds(self) -> list[list[PlannedStart]]:
        """Return groups of starts that share cache directories: a cold start, which fills them, then warm ones."""
        if self.caches == WARM:
            return [[PlannedStart(COLD, measured=False), *[PlannedStart(WARM)] * self.starts]]
        kinds = [PlannedStart(COLD)] if self.caches == COLD else [PlannedStart(COLD), PlannedStart(WARM)]
        return [kinds] * self.starts

    def _engine_spec(self, point: Point) -> ServerSpec:
        if self.on == "server":
            return point.engine.server(point.target)
        return point.engine.offline(point.target, first_token_times=True)

    def _start(self, point: Point, spec: ServerSpec, planned: PlannedStart) -> Start:
        """Start the engine, send the first request, stop the engine. Raises EngineError."""
        if point.pool is None:
            raise EngineError("script=startup needs Point.pool to start engines")
        engine = point.engine
        point.progress.status(f"{planned.cache} start")
        with point.pool.fresh(
            spec,
            point.progress,
            ready_timeout_s=engine.ready_timeout_s,
            stop_timeout_s=engine.stop_timeout_s,
            headers=engine.request_headers(),
            start_phase=engine.start_phase,
        ) as lease:
            try:
                return self._measure_first_request(point, lease, planned)
            finally:
                _append_log(lease, point.out_dir / SERVER_LOG_FILE, planned)

    def _measure_first_request(self, point: Point, lease: Lease, planned: PlannedStart) -> Start:
        """Send the first request to an engine that is ready, and return the times of its start."""
        assert lease.started_ns is not None and lease.start_s is not None and lease.log is not None
        ttft_ns, latency_ns = self._first_request(point, lease)
        ready_ns = lease.started_ns + int(lease.start_s * 1e9)
        started_s = time.time() - (time.monotonic_ns() - lease.started_ns) / 1e9
        log = shortened_log(lease.log).decode(errors="replace")
        return Start(
            planned=planned,
            started_ns=lease.started_ns,
            ready_ns=ready_ns,
            first_token_ns=NEVER if ttft_ns == NEVER else ready_ns + ttft_ns,
            answered_ns=ready_ns + latency_ns,
            phases=point.engine.start_phases(log, started_s, started_s + lease.start_s),
            engine_version=point.engine.version(lease.base_url),
        )

    def _first_request(self, point: Point, lease: Lease) -> tuple[int, int]:
        """Return TTFT (NEVER if unknown) and latency of the first request, in ns. Raises EngineError."""
        if self.on == "offline":
            load = OfflineLoad(OfflineOptions(timeout_s=self.timeout_s), point, lease)
            batch = load.generate(load.prompts(1))
            ttft_ns = batch.first_ns[0] - batch.start_ns if batch.first_ns else NEVER
            return ttft_ns, batch.end_ns - batch.start_ns
        options = HttpLoadOptions(request_timeout_s=self.timeout_s)
        one_request = replace(point, load=Burst(qps=math.inf, processes="1"), num_prompts=1, progress=Progress())
        result = run_load(HttpLoad(options, one_request, lease).prepare().plan, Progress())
        if result.facts[client_facts.INTERRUPTED]:
            raise interruption.interrupt_exception()
        rows = result.records
        if not rows.completed.all():
            hint = failure_hint(rows.errors[0], point.out_dir / SERVER_LOG_FILE)
            raise EngineError(f"the first request after a start failed: {rows.errors[0]}", hint=hint)
        ttft_ns = NEVER if rows.first_ns[0] == NEVER else int(rows.first_ns[0] - rows.sent_ns[0])
        return ttft_ns, int(rows.done_ns[0] - rows.sent_ns[0])

    def _warnings(self, engine: Engine, caches: StartCaches | None, not_dropped: set[Path]) -> Iterator[str]:
        """Yield warnings about few starts, and about cold starts that may have been warm."""
        if self.starts == 1:
            yield "only one start of each kind: the variation between starts is unknown"
        if self.caches == WARM:
            return
        if caches is None:
            yield f"engine={option_name(engine)} does not declare its caches: its cold starts may be warm"
        elif caches.files is None:
            yield "the model's files were not found on this machine: the page cache may hold them at a cold start"
        elif not_dropped:
            text = f"{len(not_dropped)} of {len(caches.files)} files of the model were not dropped from the page cache"
            yield f"{text}: cold starts may have read them from memory"


def _with_caches_in(spec: ServerSpec, caches: StartCaches | None, directory: Path) -> ServerSpec:
    """Return the spec with the engine's compile caches moved into ``directory``."""
    moved = {name: str(directory / name.lower()) for name in (caches.variables if caches else ())}
    return replace(spec, env=tuple(sorted((dict(spec.env) | moved).items())))


def _append_log(lease: Lease, path: Path, planned: PlannedStart) -> None:
    """Append the log of one start to the log file of the point."""
    if lease.log is None:
        return
    with path.open("ab") as file:
        file.write(f"=== {planned.cache} start{'' if planned.measured else ', not measured'}\n".encode())
        file.write(shortened_log(lease.log))


def _records(starts: Sequence[Start]) -> Records:
    """Return one row per start: sent at the process's start, done when the first request was answered."""
    answered_ns = [start.answered_ns for start in starts]
    rows = Records.of_spans([start.started_ns for start in starts], answered_ns)
    phases = [Phase.MEASURED if start.planned.measured else Phase.WARMUP for start in starts]
    return replace(
        rows,
        first_ns=np.array([start.first_token_ns for start in starts], np.int64),
        last_ns=rows.done_ns,
        phase=np.array(phases, np.int32),
    )


def _samples(starts: Sequence[Start]) -> dict[str, Float64]:
    """Return the values of the measured starts by name."""
    values: dict[str, list[float]] = {}
    for start in starts:
        if start.planned.measured:
            for name, value in start.samples():
                values.setdefault(name, []).append(value)
    return {name: np.array(numbers) for name, numbers in values.items()}
