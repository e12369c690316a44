"""How many requests warm a server up, and which warm-ups it need not have again."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

from benchhydra.errors import ConfigError
from benchhydra.facts import fact

LEAST_REQUESTS = 8

fact("warmup_requests", unit="requests", doc="requests sent before the load to warm the server up", in_metadata=True)


def check_warmup(requests: int | None) -> None:
    """Raise ConfigError where ``script.warmup_requests`` makes no sense."""
    if requests is not None and requests < 0:
        raise ConfigError(f"script.warmup_requests={requests} is negative", hint="0 for none")


def warmup_count(configured: int | None, planned: int, max_in_flight: int | None) -> int:
    """How many requests, all at once: as configured, else as many as the load may have under way.

    Where the rate decides how many those are, and no limit is known, it is ``LEAST_REQUESTS``.
    """
    if configured is not None:
        return configured
    return max(LEAST_REQUESTS, min(max_in_flight or 0, planned))


@dataclass(frozen=True, kw_only=True)
class WarmupHistory:
    """The warm-ups that one server has had, by kind of request: how many at once, and their longest prompt."""

    by_kind: MutableMapping[str, tuple[int, int]]

    def covers(self, kind: str, count: int, longest: int) -> bool:
        """Whether it has had at least as many requests of this kind, at least as long."""
        known_count, known_longest = self.by_kind.get(kind, (0, 0))
        return count <= known_count and longest <= known_longest

    def add(self, kind: str, count: int, longest: int) -> None:
        """Remember a warm-up, unless a larger one is known."""
        if count >= self.by_kind.get(kind, (0, 0))[0]:
            self.by_kind[kind] = count, longest
