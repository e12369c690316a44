"""Ends a load as soon as it is sure whether the service level objective is met.

A search for a limit needs many requests only near the limit; far from it, the first hundreds decide. About once a
second the requests that have ended are looked at, but only if there are ``GROWTH`` times as many as at the last look,
so that a load is looked at a few tens of times at most. A limit is

- missed, if even the lower end of an interval of ``CRITICAL_Z`` standard errors is ``MARGIN`` times the limit, or if a
  queue grows (the verdict's rule on overload);
- met, if the upper end is ``MARGIN`` times below the limit.

The standard errors count independent requests (``metrics/slo.py``). In between, the load runs to its end. Only requests
after the warm-up, and sent before the oldest one in flight, count: of those sent later, the fast ones have ended first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from benchhydra.metrics.slo import limit_figures
from benchhydra.records import Records
from benchhydra.slo import SloLimit
from benchhydra.validity.overload import backlog
from benchhydra.window import Window, mark_phases

Decision = Literal["met", "missed"]

#: Fewest requests that may decide, and fewest independent ones.
LEAST_REQUESTS, LEAST_SAMPLES = 100, 20.0
#: The next look is at so many times the requests.
GROWTH = 1.2
#: With thirty looks, one in some thousand loads just at ``MARGIN`` would be decided wrongly.
CRITICAL_Z = 4.0
MARGIN = 1.5
#: A queue grows if less than this fraction of the offered rate is finished, as in the verdict.
REACHED_FRACTION = 0.95


@dataclass(kw_only=True)
class EarlyStop:
    """Decides from the requests that have ended. request_limits: in ms, by column (``ttft_ms``).

    has_rate: the load is open and of a constant rate, so that rising latencies mean a growing queue. warmup_s: the
    first seconds of the load, whose requests do not count. next_count: requests that the next look needs.
    """

    request_limits: Mapping[str, float]
    limits: tuple[SloLimit, ...]
    has_rate: bool
    warmup_s: float = 0.0
    next_count: int = field(init=False, default=LEAST_REQUESTS)

    def decide(self, records: Records) -> Decision | None:
        """Return the decision on the rows that were sent before the oldest one in flight; None if it is open."""
        if self.warmup_s:
            records = mark_phases(records, self.warmup_s, cooldown_s=0.0).measured()
        if len(records) < self.next_count:
            return None
        self.next_count = math.ceil(GROWTH * len(records))
        window = Window.over(records, slo=self.request_limits, limits=self.limits)
        if self.has_rate and _queue_grows(window):
            return "missed"
        bounds = [_bounds(window, limit) for limit in self.limits]
        if any(low > MARGIN for low, _ in bounds):
            return "missed"
        return "met" if bounds and all(high < 1 / MARGIN for _, high in bounds) else None


def _bounds(window: Window, limit: SloLimit) -> tuple[float, float]:
    """Return the interval of the ratio to a limit; (0, inf) if it is unknown."""
    figures = limit_figures(window, limit) if limit.column != "itl_ms" else None
    if figures is None or figures.samples < LEAST_SAMPLES:
        return 0.0, math.inf
    ratio, samples = figures
    if limit.allowed is None:
        factor = math.exp(CRITICAL_Z / math.sqrt(samples))
        return ratio / factor, ratio * factor
    low, high = wilson_interval(min(ratio * limit.allowed, 1.0), samples, CRITICAL_Z)
    return low / limit.allowed, high / limit.allowed


def wilson_interval(fraction: float, samples: float, z: float) -> tuple[float, float]:
    """Return the score interval of a fraction (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    center = (fraction + z**2 / (2 * samples)) / (1 + z**2 / samples)
    half = z / (1 + z**2 / samples) * math.sqrt(fraction * (1 - fraction) / samples + z**2 / (4 * samples**2))
    return max(0.0, center - half), min(1.0, center + half)


def _queue_grows(window: Window) -> bool:
    order = np.argsort(window.sent_ns, kind="stable")
    order = order[window.completed[order]]
    if len(order) < LEAST_REQUESTS:
        return False
    at_s = (window.sent_ns[order] - window.sent_ns[order[0]]) / 1e9
    first_ms, all_ms = window.ttft_ms[order], window.e2el_ms[order]
    waits = not np.isnan(first_ms).any()
    return bool(at_s[-1] > 0 and backlog(at_s, first_ms if waits else all_ms, REACHED_FRACTION, waits=waits).grows)
