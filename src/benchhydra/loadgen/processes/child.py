"""A client process: a share on standard input, "ready" and then rows on standard output.

Frames are a kind (one byte), a length (8 bytes, little endian) and that many bytes. In: S(hare), G(o at ns), X (stop).
Out: R(eady), P(rogress), D(one). The end of standard input means that the parent is gone, and ends it too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import msgspec
import uvloop

from benchhydra.loadgen.processes.serialization import pack_result, unpack_shard
from benchhydra.loadgen.sender.sender import Sender
from benchhydra.loadgen.shards import ShardProgress


def frame(kind: bytes, body: bytes = b"") -> bytes:
    """A frame as it goes through the pipe."""
    return kind + len(body).to_bytes(8, "little") + body


def _read() -> tuple[bytes, bytes]:
    head = _exactly(9)
    if len(head) < 9:
        return b"X", b""
    return head[:1], _exactly(int.from_bytes(head[1:], "little"))


def _exactly(count: int) -> bytes:
    """Bytes from the pipe, fewer at its end. Unbuffered: an X that comes behind a G is for the loop to be told of."""
    data = bytearray()
    while len(data) < count and (part := os.read(0, min(count - len(data), 1 << 20))):
        data += part
    return bytes(data)


def _write(kind: bytes, body: bytes = b"") -> None:
    sys.stdout.buffer.write(frame(kind, body))
    sys.stdout.buffer.flush()


def _report(count: ShardProgress) -> None:
    _write(b"P", msgspec.msgpack.encode((count.done, count.failed, count.ttft_sum_ns, count.ttft_count)))


async def _run(share_bytes: bytes) -> None:
    sender = Sender(unpack_shard(share_bytes), _report)
    await sender.open()
    _write(b"R")
    kind, start = _read()
    if kind != b"G":
        return
    loop = asyncio.get_running_loop()

    def told() -> None:
        os.read(0, 64)  # X, or the end of the parent
        loop.remove_reader(0)
        sender.stop()

    loop.add_reader(0, told)
    sent = await sender.send(int(start))
    loop.remove_reader(0)
    _write(b"D", pack_result(sent))


def main() -> None:
    """Send one share."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and says so through the pipe
    kind, share_bytes = _read()
    if kind == b"S":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(share_bytes))


if __name__ == "__main__":
    main()
