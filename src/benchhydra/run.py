"""``run_point`` measures one point: it gets a server, runs the script, and writes, judges and logs the result."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchhydra import environment, interruption, models
from benchhydra.artifacts import CONFIG_FILE, RECORDS_FILE, SERIES_FILE, SERVER_LOG_FILE
from benchhydra.config import BenchConfig
from benchhydra.engines import ENGINE_GPUS, MIXED_VERSIONS, WEIGHTS, ServerSpec, versions
from benchhydra.engines.deployment import deployed
from benchhydra.errors import BenchhydraError, ConfigError, ResultError, RunInvalid
from benchhydra.facts import Facts
from benchhydra.failure_texts import failure_texts
from benchhydra.gpu_prices import SERVER_PRICE_PER_HOUR, server_price_per_hour
from benchhydra.measure import Measurement, Point
from benchhydra.metrics import refuse_not_computed, summarize
from benchhydra.metrics.groups import group_figures
from benchhydra.metrics.slo import percentiles_of
from benchhydra.probes.watch import start_helper
from benchhydra.progress import Progress
from benchhydra.redaction import protect_config, redact_config, secret_names
from benchhydra.registry import option_name
from benchhydra.render.figures import duration
from benchhydra.request_series import per_second_series
from benchhydra.result import Reason, Result, Verdict, point_key, single_point_overrides
from benchhydra.search.probe_faults import LIMIT_CHECKS
from benchhydra.series import write_series
from benchhydra.servers import SERVER_STARTED, Lease
from benchhydra.servers.logs import shortened_log, tail
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Target
from benchhydra.tracking.outbox import Outbox
from benchhydra.validity import judge
from benchhydra.validity.answers import few_samples
from benchhydra.window import Window

LOG_TAIL_LINES = 30
#: A longer load is announced before the server starts.
LONG_LOAD_S = 600.0


def spec_of(config: BenchConfig) -> ServerSpec | None:
    """Return the server that a point needs, after all checks that need no server. Raises BenchhydraError."""
    _refuse_secrets(config)
    _refuse_missing_metrics(config)
    _refuse_unused_load(config)
    target = config.engine.target(config.model, config.sparsity, config.gpus)
    config.engine.check(target)
    config.script.check(point_of(config, target, Path(), Progress()))
    return deployed_spec(config, target)


def deployed_spec(config: BenchConfig, target: Target) -> ServerSpec | None:
    """Return the server that the script needs, with its replicas and router. Raises ConfigError if they do not fit."""
    spec = config.script.spec(config.engine, target)
    if spec is not None:
        return deployed(config.engine, spec, target)
    if config.engine.replicas != 1 or config.engine.router is not None:
        text = f"script={option_name(config.script)} starts servers itself, one at a time: it has no replicas"
        raise ConfigError(text, hint="engine.replicas=1")
    return None


def _refuse_missing_metrics(config: BenchConfig) -> None:
    """Raise ConfigError if the objective or the search reads what does not exist, or will not be computed."""
    if config.search.needs_slo and not any(limit.is_sampled for limit in config.slo.limits()):
        search = option_name(config.search)
        text = f"search={search} needs a limit on a percentile, mean or fraction"
        raise ConfigError(text, hint="slo.p99_ttft_ms=500, or slo.share=0.99 beside limits of single requests")
    for key, name in {"objective": config.objective, **config.search.metrics_read()}.items():
        if name is not None:
            refuse_not_computed(key, name, (*config.percentiles, *percentiles_of(config.slo.limits())))


def _refuse_unused_load(config: BenchConfig) -> None:
    """Raise ConfigError if the search varies a key that the load does not obey."""
    varies, load, name = config.search.varies, config.load, option_name(config.load)
    if config.search.needs_open_loop and not load.open_loop:
        text = f"search={option_name(config.search)} needs a load of requests at a rate, and load={name} is none"
        raise ConfigError(text, hint="load=poisson")
    if "qps" in varies and not (load.open_loop or load.has_schedule):
        hint = "load=poisson, or search.over=load.max_in_flight"
        raise ConfigError(f"search={option_name(config.search)} varies qps, and load={name} has no rate", hint=hint)
    if "load.max_in_flight" in varies and "qps" not in varies and not math.isinf(load.qps):
        hint = "load=concurrency"
        raise ConfigError(f"the search varies load.max_in_flight, which only caps load={name}", hint=hint)


def load_s_of(config: BenchConfig) -> float | None:
    """Return about how long the load of a point lasts, in seconds; None if that is not known before."""
    target = config.engine.target(config.model, config.sparsity, config.gpus)
    return config.script.load_s(point_of(config, target, Path(), Progress()))


def run_point(
    config: BenchConfig,
    *,
    resolved: Mapping[str, Any],
    out_dir: Path,
    pool: ServerPool,
    overrides: Sequence[str] = (),
    sweep_id: str | None = None,
    progress: Progress | None = None,
    outbox: Outbox | None = None,
) -> Result:
    """Measure one point, write its files into ``out_dir``, and return its result.

    ``outbox`` logs the result in the background; without one it is logged before this returns. ``resolved`` is the
    composed config as plain data, ``overrides`` are the user's for this point. For a point that fails, a
    ``result.json`` with status "failed" is written and the error is re-raised. An interrupted point has status
    "interrupted" and the metrics of what was measured.
    """
    start_helper(config.probes)
    protect_config(resolved)
    result = _result_of(config, resolved, sweep_id)
    result.metadata["overrides"] = list(overrides)
    result.metadata["command"] = shlex.join(["benchhydra", *single_point_overrides(overrides)])
    _make_directory(out_dir, result.config)
    run = _PointRun(config, result, out_dir, pool, progress or Progress(), outbox)
    try:
        with interruption.reraising_interrupts():
            run.measure()
    except (Exception, KeyboardInterrupt) as error:
        run.fail(error)
        run.leave_result()
        raise
    run.leave_result()
    return result


def refuse_verdict(result: Result, config: BenchConfig) -> None:
    """Raise RunInvalid if ``script.fail_on`` refuses the result's verdict."""
    refused = {"invalid": (Verdict.INVALID,), "suspect": (Verdict.INVALID, Verdict.SUSPECT), "never": ()}
    if result.verdict in refused[config.script.fail_on]:
        reasons = "; ".join(reason.text for reason in result.reasons)
        raise RunInvalid(f"the result is {result.verdict}: {reasons}", hint="script.fail_on=never keeps exit code 0")


