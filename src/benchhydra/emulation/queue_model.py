"""A model of a server as a queue, fitted to the requests of one load.

Requests wait for one of ``slots``, first come, first served. The first token takes a time that is linear in the tokens
of the prompt, each other token one that is linear in the number of other running requests; both times a random factor.
All of it is fitted to records:

- ``slots`` is the number for which the times from a request's start to its first token are most alike.
- Times are fitted by least squares. The random factors are drawn from the measured times / the fitted ones.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from benchhydra.emulation.server_model import Arrivals, Floats, Latencies, latencies_of

#: Numbers of slots that are tried: all up to the first, then this many up to the most requests in flight.
FIRST_SLOTS, MORE_SLOTS = 64, 60
#: How much a time before the request's start, which cannot be, counts against a number of slots.
IMPOSSIBLE_WEIGHT = 10.0
#: Decoding slows down with the running requests if this many standard errors, and this fraction of it, say so.
SLOPE_ERRORS, SLOPE_FRACTION = 5.0, 0.01
#: A token takes at least this fraction of its mean time on an idle server.
LEAST_BASE = 0.02
LEAST_TIME_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class QueueModel:
    """A fitted server. slots: None if no request waited.

    first_s: seconds to the first token, (constant, per token of the prompt). decode_s: seconds for a further token, (on
    an idle server, more for each other running request). first_factors, decode_factors: random factors, any shape (k,).
    """

    slots: int | None
    first_s: tuple[float, float]
    decode_s: tuple[float, float]
    first_factors: Floats
    decode_factors: Floats

    @classmethod
    def fit(cls, requests: Arrivals, latencies: Latencies) -> QueueModel:
        """Fit a model to measured requests, all of which were completed."""
        first_s = requests.sent_s + latencies.ttft_ms / 1e3
        end_s = requests.sent_s + latencies.e2el_ms / 1e3
        slots, start_s = _fit_slots(requests.sent_s, first_s, end_s)
        to_first_s = np.maximum(first_s - start_s, LEAST_TIME_S)
        first = _line(requests.prompt_tokens, to_first_s)
        decode, decode_factors = _fit_decoding(start_s, first_s, end_s, requests.output_tokens - 1)
        return cls(
            slots=slots,
            first_s=first,
            decode_s=decode,
            first_factors=to_first_s / (first[0] + first[1] * requests.prompt_tokens),
            decode_factors=decode_factors,
        )

    @property
    def shares_decoding(self) -> bool:
        """Whether decoding slows down with the number of running requests, which takes longer to compute."""
        return self.decode_s[1] > 0

    @property
    def is_slow(self) -> bool:
        return self.shares_decoding

    def saturation(self, requests: Arrivals) -> float:
        steps = float(np.maximum(requests.output_tokens - 1, 0).mean())
        base_s, each_s = self.decode_s
        if self.slots is None:
            return 1 / (each_s * steps) if each_s * steps > 0 else math.inf
        first_s = self.first_s[0] + self.first_s[1] * float(requests.prompt_tokens.mean())
        return self.slots / (first_s + (base_s + each_s * (self.slots - 1)) * steps)

    def expected_s(self, requests: Arrivals) -> Floats:
        first_s = self.first_s[0] + self.first_s[1] * requests.prompt_tokens
        return np.asarray(first_s + self.decode_s[0] * np.maximum(requests.output_tokens - 1, 0))

    def latencies(self, requests: Arrivals, rng: np.random.Generator) -> Latencies:
        count = len(requests.sent_s)
        steps = np.maximum(requests.output_tokens - 1, 0)
        first_s = self.first_s[0] + self.first_s[1] * requests.prompt_tokens
        first_s = first_s * self.first_factors[rng.integers(len(self.first_factors), size=count)]
        work = steps * self.decode_factors[rng.integers(len(self.decode_factors), size=count)]
        if self.shares_decoding:
            first_at, end_at = self._shared(requests.sent_s, first_s, work)
        else:
            service_s = first_s + work * self.decode_s[0]
            start_s = _starts(requests.sent_s, service_s, self.slots)
            first_at, end_at = start_s + first_s, start_s + service_s
        return latencies_of(requests, first_at, end_at)

    def _shared(self, sent_s: Floats, first_s: Floats, work: Floats) -> tuple[Floats, Floats]:
        """Return when first and last tokens come, if all running requests generate at one speed.

        An answer ends when a clock that runs at this speed has counted its work, in tokens.
        """
        base_s, each_s = self.decode_s
        slots = self.slots or len(sent_s)
        arrivals, firsts, works, count = sent_s.tolist(), first_s.tolist(), work.tolist(), len(sent_s)
        first_at, end_at = [0.0] * count, [0.0] * count
        decoding: list[tuple[float, int]] = []
        starting: list[tuple[float, int]] = []
        waiting: deque[int] = deque()
        now = clock = 0.0
        running = arrived = ended = 0
        while ended < count:
            token_s = base_s + each_s * (running - 1 if running else 0)
            next_arrival = arrivals[arrived] if arrived < count else math.inf
            next_first = starting[0][0] if starting else math.inf
            next_end = now + (decoding[0][0] - clock) * token_s if decoding else math.inf
            if next_end <= next_arrival and next_end <= next_first:
                clock, row = heapq.heappop(decoding)
                now = end_at[row] = next_end
                ended, running = ended + 1, running - 1
                if waiting:
                    row, running = waiting.popleft(), running + 1
                    heapq.heappush(starting, (now + firsts[row], row))
                continue
            at = next_first if next_first <= next_arrival else next_arrival
            clock, now = clock + (at - now) / token_s, at
            if next_first <= next_arrival:
                row = heapq.heappop(starting)[1]
                first_at[row] = now
                heapq.heappush(decoding, (clock + works[row], row))
            else:
                if running < slots:
                    running += 1
                    heapq.heappush(starting, (now + firsts[arrived], arrived))
                else:
                    waiting.append(arrived)
                arrived += 1
        return np.array(first_at), np.array(end_at)


def _starts(sent_s: Floats, service_s: Floats, slots: int | None) -> Floats:
    """When each request starts: at once, or when a slot is free."""
    if slots is None or slots >= len(sent_s):
        return sent_s
    free, starts = [0.0] * slots, sent_s.tolist()
    for row, (sent, service) in enumerate(zip(starts[:], service_s.tolist(), strict=True)):
        start = free[0] if free[0] > sent else sent
        starts[row] = start
        heapq.heapreplace(free, start + service)
    return np.array(starts)


def _fit_slots(sent_s: Floats, first_s: Floats, end_s: Floats) -> tuple[int | None, Floats]:
    """Return the number of slots, None if no request waited for one, and when each request started.

    Request i starts when fewer than ``slots`` of those before it are unfinished: at the (i - slots)th end in order
    (J. Kiefer and J. Wolfowitz, "On the theory of queues with many servers", 1955). ``slots`` is the number for which
    the times from this start to the first token are most alike. All times in s, shape (n,), in the order of sending.
    """
    ends = np.sort(end_s)
    in_flight = int((np.arange(1, len(sent_s) + 1) - np.searchsorted(ends, sent_s, side="right")).max())
    more = np.geomspace(1, in_flight, MORE_SLOTS).round().astype(int)
    numbers = sorted({*range(1, min(in_flight, FIRST_SLOTS) + 1), *more.tolist()})
    best, fewest, starts = math.inf, numbers[-1], sent_s
    for slots in numbers:
        start_s = sent_s.copy()
        start_s[slots:] = np.maximum(sent_s[slots:], ends[: len(ends) - slots])
        to_first_s = first_s - start_s
        spread = float(np.abs(to_first_s - np.median(to_first_s)).mean())
        score = spread * (1 + IMPOSSIBLE_WEIGHT * float((to_first_s < 0).mean()))
        if score < best * (1 - 1e-3):
            best, fewest, starts = score, slots, start_s
    return (None if fewest >= in_flight else fewest), starts


def _fit_decoding(start_s: Floats, first_s: Floats, end_s: Floats, steps: Floats) -> tuple[tuple[float, float], Floats]:
    """Return the seconds for a token, (on an idle server, more for each other running request), and the factors."""
    rows = (steps > 0) & (end_s > first_s)
    if not rows.any():
        return (0.0, 0.0), np.ones(1)
    token_s = (end_s - first_s)[rows] / steps[rows]
    others = _mean_running(start_s, end_s, first_s[rows], end_s[rows]) - 1
    base_s, each_s = _line(others, token_s)
    error = float(np.std(token_s - base_s - each_s * others)) / max(float(others.std()), 1e-9) / math.sqrt(rows.sum())
    if each_s < SLOPE_ERRORS * error or each_s * others.std() < SLOPE_FRACTION * token_s.mean():
        base_s, each_s = float(token_s.mean()), 0.0
    base_s = max(base_s, LEAST_BASE * float(token_s.mean()))
    return (base_s, each_s), np.asarray(token_s / (base_s + each_s * others))


def _mean_running(start_s: Floats, end_s: Floats, from_s: Floats, until_s: Floats) -> Floats:
    """The mean number of requests between their start and their end in each of the spans ``from_s`` to ``until_s``."""
    at = np.sort(np.concatenate((start_s, end_s)))
    running = np.searchsorted(np.sort(start_s), at, side="right") - np.searchsorted(np.sort(end_s), at, side="right")
    area = np.concatenate(([0.0], np.cumsum(running[:-1] * np.diff(at))))
    return np.asarray((np.interp(until_s, at, area) - np.interp(from_s, at, area)) / (until_s - from_s))


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """The constant and the slope of a line by least squares; neither is negative."""
    variance = float(x.var())
    slope = max(0.0, float(((x - x.mean()) * (y - y.mean())).mean()) / variance) if variance > 1e-12 else 0.0
    constant = float(y.mean() - slope * x.mean())
    return (constant, slope) if constant > 0 else (LEAST_TIME_S, float(y.mean() / max(x.mean(), 1e-12)))
