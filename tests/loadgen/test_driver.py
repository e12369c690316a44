"""The load generator against a server that fails in every way on purpose: no row is lost, and each has its class."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from tests.loadgen.loads import endpoint_of, plan_of
from tests.loadgen.servers import served

from benchhydra.client.connection import Connection
from benchhydra.client.connection_pool import ConnectionPool
from benchhydra.datasets import Prompt
from benchhydra.errors import ConfigError
from benchhydra.loadgen import LoadResult, run_load
from benchhydra.loadgen.processes.serialization import unpack_result
from benchhydra.progress import Progress
from benchhydra.records import Recorder

SECRET = "sk-12345"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def usage(tokens: int) -> bytes:
    counts = b'{"prompt_tokens":1,"completion_tokens":%d}' % tokens
    return chunk(b'data: {"choices":[],"usage":%b}\n\n' % counts)


TOKEN = chunk(b'data: {"choices":[{"text":" x"}]}\n\n')
END = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
ANSWERS = {
    "ok": HEAD + TOKEN * 4 + usage(4) + END,
    "short": HEAD + TOKEN * 2 + usage(2) + END,
    "http_4xx": b"HTTP/1.1 401 No\r\ncontent-length: 16\r\n\r\nbad key " + SECRET.encode(),
    "http_5xx": b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
    "malformed": HEAD + TOKEN + chunk(b"data: {x\n\n") + END,
    "error_event": HEAD + TOKEN + chunk(b'data: {"error":{"message":"oom"}}\n\n') + END,
    "early_end": HEAD + TOKEN + b"0\r\n\r\n",
    "reset": HEAD + TOKEN,
    "timeout": HEAD + TOKEN,
}
NAMES = list(ANSWERS)
EACH = 10
UNANSWERED = threading.Event()
FAILURES = {name: EACH for name in NAMES if name != "ok"}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
            name = NAMES[int(body.split(b'"prompt":"')[1].split(b'"')[0])]
            writer.write(ANSWERS[name])
            if name == "timeout":
                UNANSWERED.set()
            await writer.drain()
            if name == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return
    writer.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(answer) as number:
        yield number


def send(port: int, **more: Any) -> LoadResult:
    """EACH requests of each kind, 3 ms apart unless told otherwise."""
    endpoint = endpoint_of(port, headers={"Authorization": f"Bearer {SECRET}"})
    count = EACH * len(NAMES)
    prompts = [Prompt(str(i % len(NAMES)), 1, 4) for i in range(count)]
    fields: dict[str, Any] = {"send_times_s": np.arange(count) * 0.003, "timeout_s": 0.5, "processes": "1"} | more
    return run_load(plan_of(endpoint, prompts, **fields), Progress())


@pytest.mark.parametrize("processes", ["1", "2"])
def test_each_failure_has_its_class_and_nothing_is_lost(port: int, processes: str) -> None:
    result = send(port, processes=processes)
    rows = result.records
    assert len(rows) == EACH * len(NAMES)
    assert rows.failures() == FAILURES
    assert result.facts["client_processes"] == int(processes)
    assert not any(SECRET in text for text in rows.errors)
    assert (rows.sent_ns >= rows.scheduled_ns).all()
    assert (np.diff(rows.scheduled_ns)[:: int(processes)] > 0).all()


def test_scheduled_times_are_those_of_the_plan(port: int) -> None:
    send_times_s = np.cumsum(np.random.default_rng(1).exponential(0.002, EACH * len(NAMES)))
    rows = send(port, send_times_s=send_times_s).records
    got = (rows.scheduled_ns - rows.scheduled_ns[0]) / 1e9
    assert np.abs(got - (send_times_s - send_times_s[0])).max() < 2e-9


def test_a_closed_loop_schedules_when_there_is_room(port: int) -> None:
    rows = send(port, send_times_s=np.zeros(EACH * len(NAMES)), max_in_flight=7).records
    assert rows.failures() == FAILURES
    assert rows.scheduled_ns[-1] > rows.scheduled_ns[0]
    ends = np.sort(rows.done_ns)
    under_way = np.arange(1, len(rows) + 1) - np.searchsorted(ends, np.sort(rows.sent_ns), side="right")
    assert under_way.max() <= 7


def test_texts_are_kept_on_request(port: int) -> None:
    texts = send(port, keep_text=True).texts
    assert texts is not None
    assert texts[0] == " x" * 4
    assert texts[1] == " x" * 2


def test_refused_connections_are_rows() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        rows = send(taken.getsockname()[1]).records
    assert rows.failures() == {"refused": EACH * len(NAMES)}
    assert (rows.sent_ns == -1).all()
    assert "ECONNREFUSED" in rows.errors[0]


@contextmanager
def interrupted_once_under_way() -> Iterator[None]:
    """SIGINT to this process when the first request has come that will get no whole answer."""

    def interrupt() -> None:
        if UNANSWERED.wait(60):
            os.kill(os.getpid(), signal.SIGINT)

    UNANSWERED.clear()
    thread = threading.Thread(target=interrupt)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_interruption_keeps_what_was_measured(port: int, processes: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupted_once_under_way():
        result = send(port, processes=processes, timeout_s=20)
    assert result.facts["interrupted"]
    assert result.records.failures()["cancelled"] > 0
    assert 0 < len(result.records) < EACH * len(NAMES)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("processes", "last"),
    [("1", "benchhydra.records.Recorder.records"), ("2", "benchhydra.loadgen.processes.frames.unpack_result")],
)
def test_a_signal_after_the_last_answer_is_not_lost(
    port: int, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, processes: str, last: str
) -> None:
    """What is called when all has been sent, and before the signal handlers are put back, is interrupted."""
    right = Recorder.records if processes == "1" else unpack_result
    before = signal.getsignal(number)

    def interrupted(*args: Any) -> Any:
        if signal.getsignal(number) != signal.default_int_handler:
            os.kill(os.getpid(), number)
        return right(*args)

    monkeypatch.setattr(last, interrupted)
    result = send(port, processes=processes)
    assert result.facts["interrupted"]
    assert len(result.records) == EACH * len(NAMES)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("wrong", [{"processes": "0"}, {"processes": "many"}])
def test_impossible_plans_are_config_errors(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        send(1, **wrong)


@pytest.mark.parametrize("method", ["_finish", "send", "_lost"])
def test_a_mistake_in_a_callback_ends_the_run(port: int, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    right, called = getattr(Connection, method), []

    def wrong(*args: Any) -> None:
        called.append(args)
        if len(called) == 1:
            raise ZeroDivisionError("a mistake")
        right(*args)

    monkeypatch.setattr(Connection, method, wrong)
    with pytest.raises(ZeroDivisionError):
        send(port)


@pytest.mark.parametrize(("ahead", "ahead_s"), [(0, 0.0), (1, 0.0), (1, 1.0)])
def test_a_mistake_while_dialing_ends_the_run(
    port: int, monkeypatch: pytest.MonkeyPatch, ahead: int, ahead_s: float
) -> None:
    dial, dialed = ConnectionPool.dial, []

    async def wrong(pool: ConnectionPool) -> Connection:
        dialed.append(pool)
        if len(dialed) > ahead:
            raise ZeroDivisionError("a mistake")
        return await dial(pool)

    monkeypatch.setattr(ConnectionPool, "dial", wrong)
    monkeypatch.setattr("benchhydra.loadgen.sender.in_flight.RESERVE", 1)
    monkeypatch.setattr("benchhydra.loadgen.sender.in_flight.AHEAD_S", ahead_s)
    with pytest.raises(ZeroDivisionError):
        send(port)


def test_connections_of_the_first_second_are_opened_before_the_load(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, open_all = [], ConnectionPool.open

    async def counted(pool: ConnectionPool, count: int) -> None:
        await open_all(pool, count)
        opened.append((count, len(pool.idle)))

    monkeypatch.setattr(ConnectionPool, "open", counted)
    monkeypatch.setattr("benchhydra.loadgen.sender.in_flight.RESERVE", 1)
    monkeypatch.setattr("benchhydra.loadgen.sender.in_flight.AHEAD_S", 0.0301)
    send(port)  # 3 ms apart
    monkeypatch.setattr("benchhydra.loadgen.sender.in_flight.MAX_AHEAD", 4)
    send(port)
    assert opened == [(11, 11), (4, 4)]


@pytest.mark.parametrize("processes", ["1", "2", "3"])
def test_texts_are_those_of_the_requests(port: int, processes: str) -> None:
    texts = send(port, keep_text=True, processes=processes, max_in_flight=2).texts
    kinds = {"ok": 4, "short": 2, "malformed": 1, "error_event": 1, "early_end": 1, "reset": 1, "timeout": 1}
    assert texts == tuple(" x" * kinds.get(NAMES[i % len(NAMES)], 0) for i in range(EACH * len(NAMES)))
