"""What long work says while it runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations


class Progress:
    """Says nothing. The base of what shows progress, and what tests pass."""

    def say(self, text: str) -> None:
        """One lasting line: something happened."""

    def status(self, text: str) -> None:
        """What is going on now; replaces the last status."""

    def requests(
        self, done: int, total: int, failed: int, rate_rps: float | None, ttft_ms: float | None, left_s: float | None
    ) -> None:
        """How far the load is: called a few times a second at the most."""
