"""The probe ``client``: CPU use of the thread that sends, and how long that thread waited for a core."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from benchhydra.facts import fact
from benchhydra.probes import Probe, ProbeTarget, Sample
from benchhydra.probes._processes import read_text

WAIT_FRACTION = fact(
    "client_wait_fraction",
    unit="fraction",
    doc="part of its runnable time that the client's thread waited for a core; only for a client of one process",
    in_metadata=True,
)
#: Minimum time between two samples: fractions over a shorter time are noise.
LEAST_NS = 50_000_000


class _ThreadTimes(NamedTuple):
    time_ns: int
    ran_ns: int  # CPU time of the thread
    waited_ns: int  # time that the thread was runnable but not running


class ClientProbe(Probe):
    """Reads the kernel's accounting of the thread that sends (``/proc/PID/task/TID/schedstat``)."""

    name: ClassVar[str] = "client"
    single_client_only: ClassVar[bool] = True

    def applies(self, target: ProbeTarget) -> bool:
        return target.client_thread is not None and os.access(_schedstat(target), os.R_OK)

    def start(self, target: ProbeTarget) -> None:
        self._path = _schedstat(target)
        self._first: _ThreadTimes | None = None

    def sample(self) -> Iterator[Sample]:
        now = self._read()
        if self._first is None:
            self._first = self._previous = now
        self._last = now
        elapsed_ns, ran_ns = now.time_ns - self._previous.time_ns, now.ran_ns - self._previous.ran_ns
        if elapsed_ns < LEAST_NS:
            return
        yield Sample("cpu_fraction", "fraction", ran_ns / elapsed_ns)
        yield Sample("wait_fraction", "fraction", _wait_fraction(self._previous, now) or 0.0)
        self._previous = now

    def stop(self) -> Mapping[str, Any]:
        return {WAIT_FRACTION: _wait_fraction(self._first, self._last)} if self._first is not None else {}

    def _read(self) -> _ThreadTimes:
        ran_ns, waited_ns, _ = read_text(self._path).split()
        return _ThreadTimes(time.monotonic_ns(), int(ran_ns), int(waited_ns))


def _schedstat(target: ProbeTarget) -> str:
    return f"/proc/{target.client_pid}/task/{target.client_thread}/schedstat"


def _wait_fraction(before: _ThreadTimes, after: _ThreadTimes) -> float | None:
    """Return waiting time / (running + waiting time); None if the thread was never runnable."""
    ran_ns, waited_ns = after.ran_ns - before.ran_ns, after.waited_ns - before.waited_ns
    return waited_ns / (ran_ns + waited_ns) if ran_ns + waited_ns > 0 else None
