"""The driver: the only code that waits. ``run_load`` sends a plan on an absolute schedule and returns its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchhydra.client import Endpoint, Requests
from benchhydra.loadgen.ray.clock_sync import NodeClock
from benchhydra.progress import Progress
from benchhydra.records import Records


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What to send and when. offsets_s: seconds from the start, shape (n,), not decreasing.

    Where all offsets are equal and ``max_in_flight`` is given, the load is a closed loop: a request is scheduled when
    one before it makes room. In all other cases it is scheduled at its offset, and waiting for room counts as waiting.
    """

    endpoint: Endpoint
    requests: Requests
    offsets_s: npt.NDArray[np.float64]
    max_in_flight: int | None = None
    timeout_s: float = 600.0  # of one request, from its sending
    ignore_eos: bool = True
    processes: str = "auto"
    executor: str = "local"  # "ray": processes on the nodes of a Ray cluster
    keep_text: bool = False

    @property
    def closed_loop(self) -> bool:
        """Whether answers, not the schedule, say when to send."""
        return self.max_in_flight is not None and bool(self.offsets_s[-1] <= self.offsets_s[0])


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What came of a plan: its rows, and what the client knows about itself. None is unknown."""

    records: Records
    interrupted: bool = False
    client_cpu_share: float | None = None  # CPU seconds a wall second, of the busiest process, without idle turns
    client_awake_s: float = 0.0  # how long the loop was kept from sleeping, in the process in which it was longest
    loop_stall_p99_ms: float | None = None
    loop_stall_max_ms: float | None = None
    client_lag_p99_ms: float | None = None  # lateness of the client's own: waiting for max_in_flight is not in it
    processes: int = 1
    texts: tuple[str, ...] | None = None  # generated texts, with keep_text: by request of the plan; "" where none came
    lost_processes: tuple[str, ...] = ()  # what became of client processes that brought no rows
    clocks: tuple[NodeClock, ...] = ()  # of other machines that sent, around the load


def run_load(plan: LoadPlan, progress: Progress) -> LoadResult:
    """Send a plan and wait for all answers. Failed requests are rows; a signal ends it with what there is so far.

    Raises EngineError where no client process brought rows, ConfigError for ``processes`` of no sense or without Ray.
    """
    from benchhydra.loadgen.driver import drive as run

    return run(plan, progress)
