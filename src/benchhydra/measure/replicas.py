"""Which of several servers gets a request: decided before the load, so that it is the same for every run."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from benchhydra.loadgen.plan import REPLICA
from benchhydra.servers import Lease

__all__ = ["REPLICA", "dealt_replica", "dealt_replicas", "replica_groups"]


def dealt_replica(row: int, labels: Mapping[str, int], replicas: int, deal: str) -> int:
    """Return the server of a request: each in turn, or with deal="session" all requests of a session the same."""
    session = labels.get("session", -1) if deal == "session" else -1
    return (row if session < 0 else session) % replicas


def dealt_replicas(labels: Mapping[str, array[int]], count: int, replicas: int, deal: str) -> array[int]:
    """Return the servers of ``count`` requests with columns of labels."""
    sessions = labels.get("session", array("i", [-1]) * count)
    return array("i", (dealt_replica(row, {"session": sessions[row]}, replicas, deal) for row in range(count)))


def replica_groups(urls: Sequence[str], lease: Lease) -> dict[str, Sequence[str]]:
    """Return the names of the servers for figures by server: numbers of those that were started, else their URLs."""
    if not urls:
        return {}
    return {REPLICA: urls if lease.pid is None else [str(number) for number in range(len(urls))]}
