"""What a lease says of its server, as facts."""

from __future__ import annotations

from typing import Any

from benchhydra.facts import fact
from benchhydra.servers import Lease

fact("server_started", unit="bool", doc="the server was started for this point", in_metadata=True)
fact("server_start_s", unit="s", doc="time from the server's start to its readiness", in_metadata=True)
fact("server_restarted", unit="bool", doc="there was a server for this point, but it had died or hung")
fact("cache_reset", unit="bool", doc="the server's caches were proven empty before the load")


def server_facts(lease: Lease) -> dict[str, Any]:
    """Facts by name; None where the lease does not know."""
    return {
        "server_started": lease.fresh,
        "server_start_s": lease.start_s,
        "server_restarted": lease.restarted,
        "cache_reset": lease.cache_reset,
    }
