"""What every model of a server has in common: loads, and latencies that it computes for them.

Most of the difference between two loads of the same rate is that of their arrivals and lengths, which the client knows.
A model that is fitted to one load computes latencies for any other arrivals, and so shows how much of a measured figure
is due to them: see ``load_emulation``. It needs to be right only in so far as its latencies go up and down with the
measured ones.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Arrivals(NamedTuple):
    """Requests in the order of sending: sent in s, tokens of the prompt and of the answer. Arrays of shape (n,)."""

    sent_s: Floats
    prompt_tokens: Floats
    output_tokens: Floats


class Latencies(NamedTuple):
    """Latencies of requests in ms, arrays of shape (n,), named as in ``Window``. TPOT is NaN for one token."""

    ttft_ms: Floats
    tpot_ms: Floats
    e2el_ms: Floats


class ServerModel(Protocol):
    """A server whose latencies can be computed."""

    @property
    def is_slow(self) -> bool:
        """Whether it takes long to compute, so that fewer requests are."""
        ...

    def latencies(self, requests: Arrivals, rng: np.random.Generator) -> Latencies:
        """Compute latencies of requests to a server that is empty at first, with random factors of their own."""
        ...

    def expected_s(self, requests: Arrivals) -> Floats:
        """How much of the server's time each request needs, in s but for a constant factor, shape (n,)."""
        ...

    def saturation(self, requests: Arrivals) -> float:
        """The rate of such requests, in requests/s, that keeps the server busy all the time; infinite if none does."""
        ...


def latencies_of(requests: Arrivals, first_s: Floats, end_s: Floats) -> Latencies:
    """Return the latencies of requests whose first and last tokens came at these times, shape (n,)."""
    steps = np.maximum(requests.output_tokens - 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot_ms = (end_s - first_s) * 1e3 / np.where(steps > 0, steps, np.nan)
    return Latencies((first_s - requests.sent_s) * 1e3, tpot_ms, (end_s - requests.sent_s) * 1e3)
