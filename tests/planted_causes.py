"""Runs with a planted cause of a slowdown, and what their comparison says: for the fake engine and for vLLM."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests import delay_proxy
from tests.scripts.points import composed

from benchhydra.analysis.attribution import explain
from benchhydra.analysis.compare import compare
from benchhydra.analysis.comparison import PointChange
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.client.connection import Connection
from benchhydra.config import plain_config
from benchhydra.progress import Progress
from benchhydra.render.attribution_lines import why_lines
from benchhydra.result import Result, Verdict
from benchhydra.run import run_point
from benchhydra.servers import Lease
from benchhydra.servers.pool import ServerPool

#: A busy machine, or a model of random weights, must not make runs INVALID: these are not compared.
CHECKS_OFF = (
    *("script=serving", "script.fail_on=never", "validity.lag_ms=1e9", "validity.stall_ms=1e9"),
    *("validity.client_cpu_fraction=99", "validity.client_wait_fraction=9", "validity.reached_fraction=0"),
    *("validity.client_wait_fraction_of_server=9", "validity.blank_fraction=1", "validity.failed_fraction=0.2"),
)


def measure(directory: Path, *overrides: str, pool: ServerPool) -> Path:
    """Measure one point, on a server of the pool."""
    made = composed(*CHECKS_OFF, *overrides)
    run_point(made, resolved=plain_config(made), out_dir=directory, pool=pool)
    return directory


@contextmanager
def server_of(pool: ServerPool, *overrides: str) -> Iterator[Lease]:
    """The server that points with these overrides use."""
    made = composed(*CHECKS_OFF, *overrides)
    spec = made.engine.server(made.engine.target(made.model, made.sparsity, made.gpus))
    with pool.lease(spec, Progress(), ready_timeout_s=180.0, stop_timeout_s=20.0, headers={}) as lease:
        yield lease


def compared(base: Path, candidate: Path) -> PointChange:
    """The comparison of two runs. Writes what users see of it. Both runs must be usable."""
    for directory in (base, candidate):
        result = Result.read(directory)
        assert result.verdict is not Verdict.INVALID, (directory.name, result.reasons)
    comparison = compare(read_runs(str(base)), read_runs(str(candidate)), thresholds=Thresholds())
    (point,) = comparison.points
    sys.stdout.write("\n".join([*why_lines(comparison), ""]))
    return point


def assert_first(cause: str, base: Path, candidate: Path) -> None:
    """Assert that the cause of the latency that changed most is this one, and that its parts add up."""
    point = compared(base, candidate)
    explained = explain(point)
    assert explained, f"no latency really changed: {[change for change in point.metrics if change.is_main]}"
    widest = max(explained, key=lambda explanation: abs(explanation.change_ms))
    assert [likely.cause.name for likely in widest.causes][:1] == [cause], widest
    assert widest.adds_up, (widest.unaccounted_ms, widest.parts)


@contextmanager
def slow_client(per_packet_s: float) -> Iterator[None]:
    """Hold up this process, which sends the load, at each packet that it receives. It takes no CPU from the server."""
    receive = Connection.data_received

    def receive_slowly(connection: Connection, data: bytes) -> None:
        time.sleep(per_packet_s)
        receive(connection, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "data_received", receive_slowly)
        yield


@contextmanager
def proxy(base_url: str, delay_ms: float) -> Iterator[str]:
    """The URL of a proxy in front of a server, which delays everything both ways."""
    command = [sys.executable, delay_proxy.__file__, base_url.rpartition(":")[2], str(delay_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


@contextmanager
def hogs(cores: list[int], number: int) -> Iterator[None]:
    """So many programs that use all of these cores."""
    command = [sys.executable, "-c", f"import os\nos.sched_setaffinity(0, {cores})\nwhile True: pass"]
    # Sessions of their own, as the kernel may share cores by session (autogroup) and not by process.
    processes = [subprocess.Popen(command, start_new_session=True) for _ in range(number)]
    try:
        time.sleep(0.2)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
