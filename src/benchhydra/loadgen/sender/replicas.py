"""The requests in flight to several servers: each server has connections of its own, and each request is for one.

A request's server is its label ``replica``, which was decided before the load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchhydra.loadgen.plan import REPLICA
from benchhydra.loadgen.sender.in_flight import InFlight
from benchhydra.loadgen.sender.rows import RowWriter
from benchhydra.loadgen.shards import Shard


class ReplicasInFlight:
    """``InFlight`` for each server of the shard's endpoint, used as one."""

    def __init__(
        self,
        shard: Shard,
        rows: RowWriter,
        on_end: Callable[[int, int], None],
        on_crash: Callable[[BaseException], None],
        take: Callable[[int], bytes],
    ) -> None:
        self.open_files_limit = 0  # known when ``open`` has ended
        self._replica_of = shard.requests.labels[REPLICA]
        self._parts = [
            InFlight(replace(shard, endpoint=shard.endpoint.replica(number)), rows, on_end, on_crash, take)
            for number in range(len(shard.endpoint.replica_urls))
        ]

    async def open(self) -> None:
        """Open connections to each server before the window."""
        for part in self._parts:
            await part.open()
        self.open_files_limit = max(part.open_files_limit for part in self._parts)

    def send(self, row: int, ready_ns: int) -> None:
        """Send a request to its server."""
        self._parts[self._replica_of[row]].send(row, ready_ns)

    def cancel(self, text: str) -> None:
        """End all requests in flight as CANCELLED."""
        for part in self._parts:
            part.cancel(text)

    def give_up_after(self, timeout_s: float, now_ns: int) -> None:
        """End the requests that exceed the timeout."""
        for part in self._parts:
            part.give_up_after(timeout_s, now_ns)

    def cancel_due(self, now_ns: int) -> None:
        """End the requests that the client cancels by now."""
        for part in self._parts:
            part.cancel_due(now_ns)

    async def close(self) -> None:
        """Close the idle connections."""
        for part in self._parts:
            await part.close()

    async def abort(self) -> None:
        """Close the connections of requests in flight, without recording rows."""
        for part in self._parts:
            await part.abort()
