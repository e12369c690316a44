"""The sender with pacings that do their work, and with pacings that do not."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from tests.loadgen.loads import endpoint_of, plan_of
from tests.loadgen.servers import served

from benchhydra.client.connection import Connection
from benchhydra.client.connection_pool import ConnectionPool
from benchhydra.datasets import Prompt
from benchhydra.errors import EngineError
from benchhydra.loadgen import LoadResult, run_load
from benchhydra.loadgen.pacing import Pacing
from benchhydra.loadgen.sender import sender
from benchhydra.progress import Progress
from benchhydra.records import NEVER

EVENTS = (
    b'data: {"choices":[{"text":" x"}]}\n\ndata: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
    b"data: [DONE]\n\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(EVENTS) + EVENTS


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
            writer.write(ANSWER)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(answer) as number:
        yield number


class Scripted(Pacing):
    """Releases what it is told to at its first call, and asks to be woken at given times."""

    def __init__(self, count: int, first: Sequence[int], wake_after_ns: int | None = None) -> None:
        super().__init__(np.zeros(count))
        self._first = first
        self._wake_after_ns = wake_after_ns
        self.calls = 0

    def start(self, start_ns: int) -> None:
        self.wake_ns = self._start_ns = start_ns

    def next(self, now_ns: int, finished: int = NEVER) -> Sequence[int]:
        self.calls += 1
        self.wake_ns = NEVER if self._wake_after_ns is None else self._start_ns + self._wake_after_ns
        return self._first if self.calls == 1 else ()

    def scheduled_ns(self, row: int) -> int:
        return self._start_ns


def send(port: int, count: int, pacing: Pacing | None, **fields: Any) -> LoadResult:
    settings: dict[str, Any] = {"send_times_s": np.zeros(count), "timeout_s": 60.0, "processes": "1"}
    prompts = [Prompt("hi", 1, 1)] * count
    return run_load(plan_of(endpoint_of(port), prompts, pacing=pacing, **settings | fields), Progress())


def test_a_pacing_may_release_rows_in_any_order(port: int) -> None:
    rows = send(port, 4, Scripted(4, [2, 0, 3, 1])).records
    assert rows.failures() == {} and len(rows) == 4


@pytest.mark.parametrize("first", [[], [0, 1]], ids=["from the beginning", "once what it released has ended"])
def test_a_pacing_that_never_asks_to_be_woken_ends_the_load(port: int, first: list[int]) -> None:
    with pytest.raises(EngineError, match=f"Scripted stopped with {5 - len(first)} requests unsent"):
        send(port, 5, Scripted(5, first))


def test_a_pacing_that_asks_for_a_time_that_has_passed_ends_the_load(port: int) -> None:
    pacing = Scripted(5, [0], wake_after_ns=0)
    with pytest.raises(EngineError, match="Scripted stopped with 4 requests unsent"):
        send(port, 5, pacing)
    assert pacing.calls > sender._MAX_IDLE_WAKES


@pytest.mark.parametrize("first", [[0, 0], [7], [-1]], ids=["twice", "beyond the last", "none"])
def test_a_row_that_cannot_be_sent_ends_the_load(port: int, first: list[int]) -> None:
    with pytest.raises(EngineError, match=rf"released row {first[-1]}, which does not exist or was already sent"):
        send(port, 2, Scripted(2, first))


def test_a_mistake_in_a_pacing_ends_the_load(port: int) -> None:
    class Mistaken(Scripted):
        def scheduled_ns(self, row: int) -> int:
            raise ZeroDivisionError("a mistake")

    with pytest.raises(ZeroDivisionError):
        send(port, 2, Mistaken(2, [0]))


def test_requests_that_fail_at_once_are_not_nested(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand sends that fail one after another would otherwise be a thousand calls deep."""
    usable, depths, depth = Connection.usable, [], [0]

    def broken(connection: Connection, request: bytes) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    def counted(connection: Connection) -> bool:
        depths.append(depth[0])
        return usable(connection)

    monkeypatch.setattr(Connection, "_write", broken)
    monkeypatch.setattr(Connection, "usable", counted)
    finish = Connection._finish

    def nested(connection: Connection, now_ns: int) -> None:
        connection.response.keep_alive = True  # the next request takes this very connection
        depth[0] += 1
        finish(connection, now_ns)
        depth[0] -= 1

    monkeypatch.setattr(Connection, "_finish", nested)
    rows = send(port, 2000, None, max_in_flight=1).records
    assert rows.failures() == {"reset": 2000}
    assert len(depths) == 2000 and max(depths) == 0


def test_an_empty_plan_sends_nothing(port: int) -> None:
    assert len(send(port, 0, None).records) == 0


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM])
def test_a_limit_of_this_machine_is_called_so(number: int, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(ConnectionPool, "_connect", refused)
    rows = send(port, 2, None).records
    assert rows.failures() == {"client_limit": 2}
    assert "a limit of this machine, not of the server" in rows.errors[0]


def test_a_refused_connection_is_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        rows = send(closed.getsockname()[1], 2, None).records
    assert rows.failures() == {"refused": 2}


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never stops generating."""
    event = b'data: {"choices":[{"index":0,"text":" x"}]}\n\n'
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event) * 100)
            await writer.drain()
    writer.close()


def test_an_answer_that_never_ends_is_ended_at_a_number_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.loadgen.sender.in_flight._MAX_CHUNKS", 1000)
    with served(endless) as port:
        rows = send(port, 1, None, timeout_s=60.0).records
    assert rows.failures() == {"malformed": 1}
    assert rows.errors == ("an answer of more than 1000 chunks",)


async def from_another_model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
        body = EVENTS.replace(b'{"choices":[{', b'{"model":"huge-70b","choices":[{')
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize(("answer_model", "failures"), [("tiny", {"other_model": 4}), ("huge-70b", {}), ("", {})])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_name_of_the_model_is_checked_in_every_process(
    answer_model: str, failures: dict[str, int], processes: str
) -> None:
    with served(from_another_model) as port:
        endpoint = endpoint_of(port, answer_model=answer_model)
        plan = plan_of(
            endpoint, [Prompt("hi", 1, 1)] * 4, send_times_s=np.zeros(4), timeout_s=60.0, processes=processes
        )
        rows = run_load(plan, Progress()).records
    assert rows.failures() == failures
