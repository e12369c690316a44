"""What the clients of a load do besides sending and reading: cancel some requests, and retry those that failed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

#: The label of rows: how often a request was sent, if failed ones are sent again; 0: not once.
TRIES = "tries"


@dataclass(frozen=True, kw_only=True)
class Cancellations:
    """Which requests are cancelled (1 in ``rows``, by request), and when: after a time, or after chunks of text."""

    rows: bytes
    after_s: float | None = None
    after_chunks: int | None = None

    @property
    def words(self) -> str:
        """When requests are cancelled, for the row."""
        return f"after {self.after_chunks} chunks" if self.after_s is None else f"after {self.after_s:g} s"

    def every_nth(self, first: int, step: int) -> Cancellations:
        """Return those of the requests first, first + step, ..."""
        return Cancellations(rows=self.rows[first::step], after_s=self.after_s, after_chunks=self.after_chunks)


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often a failed request is sent again, and how long the client waits before the first time.

    first, step: row r of the shard is request first + r * step of the load, by which the jitter of waits is drawn, so
    that it does not depend on the number of client processes.
    """

    count: int
    backoff_s: float
    first: int = 0
    step: int = 1

    def every_nth(self, first: int, step: int) -> Retries:
        """Return those of the requests first, first + step, ..."""
        return replace(self, first=self.first + first * self.step, step=self.step * step)


@dataclass(frozen=True, kw_only=True)
class ClientBehaviour:
    """What clients do; None: they do not."""

    cancellations: Cancellations | None = None
    retries: Retries | None = None

    def every_nth(self, first: int, step: int) -> ClientBehaviour:
        """Return the behaviour of the requests first, first + step, ..."""
        return ClientBehaviour(
            cancellations=self.cancellations and self.cancellations.every_nth(first, step),
            retries=self.retries and self.retries.every_nth(first, step),
        )

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> ClientBehaviour:
        """Return the behaviour whose ``dataclasses.asdict`` this is."""
        cancellations, retries = packed["cancellations"], packed["retries"]
        return cls(
            cancellations=Cancellations(**cancellations) if cancellations else None,
            retries=Retries(**retries) if retries else None,
        )