def point_of(
    config: BenchConfig, target: Target, out_dir: Path, progress: Progress, pool: ServerPool | None = None
) -> Point:
    """Return the parts of a config that a script may use."""
    return Point(
        engine=config.engine,
        target=target,
        dataset=config.dataset,
        load=config.load,
        api=config.api,
        slo=config.slo.request_limits(),
        limits=config.slo.limits(),
        probes=config.probes,
        num_prompts=config.num_prompts,
        seed=config.seed,
        repeat=config.repeat,
        out_dir=out_dir,
        progress=progress,
        pool=pool,
    )


@dataclasses.dataclass
class _PointRun:
    """The measurement of one point; each step adds its part to ``result``."""

    config: BenchConfig
    result: Result
    out_dir: Path
    pool: ServerPool
    progress: Progress
    outbox: Outbox | None
    started_s: float = dataclasses.field(default_factory=time.monotonic)  # the system clock may jump

    def measure(self) -> None:
        """Get the server, run the script on it, compute the metrics and the verdict."""
        if self.outbox is not None:
            self.outbox.expect(self.config.tracking)
        engine, script = self.config.engine, self.config.script
        target = engine.target(self.config.model, self.config.sparsity, self.config.gpus)
        engine.check(target)
        self.result.warnings += target.warnings
        self.result.tensor_parallel_size = max(1, target.gpus)
        point = point_of(self.config, target, self.out_dir, self.progress, self.pool)
        self.result.load_label = script.load_label(point)
        self._announce_length(script.load_s(point))
        spec = deployed_spec(self.config, target)
        if spec is None or spec.kind != "attached":
            self._prepare(target)
        if spec is None:
            self._conclude(point, self._run_script(point, None), {})
        else:
            self._measure_on_server(point, spec)

    def fail(self, error: BaseException) -> None:
        """Record in the result why nothing was measured."""
        result = self.result
        interrupted = isinstance(error, KeyboardInterrupt)
        message = error.message if isinstance(error, BenchhydraError) else f"{type(error).__name__}: {error}"
        result.status = "interrupted" if interrupted else "failed"
        result.error = "interrupted before anything was measured" if interrupted else message
        result.verdict = Verdict.INVALID
        text = f"nothing was measured: {result.error}"
        result.reasons = (Reason(check="measured", severity=Verdict.INVALID, text=text),)
        log = self.out_dir / SERVER_LOG_FILE
        if SERVER_STARTED not in result.metadata and self.pool.log is not None and self.pool.log.exists():
            log.write_bytes(shortened_log(self.pool.log))  # the server did not start, so no lease has written its log
        result.log_tail = "\n".join(tail(log, LOG_TAIL_LINES)) or None

    def leave_result(self) -> None:
        """Write the result and log it."""
        self.result.wall_s = time.monotonic() - self.started_s
        self.result.redact()
        self.result.write(self.out_dir)
        if self.outbox is None:
            self.config.tracking.log(self.result, self.out_dir)
        else:
            self.outbox.log(self.config.tracking, self.result, self.out_dir)

    def _measure_on_server(self, point: Point, spec: ServerSpec) -> None:
        engine = self.config.engine
        with self.pool.lease(
            spec,
            self.progress,
            ready_timeout_s=engine.ready_timeout_s,
            stop_timeout_s=engine.stop_timeout_s,
            headers=engine.request_headers(),
            start_phase=engine.start_phase,
        ) as lease:
            if spec.kind == "attached":  # only after the server has answered: building a model may take a minute
                self._prepare(point.target)
            engine_versions = versions(engine, lease.replica_urls or (lease.base_url,))  # a router may not know it
            self.result.engine_version = ", ".join(engine_versions) or None
            mixed = {MIXED_VERSIONS: list(engine_versions) if len(engine_versions) > 1 else None}
            lease_facts = {**lease.facts(), **self._price_facts(point, lease), **mixed}
            self.result.metadata |= Facts(lease_facts).metadata()
            try:
                measurement = self._run_script(point, lease)
            finally:
                lease.write_log(self.out_dir / SERVER_LOG_FILE)
        self._conclude(point, measurement, lease_facts)

    def _gpu_count(self, point: Point) -> int | None:
        """Return the number of GPUs of all replicas; None without GPUs, or if it is unknown."""
        engine = self.config.engine
        count = engine.gpu_count(point.target)
        return None if count is None else count * engine.replicas

    def _price_facts(self, point: Point, lease: Lease) -> dict[str, Any]:
        """Return the price of the server's GPUs, if it is known."""
        names = [gpu["name"] for gpu in self.result.environment.get("gpus", ()) if gpu["index"] in lease.gpus]
        price = server_price_per_hour(self.config.gpus, self._gpu_count(point), names)
        return {} if price is None else {SERVER_PRICE_PER_HOUR: price}

    def _announce_length(self, load_s: float | None) -> None:
        """Say before anything is started if the load will last long."""
        if load_s is not None and load_s > LONG_LOAD_S:
            replayed = self.config.load.replays
            hint = " (load.speedup=10 replays it ten times as fast)" if replayed else ""
            self.progress.say(f"the load lasts {duration(load_s)}{hint}")

    def _prepare(self, target: Target) -> None:
        """Build or download what a load needs on this machine: a locally built model, files of the dataset."""
        models.ensure(target, self.config.engine.interpreter(), self.progress)
        self.config.dataset.prepare(self.progress)

    def _run_script(self, point: Point, lease: Lease | None) -> Measurement:
        if self.outbox is not None:
            self.outbox.rest()
        return self.config.script.measure(point, lease)

    def _conclude(self, point: Point, measurement: Measurement, lease_facts: Mapping[str, Any]) -> None:
        """Write the rows and series; add metrics, verdict and metadata to the result."""
        records, result = measurement.records, self.result
        engine_facts = {ENGINE_GPUS: self._gpu_count(point), WEIGHTS: self.config.engine.weights(point.target)}
        facts = Facts({**engine_facts, **lease_facts}) | measurement.facts
        request_series = per_second_series(records) if "requests" in measurement.has else ()
        series = (*request_series, *measurement.series)
        records.write(self.out_dir / RECORDS_FILE)
        write_series(series, self.out_dir / SERIES_FILE)
        window = Window.of(
            records, slo=point.slo, limits=point.limits, facts=facts, samples=measurement.samples, series=series
        )
        result.metrics = self._metrics(window, measurement)
        result.failures, result.failure_texts = window.failures(), failure_texts(window)
        result.metadata |= {**measurement.metadata, **facts.metadata()}
        if "duration_s" in result.metrics:
            result.metadata["duration"] = result.metrics["duration_s"].value  # nm-vllm's name for it
        result.verdict, result.reasons = judge(window, self.config.validity)
        self.pool.overloaded = any(
            reason.check in LIMIT_CHECKS and reason.severity is Verdict.INVALID for reason in result.reasons
        )
        result.engine_version = result.engine_version or measurement.engine_version
        result.warnings += (*measurement.warnings, *few_samples(window, self.config.percentiles))
        result.status = "interrupted" if facts["interrupted"] else "ok"

    def _metrics(self, window: Window, measurement: Measurement) -> dict[str, Any]:
        """Return the metrics by name. Raises BenchhydraError if none can be computed from the measurement."""
        has = measurement.capabilities | ({"slo"} if window.slo else set())
        has |= {"price"} if window.facts[SERVER_PRICE_PER_HOUR] else set()
        percentiles = (*self.config.percentiles, *percentiles_of(window.limits))
        self.result.groups = group_figures(window, has, measurement.groups)
        metrics = {metric.key: metric for metric in summarize(window, has, percentiles)}
        if not metrics:
            raise BenchhydraError(
                f"no metric can be computed from the measurement of script={self.result.script}: its capabilities are "
                f"{', '.join(sorted(has)) or 'empty'}",
                hint="Measurement(has=...) must contain the needs of at least one @metric(needs=...)",
            )
        return metrics


