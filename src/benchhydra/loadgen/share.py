"""What one process is given to send, and what it gives back."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchhydra.client import Endpoint, Requests
from benchhydra.records import Records


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one process sends."""

    endpoint: Endpoint
    requests: Requests
    offsets_s: npt.NDArray[np.float64]
    max_in_flight: int | None
    closed_loop: bool
    timeout_s: float
    ignore_eos: bool
    keep_text: bool


@dataclass(kw_only=True)
class Count:
    """How far a share is."""

    done: int = 0
    failed: int = 0
    ttft_sum_ns: int = 0  # since the last report
    ttft_count: int = 0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What came of a share."""

    records: Records
    interrupted: bool
    cpu_share: float | None
    stalls_ns: array[float]
    lags_ns: array[float]
    texts: tuple[str, ...] = field(default=())  # by request of the share, with keep_text


Report = Callable[[Count], None]
