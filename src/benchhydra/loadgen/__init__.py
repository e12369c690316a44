"""The driver: the only code that waits. ``drive`` sends a plan on an absolute schedule and returns its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchhydra.client import Endpoint, Requests
from benchhydra.records import Records


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to send and when. offsets_s: seconds from the start, shape (n,), not decreasing."""

    endpoint: Endpoint
    requests: Requests
    offsets_s: npt.NDArray[np.float64]
    max_in_flight: int | None = None
    timeout_s: float = 600.0  # of one request, from its sending
    ignore_eos: bool = True
    processes: str = "auto"
    keep_text: bool = False


@dataclass(frozen=True, kw_only=True)
class Driven:
    """What came of a plan: its rows, and what the client knows about itself. None is unknown."""

    records: Records
    interrupted: bool = False
    client_cpu_share: float | None = None
    loop_stall_p99_ms: float | None = None
    loop_stall_max_ms: float | None = None
    processes: int = 1
    texts: tuple[str, ...] | None = None  # generated texts by row, with keep_text
