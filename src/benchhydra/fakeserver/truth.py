"""The server of ``benchhydra calibrate``: records when each request arrived and when its first token was sent.

The times are those of CLOCK_MONOTONIC, which the client reads too. The server does as little as possible (no HTTP
library, one write per chunk), so that ``benchhydra calibrate`` measures the client's error. A request's prompt is its
number. ``GET /truth`` returns one line per request, ``number received_ns first_ns``, and clears them. The server ends
when its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from time import monotonic_ns
from typing import cast

import uvloop

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb'"prompt": *"(\d+)"')
_TOKENS = re.compile(rb'"max_tokens": *(\d+)')
_BEGIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _event(text: str) -> bytes:
    body = {"id": "t", "object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": None}]}
    return _chunk(b"data: " + json.dumps(body).encode() + b"\n\n")


_TOKEN = _event(" w")


def _end(tokens: int) -> bytes:
    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": 1 + tokens}}
    return _chunk(b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n") + b"0\r\n\r\n"


class TimedConnection(asyncio.Protocol):
    """A connection whose requests come one after another. ``times``: number, received_ns and first_ns of requests."""

    def __init__(self, times: list[tuple[int, int, int]], ttft_s: float, itl_s: float) -> None:
        self._times, self._ttft_s, self._itl_s = times, ttft_s, itl_s
        self._loop = asyncio.get_running_loop()
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are not subclasses of it

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        received_ns = monotonic_ns()
        self._read += data
        head, separator, body = self._read.partition(_HEAD_END)
        length = _LENGTH.search(head)
        if not separator or (length and len(body) < int(length[1])):
            return
        self._read = b""
        if head.startswith(b"GET /truth"):
            self._send_times()
        else:
            self._answer(body, received_ns)

    def _answer(self, body: bytes, received_ns: int) -> None:
        number, tokens = _NUMBER.search(body), _TOKENS.search(body)
        if number is None or tokens is None:
            self._write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        self._loop.call_later(self._ttft_s, self._send_first, int(number[1]), int(tokens[1]), received_ns)

    def _send_first(self, number: int, tokens: int, received_ns: int) -> None:
        self._write(_BEGIN + _TOKEN)
        self._times.append((number, received_ns, monotonic_ns()))
        self._schedule_next(1, tokens, self._loop.time() + self._itl_s)

    def _schedule_next(self, sent: int, tokens: int, due_s: float) -> None:
        if sent < tokens:
            self._loop.call_at(due_s, self._send_next, sent, tokens, due_s)
        else:
            self._write(_end(tokens))

    def _send_next(self, sent: int, tokens: int, due_s: float) -> None:
        self._write(_TOKEN)
        self._schedule_next(sent + 1, tokens, due_s + self._itl_s)

    def _send_times(self) -> None:
        body = "".join(f"{number} {received} {first}\n" for number, received, first in self._times).encode()
        self._times.clear()
        self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def main(argv: list[str] | None = None) -> None:
    """Serve on a free loopback port, and print the port on standard output."""
    parser = argparse.ArgumentParser(prog="benchhydra.fakeserver.truth", allow_abbrev=False)
    parser.add_argument("--ttft-ms", type=float, default=50.0)
    parser.add_argument("--itl-ms", type=float, default=10.0)
    args = parser.parse_args(argv)
    uvloop.run(_serve(args.ttft_ms / 1e3, args.itl_ms / 1e3))


async def _serve(ttft_s: float, itl_s: float) -> None:
    loop, times = asyncio.get_running_loop(), list[tuple[int, int, int]]()
    server = await loop.create_server(lambda: TimedConnection(times, ttft_s, itl_s), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    closed = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), closed.set)
    await closed.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


if __name__ == "__main__":
    main()
