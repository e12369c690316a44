"""What runs on a node of a cluster: an actor that starts a client process there and relays its frames.

The sending itself is done by the same program as on one machine (``processes.child``): nothing of Ray runs in it.
"""

from __future__ import annotations

import socket
from time import monotonic_ns

from benchhydra.loadgen.processes.frames import GO, STOP, frame
from benchhydra.loadgen.processes.parent import ClientProcess

#: Pieces of shards that travel inside a call. Beyond 100 kB Ray puts arguments into a store that may spill to disk,
#: and shards hold the server's key.
PIECE_BYTES = 64 * 1024

#: Frames of the client process, and its exit code once it is gone.
Output = tuple[list[tuple[bytes, bytes]], int | None]


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

    def add_piece(self, number: int, piece: bytes) -> None:
        """Keep a piece of the shard. Pieces may arrive in any order."""
        self._pieces[number] = piece

    def open(self) -> None:
        """Start the client process with all pieces. What it writes is returned by ``read``."""
        self._child = ClientProcess(b"".join(piece for _, piece in sorted(self._pieces.items())))
        self._pieces.clear()

    def go(self, start_ns: int) -> None:
        """Send the shard, beginning at this time of this node."""
        self._process.write(frame(GO, b"%d" % start_ns))

    def stop(self) -> None:
        """Send no more."""
        self._process.write(frame(STOP))

    def read(self) -> Output:
        """Wait for what the client process writes."""
        child = self._process
        frames = list(child.read_frames())
        return frames, child.end() if child.over else None

    @property
    def _process(self) -> ClientProcess:
        if self._child is None:
            raise RuntimeError("open() comes first")
        return self._child
