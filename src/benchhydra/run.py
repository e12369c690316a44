"""``run_point``: the one place where the pieces of a benchmark meet."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchhydra import environment, interruption, models
from benchhydra.artifacts import RECORDS_FILE, SERIES_FILE
from benchhydra.config import BenchConfig
from benchhydra.engines import ServerSpec
from benchhydra.errors import BenchhydraError, ConfigError, ResultError, RunInvalid
from benchhydra.metrics import summarize
from benchhydra.progress import Progress
from benchhydra.registry import option_name
from benchhydra.request_series import per_second_series
from benchhydra.result import Reason, Result, Verdict, point_key, redact, secrets, single_point_overrides
from benchhydra.scripts import Measurement, Point
from benchhydra.series import write_series
from benchhydra.servers import Lease
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Target
from benchhydra.tracking import Tracking
from benchhydra.tracking.outbox import Outbox
from benchhydra.validity import judge

LOG_FILE = "server.log"


def spec_of(config: BenchConfig) -> ServerSpec | None:
    """The server that a point needs, after every check that needs no server. Raises BenchhydraError."""
    _refuse_secrets(config)
    target = _target(config)
    config.engine.check(target)
    config.script.check(_point(config, target, Path(), Progress()))
    return config.script.spec(config.engine, target)


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

    An ``outbox`` logs the result when there is time; without one it is logged at once.
    ``resolved`` is the composed config as plain data, ``overrides`` what the user typed for it. A point that fails
    still leaves a ``result.json`` with status "failed"; then the error is raised again. An interrupted one has status
    "interrupted" and what was measured.
    """
    progress = progress or Progress()
    log = _at_once if outbox is None else outbox.log
    started = time.time()
    result = _blank(config, resolved, sweep_id, started)
    result.metadata["overrides"] = list(overrides)
    result.metadata["command"] = shlex.join(["benchhydra", *single_point_overrides(overrides)])
    _prepare(out_dir, result.config)
    try:
        with interruption.reraising_interrupts():
            _measure(config, result, out_dir, pool, progress, outbox)
    except (Exception, KeyboardInterrupt) as error:
        _fail(result, error, out_dir, pool)
        result.wall_s = time.time() - started
        result.write(out_dir)
        log(config.tracking, result, out_dir)
        raise
    result.wall_s = time.time() - started
    result.write(out_dir)
    log(config.tracking, result, out_dir)
    return result


def refuse_verdict(result: Result, config: BenchConfig) -> None:
    """Raise RunInvalid where the result's verdict is one that ``script.fail_on`` refuses."""
    refused = {"invalid": (Verdict.INVALID,), "suspect": (Verdict.INVALID, Verdict.SUSPECT), "never": ()}
    if result.verdict in refused[config.script.fail_on]:
        reasons = "; ".join(reason.text for reason in result.reasons)
        raise RunInvalid(f"the result is {result.verdict}: {reasons}", hint="script.fail_on=never keeps exit code 0")


def _refuse_secrets(config: BenchConfig) -> None:
    """Overrides are kept in results, directory names and logs: a secret has no place in them."""
    for key in secrets(dataclasses.asdict(config)):
        name = key.rsplit(".", 1)[-1]
        raise ConfigError(
            f"{key} holds a secret, and a config is kept with its results",
            hint=f"export {name.upper()}=... instead: engines inherit the environment (engine.api_key_env for attach)",
        )


def _measure(
    config: BenchConfig, result: Result, out_dir: Path, pool: ServerPool, progress: Progress, outbox: Outbox | None
) -> None:
    if outbox is not None:
        outbox.expect(config.tracking)
    target = _target(config)
    config.engine.check(target)
    result.warnings += target.warnings
    result.tensor_parallel_size = max(1, target.gpus)
    point = _point(config, target, out_dir, progress)
    spec = config.script.spec(config.engine, target)
    if spec is None or spec.kind != "attached":
        _provide(config, target, progress)
    if spec is None:
        measured = _timed(config, point, None, outbox)
    else:
        with pool.lease(
            spec,
            progress,
            ready_timeout_s=config.engine.ready_timeout_s,
            stop_timeout_s=config.engine.stop_timeout_s,
            headers=config.engine.headers(),
        ) as lease:
            if spec.kind == "attached":  # now that it has answered: making a model may take a minute
                _provide(config, target, progress)
            measured = _on_server(config, result, point, lease, outbox)
    _conclude(config, result, measured, out_dir)


