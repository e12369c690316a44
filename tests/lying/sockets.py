"""Plays the simulated server over real sockets in real time, to show that virtual time is faithful."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic_ns

from tests.loadgen.servers import served
from tests.lying.server import LyingServer, read_request


@contextmanager
def served_by(server: LyingServer) -> Iterator[str]:
    """The base URL of a simulated server, in a thread of its own."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await _answer_one(server, reader, writer):
                pass
        writer.close()

    with served(answer) as port:
        yield f"http://127.0.0.1:{port}"


async def _answer_one(server: LyingServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer the next request of a connection. Returns whether the connection stays open."""
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
    for at_ns, data in server.answer(read_request(head + body), monotonic_ns()):
        await asyncio.sleep((at_ns - monotonic_ns()) / 1e9)
        if data is None:
            return False
        if not data:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        writer.write(data)
        await writer.drain()
    return True
