"""Frames on the pipes between a client process and its parent.

A frame is a kind (one byte), a length (8 bytes, little endian) and that many bytes. To the process: SHARD, GO (at ns),
STOP. From it: READY, PROGRESS, DONE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from benchhydra.loadgen.processes.serialization import unpack_result
from benchhydra.loadgen.shards import ShardProgress, ShardResult

SHARD, GO, STOP = b"S", b"G", b"X"
READY, PROGRESS, DONE = b"R", b"P", b"D"
HEAD_BYTES = 9


def frame(kind: bytes, body: bytes = b"") -> bytes:
    """Return a frame as bytes."""
    return kind + len(body).to_bytes(8, "little") + body


def body_bytes(head: bytes | bytearray) -> int:
    """Return the length of a frame's body from its first ``HEAD_BYTES``."""
    return int.from_bytes(head[1:HEAD_BYTES], "little")


def take_frames(received: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Remove all complete frames from the start of ``received``, and yield their kinds and bodies."""
    while len(received) >= HEAD_BYTES:
        end = HEAD_BYTES + body_bytes(received)
        if len(received) < end:
            return
        yield bytes(received[:1]), bytes(received[HEAD_BYTES:end])
        del received[:end]


def progress_frame(progress: ShardProgress) -> bytes:
    """Return a PROGRESS frame."""
    return frame(PROGRESS, msgspec.msgpack.encode(progress))


class ShardOwner(Protocol):
    """Stores what its client process reports."""

    ready: bool
    result: ShardResult | None


def apply_frame(
    owner: ShardOwner, part: int, kind: bytes, body: bytes, report: Callable[[int, ShardProgress], None]
) -> None:
    """Store readiness or result of a client process in ``owner``, or pass its progress to ``report``."""
    if kind == READY:
        owner.ready = True
    elif kind == PROGRESS:
        report(part, msgspec.msgpack.decode(body, type=ShardProgress))
    elif kind == DONE:
        owner.result = unpack_result(body)
