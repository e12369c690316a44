"""Requests that the client cancels, and requests that it sends again."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from tests.loadgen.loads import endpoint_of, plan_of
from tests.loadgen.servers import served
from tests.loadgen.test_sender import ANSWER, EVENTS
from tests.waiting import wait_for

from benchhydra.client import Requests
from benchhydra.client.retry_after import retry_after_s
from benchhydra.datasets import Prompt
from benchhydra.loadgen import LoadResult, run_load
from benchhydra.loadgen.client_behaviour import Cancellations, ClientBehaviour, Retries
from benchhydra.loadgen.processes.serialization import pack_shard, unpack_shard
from benchhydra.loadgen.sender.retrier import MOST_BACKOFF_S, Retrier, backoff_s
from benchhydra.loadgen.shards import split_into_shards
from benchhydra.progress import Progress
from benchhydra.records import Status

TEXT = EVENTS.partition(b"\n\n")[0] + b"\n\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000000\r\n\r\n"


def refusal(status: str, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", "content-type: application/json", "content-length: 2", *headers)
    return "\r\n".join([*lines, "", "{}"]).encode()


@contextmanager
def server(answer_to: Callable[[str, int], bytes]) -> Iterator[tuple[int, Counter[str]]]:
    """A server that answers the n-th try of a prompt as told, b"" resets. Yields its port and the tries by prompt."""
    tries: Counter[str] = Counter()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
                prompt = re.findall(rb'"prompt":"(.*?)"', body)[0].decode()
                tries[prompt] += 1
                data = answer_to(prompt, tries[prompt])
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        await closed(writer)

    with served(answer) as port:
        yield port, tries
        time.sleep(0.1)  # the server sees that its clients are gone


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def load(port: int, prompts: list[str], behaviour: ClientBehaviour, processes: str = "1") -> LoadResult:
    plan = plan_of(
        endpoint_of(port),
        [Prompt(prompt, 1, 1) for prompt in prompts],
        send_times_s=np.zeros(len(prompts)),
        behaviour=behaviour,
        processes=processes,
        timeout_s=10.0,
    )
    return run_load(plan, Progress())


RETRIES = ClientBehaviour(retries=Retries(count=2, backoff_s=0.1))


@pytest.mark.parametrize("failure", [refusal("500 E"), refusal("429 Too Many"), refusal("503 E"), b""])
def test_a_failure_that_may_pass_is_tried_again_and_latency_counts_from_the_first_try(failure: bytes) -> None:
    with server(lambda _, n: failure if n < 3 else ANSWER) as (port, tries):
        rows = load(port, ["a"], RETRIES).records
    assert rows.completed.all() and rows.labels["tries"].tolist() == [3] and tries == {"a": 3}
    waited_ms = (rows.first_ns[0] - rows.sent_ns[0]) / 1e6
    assert 0.75 * 300 <= waited_ms < 2000  # 100 ms and 200 ms, each up to a quarter shorter


def test_a_request_sent_once_keeps_its_send_time_and_one_sent_again_has_that_of_its_first_try() -> None:
    async def send_times_ns() -> tuple[int, int]:
        retrier = Retrier(Retries(count=1, backoff_s=9.0), Requests().take, array("i", [0, 0]), lambda row: None)
        retrier.begin(0)
        retrier.begin(1)
        assert retrier.retry(1, 100, Status.REFUSED, "no connection") and retrier.stop() == [1]
        retrier.begin(1)
        return retrier.end(0, 500), retrier.end(1, 900)

    assert asyncio.run(send_times_ns()) == (500, 100)


@pytest.mark.parametrize("header", ["Retry-After: 0.4", "retry-after-ms: 400"])
def test_a_server_says_how_long_to_wait(header: str) -> None:
    with server(lambda _, n: refusal("429 Too Many", header) if n < 2 else ANSWER) as (port, _):
        rows = load(port, ["a"], ClientBehaviour(retries=Retries(count=1, backoff_s=0.01))).records
    waited_ms = (rows.first_ns[0] - rows.sent_ns[0]) / 1e6
    assert rows.completed.all() and 400 <= waited_ms < 3000


@pytest.mark.parametrize("seconds", ["3600", "-1", "0", "soon", "nan"])
def test_a_wait_that_nobody_would_wait_is_ignored(seconds: str) -> None:
    with server(lambda _, n: refusal("503 E", f"Retry-After: {seconds}") if n < 2 else ANSWER) as (port, _):
        rows = load(port, ["a"], ClientBehaviour(retries=Retries(count=1, backoff_s=0.01))).records
    assert rows.completed.all() and rows.labels["tries"].tolist() == [2]


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({b"retry-after": b"7"}, 7.0),
        ({b"retry-after": b"7", b"retry-after-ms": b"250"}, 0.25),
        ({b"retry-after": b"Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({b"retry-after": b"Thu Jan  1 00:01:40 1970"}, 90.0),  # asctime's format: GMT wherever the client is
        ({b"retry-after": b"Thu, 01 Jan 99999999999999 00:01:40 GMT"}, None),
        ({b"retry-after": b"tomorrow"}, None),
        ({b"retry-after": b"inf"}, None),
        ({}, None),
    ],
)
def test_the_wait_may_be_a_number_or_a_date(
    headers: dict[bytes, bytes], wait_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "EST+5")
    time.tzset()
    try:
        assert retry_after_s(headers, now_s=10.0) == wait_s
    finally:
        monkeypatch.undo()
        time.tzset()


def test_without_a_date_nothing_is_imported_while_requests_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "email.utils", None)  # to import it is an error
    assert retry_after_s({}, now_s=10.0) is None
    assert retry_after_s({b"retry-after": b"7"}, now_s=10.0) == 7.0


@pytest.mark.parametrize("after_s", [0.1, 0.5])
def test_a_client_cancels_while_it_waits_for_another_try(after_s: float) -> None:
    behaviour = ClientBehaviour(
        cancellations=Cancellations(rows=b"\1\0", after_s=after_s), retries=Retries(count=9, backoff_s=0.01)
    )
    later = refusal("429 Too Many", "Retry-After: 0.35")
    with server(lambda prompt, n: later if prompt == "a" or n < 4 else ANSWER) as (port, tries):
        rows = load(port, ["a", "b"], behaviour).records
    assert rows.status.tolist() == [Status.USER_CANCELLED, Status.OK]
    assert rows.labels["tries"].tolist() == [tries["a"], 4] and tries["a"] < 10
    assert (rows.done_ns[0] - rows.sent_ns[0]) / 1e9 >= after_s


def test_waits_do_not_depend_on_the_number_of_client_processes() -> None:
    """Row 3 of one process is row 1 of the second of two, and row 0 of the fourth of four."""

    def waits_s(behaviour: ClientBehaviour, rows: int) -> list[float]:
        assert behaviour.retries
        return [backoff_s(behaviour.retries, row, tries) for row in range(rows) for tries in (1, 2)]

    whole = ClientBehaviour(retries=Retries(count=2, backoff_s=1.0))
    expected = waits_s(whole, 8)
    assert len(set(expected)) == 16 and all(0.75 <= wait_s <= 1 for wait_s in expected[::2])
    pairs = list(zip(expected[::2], expected[1::2], strict=True))
    for parts in (2, 4):
        for part in range(parts):
            waits = iter(waits_s(whole.every_nth(part, parts), 8 // parts))
            assert list(zip(waits, waits, strict=True)) == pairs[part::parts]
    assert waits_s(whole.every_nth(1, 2).every_nth(1, 2), 2) == [*pairs[3], *pairs[7]]


@pytest.mark.parametrize(("backoff", "least_s"), [(0.0, 0.0), (0.5, 6.0)])
def test_a_request_may_be_tried_thousands_of_times(backoff: float, least_s: float) -> None:
    waits_s = [backoff_s(Retries(count=5000, backoff_s=backoff), 0, tries) for tries in (1025, 5000)]
    assert all(least_s <= wait_s <= MOST_BACKOFF_S for wait_s in waits_s)
    assert any(waits_s) is (backoff > 0)


def test_retries_end_and_what_cannot_pass_is_not_tried_again() -> None:
    def answer_to(prompt: str, n: int) -> bytes:
        return {"good": ANSWER, "bad": refusal("400 Bad"), "down": refusal("500 E")}[prompt]

    with server(answer_to) as (port, tries):
        rows = load(port, ["good", "bad", "down"], RETRIES).records
    assert tries == {"good": 1, "bad": 1, "down": 3}
    assert rows.status.tolist() == [Status.OK, Status.HTTP_4XX, Status.HTTP_5XX]
    assert rows.labels["tries"].tolist() == [1, 1, 3]


def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    cut = HEAD + TEXT

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(cut)
        await writer.drain()
        await closed(writer)

    with served(answer) as port:
        rows = load(port, ["a"], RETRIES).records
    assert rows.failed.all() and rows.labels["tries"].tolist() == [1]


def test_a_server_that_is_not_there_is_tried_again() -> None:
    with served(lambda *_: asyncio.sleep(0)) as port:
        pass  # nobody listens on the port any more
    rows = load(port, ["a", "b"], RETRIES).records
    assert rows.status.tolist() == [Status.REFUSED] * 2 and rows.labels["tries"].tolist() == [3, 3]


def test_without_retries_nothing_is_sent_twice_and_rows_have_no_tries() -> None:
    with server(lambda *_: refusal("500 E")) as (port, tries):
        rows = load(port, ["a"], ClientBehaviour()).records
    assert tries == {"a": 1} and not rows.labels


def endless() -> tuple[Callable[[asyncio.StreamReader, asyncio.StreamWriter], object], list[str]]:
    """A server that sends a chunk every 20 ms until the client is gone, and the ends that it saw."""
    ends: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD)
            try:
                while True:
                    writer.write(TEXT)
                    await writer.drain()
                    await asyncio.sleep(0.02)
            except ConnectionError:
                ends.append("gone")
        await closed(writer)

    return answer, ends


@pytest.mark.parametrize("when", [{"after_s": 0.3}, {"after_chunks": 5}])
def test_a_cancelled_request_closes_its_connection_and_counts_apart(when: dict[str, float]) -> None:
    answer, ends = endless()
    cancellations = Cancellations(rows=b"\1\1", **when)  # type: ignore[arg-type]
    with served(answer) as port:  # type: ignore[arg-type]
        rows = load(port, ["a", "b"], ClientBehaviour(cancellations=cancellations)).records
        wait_for(lambda: len(ends) == 2, 60, "both ends")
        time.sleep(0.1)
    assert rows.status.tolist() == [Status.USER_CANCELLED] * 2
    assert not rows.failed.any() and not rows.completed.any()
    assert (rows.chunks >= 5).all()
    if "after_s" in when:
        assert ((rows.done_ns - rows.sent_ns) / 1e9 >= 0.3).all()


def test_only_the_chosen_requests_are_cancelled_also_in_several_processes() -> None:
    chosen = bytes(int(i % 3 == 0) for i in range(9))
    behaviour = ClientBehaviour(cancellations=Cancellations(rows=chosen, after_s=0.0))

    def answer_to(prompt: str, n: int) -> bytes:
        return HEAD if int(prompt) % 3 == 0 else ANSWER

    with server(answer_to) as (port, _):
        result = load(port, [str(i) for i in range(9)], behaviour, processes="2")
    assert sorted(result.records.status.tolist()) == [Status.OK] * 6 + [Status.USER_CANCELLED] * 3


def test_a_shards_behaviour_survives_packing() -> None:
    behaviour = ClientBehaviour(
        cancellations=Cancellations(rows=b"\1\0\1\0", after_chunks=3), retries=Retries(count=2, backoff_s=0.5)
    )
    prompts = [Prompt("p", 1, 1)] * 4
    plan = plan_of(endpoint_of(1), prompts, send_times_s=np.arange(4.0), behaviour=behaviour)
    first, second = (unpack_shard(pack_shard(shard)).behaviour for shard in split_into_shards(plan, 2))
    assert first.cancellations == Cancellations(rows=b"\1\1", after_chunks=3)
    assert second.cancellations == Cancellations(rows=b"\0\0", after_chunks=3)
    assert first.retries == Retries(count=2, backoff_s=0.5, first=0, step=2)
    assert second.retries == Retries(count=2, backoff_s=0.5, first=1, step=2)
