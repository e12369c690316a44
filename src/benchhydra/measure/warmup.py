"""How many requests warm a server up, and which warm-ups a server has already had."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

from benchhydra.errors import ConfigError
from benchhydra.facts import fact

LEAST_REQUESTS = 8

fact("warmup_requests", unit="requests", doc="requests sent before the load to warm the server up", in_metadata=True)


def check_warmup(requests: int | None) -> None:
    """Raise ConfigError if ``script.warmup_requests`` is negative."""
    if requests is not None and requests < 0:
        raise ConfigError(f"script.warmup_requests={requests} is negative", hint="0 for none")


def warmup_count(configured: int | None, planned: int, max_in_flight: int | None) -> int:
    """Return how many warm-up requests to send at once: as configured, else as many as the load may have in flight.

    At least ``LEAST_REQUESTS``, which is also the value if the load has no ``max_in_flight``.
    """
    if configured is not None:
        return configured
    return max(LEAST_REQUESTS, min(max_in_flight or 0, planned))


@dataclass(frozen=True, kw_only=True)
class WarmupHistory:
    """The warm-ups of one server by kind of request: (requests at once, longest prompt in tokens)."""

    by_kind: MutableMapping[str, tuple[int, int]]

    def covers(self, kind: str, count: int, longest: int) -> bool:
        """Return whether a warm-up of this kind had at least as many requests and as long a prompt."""
        max_count, max_longest = self.by_kind.get(kind, (0, 0))
        return count <= max_count and longest <= max_longest

    def add(self, kind: str, count: int, longest: int) -> None:
        """Record a warm-up, unless one with more requests is recorded."""
        if count >= self.by_kind.get(kind, (0, 0))[0]:
            self.by_kind[kind] = count, longest
