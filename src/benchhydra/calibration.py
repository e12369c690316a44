"""What this machine's own error is: the rate up to which its client is known to be exact, kept for the verdict.

``measure_rates`` drives a server that knows what it did (``fakeserver.truth``) and compares: the error of a TTFT is what
the client measured, less what passed in the server between the request's arrival and its first token. It holds the way
through the kernel, twice. A calibration belongs to a class of machines (``environment.machine_class``) and lies in the
user's cache directory.
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
from benchhydra.errors import EngineError
from benchhydra.fetch import fetch
from benchhydra.loadgen import LoadPlan, LoadResult

RATES_RPS = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
EXACT_MS = 1.0
TOKENS = 32


@dataclass(frozen=True, kw_only=True)
class CalibrationStep:
    """What was seen at one rate. Errors are of TTFT, in the mean and at the 99th percentile."""

    offered_rps: float
    achieved_rps: float
    requests: int
    failed: int
    mean_error_ms: float
    p99_error_ms: float
    lag_p99_ms: float

    @property
    def exact(self) -> bool:
        """Whether the client may be believed at this rate."""
        reached = self.achieved_rps > 0.95 * self.offered_rps
        return not self.failed and reached and self.p99_error_ms < EXACT_MS


def measure_rates(rates_rps: Iterable[float] = RATES_RPS, seconds: float = 3.0) -> Iterator[CalibrationStep]:
    """Steps at rising rates, until one is not exact. Raises EngineError where the server does not start."""
    with _server() as base_url:
        _drive(base_url, 20.0, 0.5)  # connections and code are cold only once
        for rate_rps in rates_rps:
            step = _drive(base_url, rate_rps, seconds)
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
    """Where calibrations are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "benchhydra" / "calibration"


def load_calibration(machine_class: str) -> float | None:
    """The highest rate in requests/s known to be exact on such a machine, or None where nobody calibrated it."""
    try:
        kept = json.loads((calibration_directory() / f"{machine_class}.json").read_text(encoding="utf-8"))
        return float(kept["exact_up_to_rps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_calibration(machine_class: str, rate_rps: float) -> Path:
    """Keep the highest exact rate, and return the file. Raises OSError where it cannot be written."""
    path = calibration_directory() / f"{machine_class}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps({"exact_up_to_rps": rate_rps}) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


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


def _drive(base_url: str, rate_rps: float, seconds: float) -> CalibrationStep:
    from benchhydra.loadgen import run_load
    from benchhydra.progress import Progress

    plan = _plan(base_url, rate_rps, max(20, int(rate_rps * seconds)))
    driven = run_load(plan, Progress())
    if driven.facts["interrupted"]:
        raise interruption.interrupt_exception()
    try:
        truth = fetch(f"{base_url}/truth", timeout_s=30.0).body.decode()
    except OSError as error:
        raise EngineError(f"the calibration's server gave no answer: {error}", hint="benchhydra calibrate") from error
    return _step(rate_rps, driven, truth)


def _plan(base_url: str, rate_rps: float, count: int) -> LoadPlan:
    from benchhydra.client import Endpoint, Requests
    from benchhydra.client.apis import RequestOptions
    from benchhydra.client.apis.completions import Completions
    from benchhydra.client.request_encoding import encode_request
    from benchhydra.datasets import Prompt

    endpoint, requests = Endpoint(base_url=base_url, api=Completions(), model="truth"), Requests()
    options = RequestOptions()
    for number in range(count):
        requests.add(encode_request(endpoint, Prompt(str(number), 1, TOKENS), TOKENS, options), 1, TOKENS)
    return LoadPlan(endpoint=endpoint, requests=requests, send_times_s=np.arange(count) / rate_rps, timeout_s=60.0)


def _step(rate_rps: float, driven: LoadResult, truth: str) -> CalibrationStep:
    """Rows are in order of their schedule, which is that of their numbers; every request has a row."""
    rows = driven.records
    known = np.array([line.split() for line in truth.splitlines()], dtype=np.int64).reshape(-1, 3)
    numbers, received_ns, first_ns = known.T
    if driven.facts["lost_client_processes"] or not rows.completed.all() or len(numbers) != len(rows):
        failed = max(1, int((~rows.completed).sum()))
        return _failed(rate_rps, len(rows), failed)
    errors_ms = ((rows.first_ns - rows.sent_ns)[numbers] - (first_ns - received_ns)) / 1e6
    return CalibrationStep(
        offered_rps=rate_rps,
        achieved_rps=(len(rows) - 1) / (float(np.ptp(rows.sent_ns)) / 1e9),
        requests=len(rows),
        failed=0,
        mean_error_ms=float(errors_ms.mean()),
        p99_error_ms=float(np.percentile(errors_ms, 99)),
        lag_p99_ms=driven.facts.get("client_lag_p99_ms", 0.0),
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
