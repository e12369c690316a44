"""Limits of a service level objective: what is limited, and how much of it is allowed."""

from __future__ import annotations

from dataclasses import dataclass

#: Limits on the fraction of requests that may be bad, instead of on a metric.
SHARE, FAILED_FRACTION = "share", "failed_fraction"


@dataclass(frozen=True, kw_only=True)
class SloLimit:
    """One limit of the root key ``slo``.

    name: ``p99_ttft_ms``, ``share``, ``output_throughput``. bound: in the metric's unit. is_upper: whether the value
    must be at most the bound (otherwise at least). column: the window's column of a limit on a latency. allowed: the
    fraction of values that may lie beyond the bound, for percentiles and fractions; None for means and other metrics.
    """

    name: str
    bound: float
    is_upper: bool = True
    column: str | None = None
    with_failures: bool = False
    allowed: float | None = None

    @property
    def is_sampled(self) -> bool:
        """Whether the limit is on values of single requests, so that its uncertainty can be estimated."""
        return self.column is not None or self.allowed is not None

    def __str__(self) -> str:
        if self.name == SHARE:
            return f"share of requests within their limits >= {self.bound:g}"
        return f"{self.name} {'<=' if self.is_upper else '>='} {self.bound:g}"
