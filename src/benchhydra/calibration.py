"""Calibration: the highest request rate at which the client on this machine measures TTFT with an error below 1 ms.

``measure_rates`` sends requests to a server that records its own times (``fakeserver.truth``). The error of a TTFT is
the client's TTFT minus the server's time from a request's arrival to its first token; it includes two passes through
the kernel. A calibration is saved in the user's cache directory, by machine class (``environment.this_machine_class``),
and the verdict's rule ``calibrated`` reads it.
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
#: A rate counts as exact if the 99th percentile of the error is below this.
EXACT_MS = 1.0
TOKENS = 32
#: Load sent before the first step, so that connections and code are warm.
WARMUP_RPS, WARMUP_S = 20.0, 0.5
LEAST_REQUESTS = 20


@dataclass(frozen=True, kw_only=True)
class CalibrationStep:
    """The result of one rate: mean and 99th percentile of the TTFT error; NaN if a request failed."""

    offered_rps: float
    achieved_rps: float
    requests: int
    failed: int
    mean_error_ms: float
    p99_error_ms: float
    lag_p99_ms: float

    @property
    def exact(self) -> bool:
        """Whether no request failed, 95 % of the rate was reached, and the p99 TTFT error is below ``EXACT_MS``."""
        reached = self.achieved_rps > 0.95 * self.offered_rps
        return not self.failed and reached and self.p99_error_ms < EXACT_MS


def measure_rates(rates_rps: Iterable[float] = RATES_RPS, seconds: float = 3.0) -> Iterator[CalibrationStep]:
    """Yield a step for each rate, up to the first that is not exact. Raises EngineError if the server fails."""
    with _server() as base_url:
        _measure(base_url, WARMUP_RPS, WARMUP_S)
        for rate_rps in rates_rps:
            step = _measure(base_url, rate_rps, seconds)
            yield step
            if not step.exact:
                return


def exact_up_to_rps(steps: Iterable[CalibrationStep]) -> float | None:
    """Return the highest rate (requests/s) before the first step that is not exact; None if the first is not."""
    best = None
    for step in steps:
        if not step.exact:
            break
        best = step.offered_rps
    return best


def calibration_directory() -> Path:
    """Return the directory of saved calibrations."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "benchhydra" / "calibration"


def load_calibration(machine_class: str) -> float | None:
    """Return the highest exact rate in requests/s for a machine class; None if it was not calibrated."""
    calibration = read_json_or_none(_file(machine_class)) or {}
    try:
        return float(calibration["exact_up_to_rps"])
    except (KeyError, TypeError, ValueError):
        return None


def save_calibration(machine_class: str, rate_rps: float) -> Path:
    """Save the highest exact rate and return the file. Raises OSError if it cannot be written."""
    path = _file(machine_class)
    write_atomic(path, json.dumps({"exact_up_to_rps": rate_rps}) + "\n")
    return path


def _file(machine_class: str) -> Path:
    return calibration_directory() / f"{machine_class}.json"


@contextmanager
def _server() -> Iterator[str]:
    """Yield the base URL of a calibration server, which exits at the end of the block or of this process."""
    argv = [sys.executable, "-P", "-m", "benchhydra.fakeserver.truth"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise EngineError("the calibration server did not start", hint=" ".join(argv))
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
        raise EngineError(f"the calibration server did not answer: {error}", hint="benchhydra calibrate") from error
    return _step(rate_rps, load, truth)


def _plan(base_url: str, rate_rps: float, count: int) -> LoadPlan:
    """Return a plan of evenly spaced requests; the prompt of each is its number."""
    endpoint, requests = Endpoint(base_url=base_url, api=Completions(), model="truth"), Requests()
    options = RequestOptions()
    for number in range(count):
        requests.add(encode_request(endpoint, Prompt(str(number), 1, TOKENS), TOKENS, options), 1, TOKENS)
    return LoadPlan(endpoint=endpoint, requests=requests, send_times_s=np.arange(count) / rate_rps, timeout_s=60.0)


def _step(rate_rps: float, load: LoadResult, truth: str) -> CalibrationStep:
    """Compare the client's rows with the server's times.

    truth: one line per request with its number, its time of arrival and the time of its first token, in ns. The rows
    are in the order of the numbers, because that is their schedule; every request has a row.
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
