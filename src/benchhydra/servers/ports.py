"""Loopback ports: find a free one, and check which process listens on one, so that no stale server is measured."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path

LISTEN = "0A"


def free_port() -> int:
    """Return a port that is free now; another program may take it before it is used."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Return whether a port accepts connections; sends nothing, and is far faster than ``listeners``."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listeners(port: int) -> set[int]:
    """Return the inodes of the sockets that listen on a TCP port, of all processes on this machine."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(int(fields[9]))
    return inodes


def sockets(pids: Iterable[int]) -> set[int]:
    """Return the inodes of all sockets that these processes have open."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                inodes |= _inode(link)
    return inodes


def owned(port: int, pids: Iterable[int]) -> bool | None:
    """Return whether every listener on ``port`` belongs to ``pids``; None if there is no listener."""
    inodes = listeners(port)
    return inodes <= sockets(pids) if inodes else None


def _inode(link: Path) -> set[int]:
    with contextlib.suppress(OSError):
        target = str(link.readlink())
        if target.startswith("socket:["):
            return {int(target[8:-1])}
    return set()