def _provide(config: BenchConfig, target: Target, progress: Progress) -> None:
    """What a load needs on this machine: a model that is made here, files of the dataset."""
    models.ensure(target, config.engine.interpreter(), progress)
    config.dataset.prepare(progress)


def _timed(config: BenchConfig, point: Point, lease: Lease | None, outbox: Outbox | None) -> Measurement:
    if outbox is not None:
        outbox.rest()
    return config.script.measure(point, lease)


def _on_server(config: BenchConfig, result: Result, point: Point, lease: Lease, outbox: Outbox | None) -> Measurement:
    result.engine_version = config.engine.version(lease.base_url)
    result.metadata["server_started"] = lease.fresh
    if lease.start_s is not None:
        result.metadata["server_start_s"] = lease.start_s
    try:
        return _timed(config, point, lease, outbox)
    finally:
        lease.write_log(point.out_dir / LOG_FILE)


def _conclude(config: BenchConfig, result: Result, measured: Measurement, out_dir: Path) -> None:
    measured.records.write(out_dir / RECORDS_FILE)
    write_series(per_second_series(measured.records), out_dir / SERIES_FILE)
    rows = measured.records.measured()
    result.metadata |= measured.metadata
    result.failures = rows.failures()
    result.metrics = {m.key: m for m in summarize(measured.records, result.script, measured.context)}
    if "duration_s" in result.metrics:
        result.metadata["duration"] = result.metrics["duration_s"].value  # the seed's name of it
    result.verdict, result.reasons = judge(measured.records, measured.facts, config.validity)
    result.warnings += measured.facts.notes
    result.status = "interrupted" if measured.facts.interrupted else "ok"


def _fail(result: Result, error: BaseException, out_dir: Path, pool: ServerPool) -> None:
    interrupted = isinstance(error, KeyboardInterrupt)
    result.status = "interrupted" if interrupted else "failed"
    message = error.message if isinstance(error, BenchhydraError) else f"{type(error).__name__}: {error}"
    result.error = "interrupted before anything was measured" if interrupted else message
    result.verdict = Verdict.INVALID
    result.reasons = (Reason(check="measured", severity=Verdict.INVALID, text=f"nothing was measured: {result.error}"),)
    log = out_dir / LOG_FILE
    if "server_started" not in result.metadata and pool.log is not None and pool.log.exists():
        shutil.copyfile(pool.log, log)  # it did not start: there was no lease to write it
    if log.exists():
        result.log_tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])


def _blank(config: BenchConfig, resolved: Mapping[str, Any], sweep_id: str | None, started: float) -> Result:
    return Result(
        status="failed",
        verdict=Verdict.INVALID,
        run_id=uuid.uuid4().hex,
        sweep_id=sweep_id,
        point_key=point_key(resolved),
        repeat=config.repeat,
        script=option_name(config.script),
        description=config.description,
        config=redact(resolved),
        epoch_time=started,
        model=config.model.id,
        tokenizer=config.model.tokenizer or config.model.id,
        dataset=option_name(config.dataset),
        environment=environment.capture(),
    )


def _at_once(tracking: Tracking, result: Result, directory: Path) -> None:
    tracking.log(result, directory)


def _prepare(out_dir: Path, config: Mapping[str, Any]) -> None:
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / "config.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise ResultError(
            f"cannot write to {out_dir}: {error.strerror}",
            hint="hydra.run.dir=DIR or hydra.sweep.dir=DIR moves the output",
        ) from error


def _target(config: BenchConfig) -> Target:
    return config.engine.target(config.model, config.sparsity, config.gpus)


def _point(config: BenchConfig, target: Target, out_dir: Path, progress: Progress) -> Point:
    return Point(
        engine=config.engine,
        target=target,
        dataset=config.dataset,
        load=config.load,
        num_prompts=config.num_prompts,
        seed=config.seed,
        repeat=config.repeat,
        out_dir=out_dir,
        progress=progress,
    )
