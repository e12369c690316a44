"""A TCP proxy that passes everything on after a delay, both ways: ``python delay_proxy.py TARGET_PORT DELAY_MS``.

It prints the port on which it listens, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Write what is read, ``delay_s`` later and in order."""
    loop = asyncio.get_running_loop()
    while data := await reader.read(1 << 16):
        loop.call_later(delay_s, writer.write, data)
    await asyncio.sleep(delay_s)
    writer.close()


async def serve(target_port: int, delay_s: float) -> None:
    """Serve until standard input ends."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target_port)
        there, back = pass_on(reader, far_writer, delay_s), pass_on(far_reader, writer, delay_s)
        with contextlib.suppress(asyncio.CancelledError):  # the end of this program
            await asyncio.gather(there, back, return_exceptions=True)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1e3))
