"""What runs on a node of a cluster: an actor that starts a client process there, and hands on what it is told.

The sending itself is the same process as on one machine (``child``): nothing of the cluster's runs in it.
"""

from __future__ import annotations

import socket
from time import monotonic_ns

from benchhydra.loadgen.processes.child import frame
from benchhydra.loadgen.processes.parent import ClientProcess

#: Pieces of shares that travel inside a call. Beyond 100 kB Ray puts arguments into a store that may spill to disk,
#: and shares hold the server's key.
PIECE_BYTES = 64 * 1024

Said = tuple[list[tuple[bytes, bytes]], int | None]


class Relay:
    """One client process on this node. Its methods are called from several threads at once."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._child: ClientProcess | None = None

    def host(self) -> str:
        return socket.gethostname()

    def now_ns(self) -> int:
        """This node's CLOCK_MONOTONIC, which the client process has too."""
        return monotonic_ns()

    def take(self, number: int, piece: bytes) -> None:
        """A piece of the share. Pieces may arrive in any order."""
        self._pieces[number] = piece

    def open(self) -> None:
        """Start the client process with all pieces. What it says comes through ``heard``."""
        self._child = ClientProcess(b"".join(piece for _, piece in sorted(self._pieces.items())))
        self._pieces.clear()

    def go(self, start_ns: int) -> None:
        """Send, the first at this time of this node plus its offset."""
        self._process.tell(frame(b"G", b"%d" % start_ns))

    def stop(self) -> None:
        """Send no more."""
        self._process.tell(frame(b"X"))

    def heard(self) -> Said:
        """Wait for what it says: frames, and its exit code once it is gone."""
        child = self._process
        frames = list(child.listen())
        return frames, child.end() if child.over else None

    @property
    def _process(self) -> ClientProcess:
        if self._child is None:
            raise RuntimeError("open() comes first")
        return self._child
