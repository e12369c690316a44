"""The limits of this machine on connections: open files and local ports. They are raised, or foreseen before a load.

Each connection takes a file descriptor of its process and a local port. The soft limit of open files is often 1024;
``raise_open_files`` raises it up to the hard limit, which only root can raise. A load that certainly needs more than
there are is refused by ``check_connections``; one that only may need more (the number of requests in flight of an open
loop depends on the server) is sent, and requests that fail are recorded as ``Status.CLIENT_LIMIT``.
"""

from __future__ import annotations

import math
import resource
from pathlib import Path

from benchhydra.errors import ConfigError
from benchhydra.facts import fact

#: Files that a client process may need apart from its connections: libraries, pipes to helpers, event loop, results ...
OTHER_FILES = 64
#: ... and those that it needs in any case.
FEWEST_OTHER_FILES = 16
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

OPEN_FILES_LIMIT = fact(
    "open_files_limit", unit="files", doc="soft limit of open files of a client process (ulimit -n)"
)


def raise_open_files(connections: int) -> int:
    """Raise the soft limit of open files to what connections need, at most to the hard one. Returns the soft limit."""
    soft, hard = (_finite(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    needed = min(hard, connections + OTHER_FILES + sum(1 for _ in Path("/proc/self/fd").iterdir()))
    if needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        soft = needed
    return soft


def check_connections(connections: int, processes: int, cause: str) -> None:
    """Raise ConfigError if this machine cannot open so many connections at once, spread over client processes.

    cause: what needs them, as it was typed (``load.max_in_flight=5000``).
    """
    each = math.ceil(connections / processes)
    if each > most_connections():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        share = f"{connections:,} connections at once" + (f" in {processes} client processes" if processes > 1 else "")
        raise ConfigError(
            f"{cause} needs {share}, but a process may open only {hard:,} files",
            hint=f"ulimit -n {each + OTHER_FILES} as root, or at most {most_connections():,} connections a process",
        )
    ports = local_ports()
    if connections > len(ports) > 0:
        raise ConfigError(
            f"{cause} needs {connections:,} connections at once, but this machine has only {len(ports):,} local ports "
            f"(net.ipv4.ip_local_port_range is {ports.start} {ports.stop - 1})",
            hint='sysctl -w net.ipv4.ip_local_port_range="1024 65535"',
        )


def most_connections() -> int:
    """Return how many connections a client process can have at most."""
    return max(1, _finite(resource.getrlimit(resource.RLIMIT_NOFILE)[1]) - FEWEST_OTHER_FILES)


def local_ports() -> range:
    """Return the ports that connections to a server get; empty if they are unknown."""
    try:
        first, last = map(int, PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        return range(0)
    return range(first, last + 1)


def _finite(limit: int) -> int:
    return 2**31 - 1 if limit == resource.RLIM_INFINITY else limit
