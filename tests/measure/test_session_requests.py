"""Conversations on the wire: the server gets each turn with the history that it has at that moment."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from time import monotonic_ns
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.loadgen.loads import endpoint_of
from tests.loadgen.servers import served

from benchhydra.client.apis import Api, RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.datasets import Tokenizer
from benchhydra.datasets.sessions import Sessions
from benchhydra.datasets.tokenization import WordTokenizer
from benchhydra.errors import DatasetError
from benchhydra.loadgen import LoadPlan, LoadResult, run_load
from benchhydra.loads.sessions import SessionLoad
from benchhydra.measure.session_requests import SessionLengths, SessionRequests
from benchhydra.progress import Progress
from benchhydra.records import Status

USAGE = '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
THINK_S = 0.02


class Received(NamedTuple):
    """A request as it came, and what it was answered."""

    at_ns: int
    body: dict[str, Any]
    answer: str
    answered_ns: int


class RecordingServer:
    """Answers each request with a text of its own; those whose last message contains ``fail_at`` with status 500."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.fail_at = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
                at_ns, document = monotonic_ns(), json.loads(body)
                answer = f"answer {len(self.received)}"
                fails = bool(self.fail_at) and self.fail_at in str(document["messages"][-1]["content"])
                # Before the write: the client has no answer earlier than this, and may be done before the next line.
                self.received.append(Received(at_ns, document, answer, monotonic_ns()))
                writer.write(self._error() if fails else self._stream(answer))
                await writer.drain()
        writer.close()

    def _stream(self, answer: str) -> bytes:
        texts = [{"choices": [{"delta": {"content": text}}]} for text in (answer[:3], answer[3:])]
        events = "".join(f"data: {document}\n\n" for document in (*map(json.dumps, texts), USAGE, "[DONE]")).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b" % (
            len(events),
            events,
        )

    def _error(self) -> bytes:
        return b"HTTP/1.1 500 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
def server() -> RecordingServer:
    return RecordingServer()


@pytest.fixture
def port(server: RecordingServer) -> Iterator[int]:
    with served(server) as number:
        yield number


def store_of(
    dataset: Sessions, count: int, port: int = 1, api: Api | None = None, tokenizer: Tokenizer | None = None
) -> SessionRequests:
    tokenizer, api = tokenizer or WordTokenizer(), api or Chat()
    requests = SessionRequests(
        endpoint_of(port, api), RequestOptions(), tokenizer.chat, real_history=dataset.real_history
    )
    lengths = SessionLengths.of(tokenizer, api, dataset, ignore_eos=True)
    for session in lengths.sessions(dataset, count, np.random.default_rng(1), None):
        requests.add(session, lambda tokens: tokens)
    return requests


def send(requests: SessionRequests, port: int, sessions: int) -> LoadResult:
    load = SessionLoad(qps=200.0)
    turns = requests.turns()
    send_times_s = load.send_times_s(sessions, np.random.default_rng(2))[turns.session]
    plan = LoadPlan(
        endpoint=endpoint_of(port, Chat()),
        requests=requests,
        send_times_s=send_times_s,
        pacing=load.pacing(send_times_s, turns),
        keep_text=True,
    )
    return run_load(plan, Progress())


def by_session(server: RecordingServer) -> list[list[Received]]:
    """The requests of each session, which is told by its first message, as they came."""
    sessions: dict[str, list[Received]] = {}
    for received in server.received:
        sessions.setdefault(received.body["messages"][0]["content"], []).append(received)
    return list(sessions.values())


def test_each_turn_holds_the_servers_own_answers(server: RecordingServer, port: int) -> None:
    dataset = Sessions(turns=8, prompt_tokens=5, think_s=THINK_S, think_shape="fixed")
    requests = store_of(dataset, 25, port)
    result = send(requests, port, 25)
    assert len(server.received) == 200 and result.records.completed.all()
    for turns in by_session(server):
        assert len(turns) == 8
        for before, turn in itertools.pairwise(turns):
            history = [*before.body["messages"], {"role": "assistant", "content": before.answer}]
            assert turn.body["messages"][:-1] == history
            assert turn.body["messages"][-1]["role"] == "user"
            assert turn.at_ns - before.answered_ns >= THINK_S * 1e9
    records = result.records
    by_request = {name: column[np.argsort(records.labels["request"])] for name, column in records.labels.items()}
    scheduled_ns, done_ns = (
        times[np.argsort(records.labels["request"])] for times in (records.scheduled_ns, records.done_ns)
    )
    later = np.flatnonzero(by_request["parent"] >= 0)
    assert (scheduled_ns[later] == done_ns[by_request["parent"][later]] + round(THINK_S * 1e9)).all()
    assert not requests._histories, "histories of sessions that have ended are kept"


