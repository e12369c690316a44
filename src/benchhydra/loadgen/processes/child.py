"""A client process: reads a shard from standard input, writes READY and then the result to standard output.

It exits at the end of standard input, which means that the parent has ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from benchhydra.loadgen.processes.frames import (
    DONE,
    GO,
    HEAD_BYTES,
    READY,
    SHARD,
    STOP,
    body_bytes,
    frame,
    progress_frame,
)
from benchhydra.loadgen.processes.serialization import pack_result, unpack_shard
from benchhydra.loadgen.sender.sender import Sender


def _read() -> tuple[bytes, bytes]:
    head = _read_exactly(HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        return STOP, b""
    return head[:1], _read_exactly(body_bytes(head))


def _read_exactly(count: int) -> bytes:
    """Return ``count`` bytes, or fewer at the end. Unbuffered, because a STOP after GO is read later by the loop."""
    data = bytearray()
    while len(data) < count and (part := os.read(0, min(count - len(data), 1 << 20))):
        data += part
    return bytes(data)


def _write(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the parent was killed
        os._exit(1)


async def _run(shard_bytes: bytes) -> None:
    sender = Sender(unpack_shard(shard_bytes), lambda progress: _write(progress_frame(progress)))
    await sender.open()
    _write(frame(READY))
    kind, start = _read()
    if kind != GO:
        return
    loop = asyncio.get_running_loop()

    def stop() -> None:
        os.read(0, 64)  # STOP, or end of file because the parent has ended
        loop.remove_reader(0)
        sender.stop()

    loop.add_reader(0, stop)
    result = await sender.send(int(start))
    loop.remove_reader(0)
    _write(frame(DONE, pack_result(result)))


def main() -> None:
    """Send one shard."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles signals, and sends STOP through the pipe
    kind, shard_bytes = _read()
    if kind == SHARD:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(shard_bytes))


if __name__ == "__main__":
    main()
