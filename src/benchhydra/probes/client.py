"""The probe ``client``: CPU use of the thread that sends, and how long that thread waited for a core."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from benchhydra.facts import fact
from benchhydra.probes import Probe, ProbeTarget, Sample
from benchhydra.probes._processes import RunDelay, run_delay

WAIT_FRACTION = fact(
    "client_wait_fraction",
    unit="fraction",
    doc="part of its runnable time that the client's thread waited for a core; only for a client of one process",
    in_metadata=True,
)
WAIT_MS = fact(
    "client_wait_ms",
    unit="ms",
    doc="mean wait of the client's thread for a core, each time it was given one; only for a client of one process",
    in_metadata=True,
)
#: Minimum time between two samples: fractions over a shorter time are noise.
LEAST_NS = 50_000_000


class ClientProbe(Probe):
    """Reads the kernel's accounting of the thread that sends (``/proc/PID/task/TID/schedstat``)."""

    name: ClassVar[str] = "client"
    single_client_only: ClassVar[bool] = True

    def applies(self, target: ProbeTarget) -> bool:
        return target.client_thread is not None and _is_accounted(target.client_pid, target.client_thread)

    def start(self, target: ProbeTarget) -> None:
        self._target = target
        self._first: RunDelay | None = None

    def sample(self) -> Iterator[Sample]:
        now_ns, now = time.monotonic_ns(), self._read()
        if self._first is None:
            self._first = self._previous = now
            self._previous_ns = now_ns
        self._last = now
        elapsed_ns = now_ns - self._previous_ns
        if elapsed_ns < LEAST_NS:
            return
        yield Sample("cpu_fraction", "fraction", (now.ran_ns - self._previous.ran_ns) / elapsed_ns)
        yield Sample("wait_fraction", "fraction", _wait_fraction(self._previous, now) or 0.0)
        self._previous_ns, self._previous = now_ns, now

    def stop(self) -> Mapping[str, Any]:
        if self._first is None:
            return {}
        return {WAIT_FRACTION: _wait_fraction(self._first, self._last), WAIT_MS: _wait_ms(self._first, self._last)}

    def _read(self) -> RunDelay:
        return run_delay(self._target.client_pid, self._target.client_thread or 0)


def _is_accounted(pid: int, thread: int) -> bool:
    try:
        run_delay(pid, thread)
    except OSError:
        return False
    return True


def _wait_fraction(before: RunDelay, after: RunDelay) -> float | None:
    """Return waiting time / (running + waiting time); None if the thread was never runnable."""
    ran_ns, waited_ns = after.ran_ns - before.ran_ns, after.waited_ns - before.waited_ns
    return waited_ns / (ran_ns + waited_ns) if ran_ns + waited_ns > 0 else None


def _wait_ms(before: RunDelay, after: RunDelay) -> float | None:
    """Return waiting time / number of turns; None if the thread had none."""
    turns = after.turns - before.turns
    return (after.waited_ns - before.waited_ns) / turns / 1e6 if turns > 0 else None
