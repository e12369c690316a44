"""A stand-in for a router: a TCP proxy that gives each connection to the next server. HOST PORT URL..."""

from __future__ import annotations

import asyncio
import itertools
import sys
from urllib.parse import urlsplit


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


async def serve(host: str, port: int, urls: list[str]) -> None:
    targets = itertools.cycle([(url.hostname, url.port) for url in map(urlsplit, urls)])

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*next(targets))
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(connected, host, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