def test_branches_share_the_history_before_them(server: RecordingServer, port: int) -> None:
    dataset = Sessions(turns=3, branches=3, branch_turn=1, prompt_tokens=5, think_s=0.0, system_tokens=4)
    result = send(store_of(dataset, 4, port), port, 4)
    assert result.records.completed.all() and len(server.received) == 4 * (1 + 3 * 2)
    first = [received for received in server.received if len(received.body["messages"]) == 2]
    assert {received.body["messages"][0]["role"] for received in first} == {"system"}
    for root in first:
        history = [*root.body["messages"], {"role": "assistant", "content": root.answer}]
        second = [received.body["messages"] for received in server.received if received.body["messages"][:3] == history]
        assert sorted(map(len, second)) == [4, 4, 4, 6, 6, 6]
        assert len({messages[3]["content"] for messages in second}) == 3


def test_a_failed_turn_ends_its_session(server: RecordingServer, port: int) -> None:
    dataset = Sessions(turns=4, prompt_tokens=5, think_s=0.0)
    requests = store_of(dataset, 6, port)
    turn = requests._turns[9]  # the second turn of the third session
    assert turn is not None
    server.fail_at = turn.messages[0]["content"]
    records = send(requests, port, 6).records
    assert len(records) == len(server.received) == 22
    assert records.status.tolist().count(Status.HTTP_5XX) == 1
    assert records.labels["turn"][records.failed].tolist() == [1]


def test_recorded_histories_do_not_depend_on_answers(server: RecordingServer, port: int) -> None:
    dataset = Sessions(turns=3, history="recorded", prompt_tokens=5, output_tokens=6, think_s=0.0)
    requests = store_of(dataset, 3, port)
    prompt_tokens = requests.prompt_tokens.tolist()
    assert prompt_tokens == [5, 16, 27] * 3
    send(requests, port, 3)
    for turns in by_session(server):
        contents = [[message["content"] for message in turn.body["messages"]] for turn in turns]
        assert contents[2][:3] == contents[1] and contents[1][:1] == contents[0]
        assert not any("answer" in text for text in contents[2])
        assert [len(" ".join(texts).split()) for texts in contents] == [5, 16, 27]


def test_an_api_without_messages_gets_the_conversation_as_text() -> None:
    requests = store_of(Sessions(turns=2, prompt_tokens=3, think_s=0.0), 1, api=Completions())
    first = json.loads(requests.take(0).split(b"\r\n\r\n")[1])
    requests.answered(0, "yes indeed")
    second = json.loads(requests.take(1).split(b"\r\n\r\n")[1])
    assert second["prompt"].startswith(f"{first['prompt']} yes indeed ") and len(second["prompt"].split()) == 8


@pytest.mark.parametrize("history", ["real", "recorded"])
def test_nothing_is_held_for_sessions_that_ended(history: str) -> None:
    requests = store_of(Sessions(turns=2, history=history), 2)
    requests.take(0)
    requests.failed(0)
    requests.take(2)
    requests.answered(2, "yes")
    requests.take(3)
    assert not requests._histories


@pytest.mark.parametrize(("salt", "distinct"), [("none", 0), ("load", 1), ("session", 3)])
def test_a_salt_separates_loads_or_sessions(salt: str, distinct: int) -> None:
    requests = store_of(Sessions(turns=2, cache_salt=salt, history="recorded"), 3)
    bodies = [json.loads(requests.take(row).split(b"\r\n\r\n")[1]) for row in range(6)]
    salts = [body.get("cache_salt") for body in bodies]
    assert len({*salts} - {None}) == distinct
    assert salts[::2] == salts[1::2]
    again = store_of(Sessions(turns=2, cache_salt=salt, history="recorded"), 3)
    body = json.loads(again.take(0).split(b"\r\n\r\n")[1])
    assert body["messages"] == bodies[0]["messages"] and (body.get("cache_salt") == salts[0]) is (salt == "none")


def labels_of(requests: SessionRequests, name: str) -> Sequence[int]:
    return requests.labels[name].tolist()


def test_lengths_are_those_that_the_server_will_count() -> None:
    real = store_of(Sessions(turns=3, prompt_tokens=5, output_tokens=6, system_tokens=4), 2)
    assert real.prompt_tokens.tolist() == [9, 20, 31] * 2
    assert labels_of(real, "shared_tokens") == [0, -1, -1, 4, -1, -1]
    assert labels_of(real, "added_tokens") == [9, 5, 5] * 2
    recorded = store_of(Sessions(turns=3, prompt_tokens=5, output_tokens=6, history="recorded"), 1)
    assert labels_of(recorded, "shared_tokens") == [0, 5, 16]


def test_turns_that_do_not_fit_the_model_are_left_out_and_missing_sessions_are_an_error() -> None:
    dataset, tokenizer = Sessions(turns=5, prompt_tokens=5, output_tokens=6), WordTokenizer()
    lengths = SessionLengths.of(tokenizer, Chat(), dataset, ignore_eos=True)
    (session,) = lengths.sessions(dataset, 1, np.random.default_rng(1), 30)
    assert len(session.session.turns) == 2  # 11 and 22 tokens; the third would have 33
    with pytest.raises(DatasetError, match="only 0 sessions fit into max_model_len=10, but 1 are needed"):
        list(lengths.sessions(dataset, 1, np.random.default_rng(1), 10))
