"""This machine's own error: the highest rate up to which its client measures TTFT exactly, saved for the verdict.

``measure_rates`` sends requests to a server that records its own times (``fakeserver.truth``) and compares: the error
of a TTFT is what the client measured, less the time in the server between the request's arrival and its first token. It
includes two passes through the kernel. A calibration belongs to a class of machines (``environment.machine_class``) and
is saved in the user's cache directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchhydra import interruption
from benchhydra.artifacts import read_json_or_none, write_atomic
from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.errors import EngineError
from benchhydra.fetch import fetch
from benchhydra.loadgen import LoadPlan, LoadResult, run_load
from benchhydra.progress import Progress
from benchhydra.window import Window

RATES_RPS = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
#: A rate is exact where the 99th percentile of the error is below this.
EXACT_MS = 1.0
TOKENS = 32
#: Sends at this rate before the first step: connections and code are cold only once.
WARMUP_RPS, WARMUP_S = 20.0, 0.5
LEAST_REQUESTS = 20


@dataclass(frozen=True, kw_only=True)
class CalibrationStep:
    """The result of one rate. Errors are of TTFT, in the mean and at the 99th percentile."""

    offered_rps: float
    achieved_rps: float
    requests: int
    failed: int
    mean_error_ms: float
    p99_error_ms: float
    lag_p99_ms: float

    @property
    def exact(self) -> bool:
        """Whether the client measures TTFT exactly at this rate."""
        reached = self.achieved_rps > 0.95 * self.offered_rps
        return not self.failed and reached and self.p99_error_ms < EXACT_MS


def measure_rates(rates_rps: Iterable[float] = RATES_RPS, seconds: float = 3.0) -> Iterator[CalibrationStep]:
    """Steps at rising rates, until one is not exact. Raises EngineError where the server does not start."""
    with _server() as base_url:
        _measure(base_url, WARMUP_RPS, WARMUP_S)
        for rate_rps in rates_rps:
            step = _measure(base_url, rate_rps, seconds)
            yield step
            if not step.exact:
                return


def exact_up_to_rps(steps: Iterable[CalibrationStep]) -> float | None:
    """The highest rate below the first that was not exact; None where the first was not."""
    best = None
    for step in steps:
        if not step.exact:
            break
        best = step.offered_rps
    return best


def calibration_directory() -> Path:
    """Where calibrations are saved."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "benchhydra" / "calibration"


def load_calibration(machine_class: str) -> float | None:
    """The highest exact rate in requests/s on machines of this class; None where it was not calibrated."""
    calibration = read_json_or_none(_file(machine_class)) or {}
    try:
        return float(calibration["exact_up_to_rps"])
    except (KeyError, TypeError, ValueError):
        return None


def save_calibration(machine_class: str, rate_rps: float) -> Path:
    """Save the highest exact rate, and return the file. Raises OSError where it cannot be written."""
    path = _file(machine_class)
    write_atomic(path, json.dumps({"exact_up_to_rps": rate_rps}) + "\n")
    return path


def _file(machine_class: str) -> Path:
    return calibration_directory() / f"{machine_class}.json"


@contextmanager
def _server() -> Iterator[str]:
    """The base URL of a server that ends with the block, or with this process."""
    argv = [sys.executable, "-P", "-m", "benchhydra.fakeserver.truth"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise EngineError("the calibration's server did not start", hint=" ".join(argv))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()


def _measure(base_url: str, rate_rps: float, seconds: float) -> CalibrationStep:
    load = run_load(_plan(base_url, rate_rps, max(LEAST_REQUESTS, int(rate_rps * seconds))), Progress())
    if load.facts["interrupted"]:
        raise interruption.interrupt_exception()
    try:
        truth = fetch(f"{base_url}/truth", timeout_s=30.0).body.decode()
    except OSError as error:
        raise EngineError(f"the calibration's server gave no answer: {error}", hint="benchhydra calibrate") from error
    return _step(rate_rps, load, truth)


def _plan(base_url: str, rate_rps: float, count: int) -> LoadPlan:
    """Requests whose prompts are their numbers, at constant distances."""
    endpoint, requests = Endpoint(base_url=base_url, api=Completions(), model="truth"), Requests()
    options = RequestOptions()
    for number in range(count):
        requests.add(encode_request(endpoint, Prompt(str(number), 1, TOKENS), TOKENS, options), 1, TOKENS)
    return LoadPlan(endpoint=endpoint, requests=requests, send_times_s=np.arange(count) / rate_rps, timeout_s=60.0)


def _step(rate_rps: float, load: LoadResult, truth: str) -> CalibrationStep:
    """truth: a line a request: its number, and when the server received it and sent its first token, in ns.

    Rows are in order of their schedule, which is that of their numbers; every request has a row.
    """
    rows = load.records
    lines = np.array([line.split() for line in truth.splitlines()], dtype=np.int64).reshape(-1, 3)
    numbers, received_ns, first_ns = lines.T
    if load.facts.get("lost_client_processes") or not rows.completed.all() or len(numbers) != len(rows):
        failed = max(1, int((~rows.completed).sum()))
        return _failed(rate_rps, len(rows), failed)
    errors_ms = Window.over(rows).ttft_ms[numbers] - (first_ns - received_ns) / 1e6
    return CalibrationStep(
        offered_rps=rate_rps,
        achieved_rps=(len(rows) - 1) / (float(np.ptp(rows.sent_ns)) / 1e9),
        requests=len(rows),
        failed=0,
        mean_error_ms=float(errors_ms.mean()),
        p99_error_ms=float(np.percentile(errors_ms, 99)),
        lag_p99_ms=load.facts.get("client_lag_p99_ms") or 0.0,
    )


def _failed(rate_rps: float, requests: int, failed: int) -> CalibrationStep:
    nan = float("nan")
    return CalibrationStep(
        offered_rps=rate_rps,
        achieved_rps=0.0,
        requests=requests,
        failed=failed,
        mean_error_ms=nan,
        p99_error_ms=nan,
        lag_p99_ms=nan,
    )