def _refuse_secrets(config: BenchConfig) -> None:
    """Raise ConfigError if the config holds a secret under its name: engines inherit the environment instead.

    Its values, and those in URLs, are then hidden in everything that is shown and stored. A value that comes from an
    environment variable (``${oc.env:NAME}``) is allowed, because no override holds it.
    """
    plain = dataclasses.asdict(config)
    protect_config(plain)
    environment_values = {*os.environ.values()}
    for key in secret_names(plain, without=environment_values):
        name = key.rsplit(".", 1)[-1].replace("-", "_").upper()
        hint = f"export {name}=... instead: engines inherit the environment (engine.api_key_env for attach)"
        if key.startswith("engine.headers."):
            hint = f"export {name}=... and {key}={name}"
        raise ConfigError(f"{key} holds a secret, and results contain the config", hint=hint)


def _result_of(config: BenchConfig, resolved: Mapping[str, Any], sweep_id: str | None) -> Result:
    """Return the result of a point before its measurement, with status "failed"."""
    return Result(
        status="failed",
        verdict=Verdict.INVALID,
        run_id=uuid.uuid4().hex,
        sweep_id=sweep_id,
        point_key=point_key(resolved),
        repeat=config.repeat,
        script=option_name(config.script),
        description=config.description,
        config=redact_config(resolved),
        epoch_time=time.time(),
        model=config.model.id,
        tokenizer=config.model.tokenizer or config.model.id,
        dataset=option_name(config.dataset),
        environment=environment.capture(),
        key_metrics=_key_metrics(config),
        charts=config.script.charts,
    )


def _key_metrics(config: BenchConfig) -> tuple[str, ...]:
    """Return the metrics that tables show first: the script's, as the API changes them."""
    usual: tuple[str, ...] = config.script.key_metrics
    return config.api.key_metrics(usual) if config.script.uses_api else usual


def _make_directory(out_dir: Path, config: Mapping[str, Any]) -> None:
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / CONFIG_FILE).write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise ResultError(
            f"cannot write to {out_dir}: {error.strerror}",
            hint="hydra.run.dir=DIR or hydra.sweep.dir=DIR moves the output",
        ) from error
