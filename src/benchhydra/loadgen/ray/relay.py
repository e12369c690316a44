"""The actor on a node of a cluster: it starts a client process there and relays its frames.

The client process is the same program as on one machine (``processes.child``); no Ray code runs in it.
"""

from __future__ import annotations

import socket
from time import monotonic_ns

from benchhydra.loadgen.processes.frames import GO, STOP, frame
from benchhydra.loadgen.processes.parent import ClientProcess

#: Size of the pieces in which a shard is sent. Ray puts arguments over 100 kB into a store that may spill to disk, and
#: shards contain the server's API key.
PIECE_BYTES = 64 * 1024

#: Frames of the client process, and its exit code after it has ended.
Output = tuple[list[tuple[bytes, bytes]], int | None]


class Relay:
    """One client process on this node. Its methods are called from several threads at once."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._child: ClientProcess | None = None

    def host(self) -> str:
        return socket.gethostname()

    def now_ns(self) -> int:
        """Return this node's CLOCK_MONOTONIC, which the client process also uses."""
        return monotonic_ns()

    def add_piece(self, number: int, piece: bytes) -> None:
        """Store a piece of the shard. Pieces may arrive in any order."""
        self._pieces[number] = piece

    def open(self) -> None:
        """Start the client process with the shard. ``read`` returns its output."""
        self._child = ClientProcess(b"".join(piece for _, piece in sorted(self._pieces.items())))
        self._pieces.clear()

    def go(self, start_ns: int) -> None:
        """Start sending the shard at ``start_ns`` of this node's clock."""
        self._process.write(frame(GO, b"%d" % start_ns))

    def stop(self) -> None:
        """Stop sending."""
        self._process.write(frame(STOP))

    def read(self) -> Output:
        """Wait for output of the client process, and return its frames, and its exit code if it has ended."""
        child = self._process
        frames = list(child.read_frames())
        return frames, child.end() if child.output_closed else None

    @property
    def _process(self) -> ClientProcess:
        if self._child is None:
            raise RuntimeError("call open() first")
        return self._child
