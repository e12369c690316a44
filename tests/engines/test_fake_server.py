"""The fake engine against our own client: what it says it did is what the client saw, to the request."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from tests.waiting import wait_for

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.engines import ServerSpec
from benchhydra.engines.fake import Fake
from benchhydra.errors import ConfigError
from benchhydra.fakeserver.plan import FAULTS
from benchhydra.fakeserver.prefix_cache import PrefixCache
from benchhydra.loadgen import LoadPlan, run_load
from benchhydra.progress import Progress
from benchhydra.records import Anomaly, Records, Status
from benchhydra.target import Gpus, Model, Sparsity

APIS = {"completions": Completions, "chat": Chat}
QUICK = {"ttft_ms": 1.0, "itl_ms": 0.2}


class FakeServer:
    """A running server: ask it things."""

    def __init__(self, base_url: str, process: subprocess.Popen[str]) -> None:
        self.base_url = base_url
        self.process = process

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.base_url + path, timeout=60) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith("{") else text

    def post(self, path: str, **body: Any) -> bytes:
        request = urllib.request.Request(self.base_url + path, json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.get("/stats")
        return stats


Start = Callable[..., FakeServer]


def spec_of(**fields: Any) -> ServerSpec:
    """The command line for an engine of these fields, serving model m."""
    engine = Fake(**fields)
    return engine.server(engine.target(Model(id="m"), Sparsity(), Gpus()))


@contextmanager
def running(spec: ServerSpec) -> Iterator[FakeServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [*spec.argv, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "fake server: m on" in process.stdout.readline()
            yield FakeServer(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server with the engine's fields; it is stopped after the test."""
    with ExitStack() as stack:
        yield lambda **fields: stack.enter_context(running(spec_of(**fields)))


def _drive(
    base_url: str, *, count: int, in_flight: int, tokens: int = 4, timeout_s: float = 30, **where: Any
) -> Records:
    options = RequestOptions(stream=where.get("stream", True))
    endpoint = Endpoint(base_url=base_url, api=APIS[where.get("api", "completions")](), model="m", answer_model="m")
    requests = Requests(prompt_key=endpoint.api.prompt_key)
    for i in range(count):
        prompt = Prompt(f"prompt number {i} of four", 5, tokens)
        requests.add(encode_request(endpoint, prompt, tokens, options), 5, tokens)
    plan = LoadPlan(
        endpoint=endpoint,
        requests=requests,
        options=options,
        send_times_s=np.zeros(count),
        max_in_flight=in_flight,
        timeout_s=timeout_s,
        processes="1",
    )
    return run_load(plan, Progress()).records


#: Fault -> the status of its rows, where that has another name.
CLASSES: dict[str, str] = {
    "abort": "aborted",
    "bare_error": "error_event",
    "usage_low": "short",
    **dict.fromkeys(("blank", "no_done", "several_choices", "long", "repeat"), "ok"),
    **dict.fromkeys(("broken_items", "invalid_output", "wrong"), "ok"),  # words are none of these
}
CLASSES_OF_DOCUMENTS = {"early_end": "reset"}  # a document that ends early is a connection that broke


@pytest.mark.parametrize("where", [{}, {"api": "chat"}, {"stream": False}, {"api": "chat", "stream": False}])
def test_no_request_is_lost_and_every_class_matches_exactly(start: Start, where: dict[str, Any]) -> None:
    server = start(**QUICK, **{f"{fault}_fraction": 0.045 for fault in FAULTS})
    records = _drive(server.base_url, count=600, in_flight=60, timeout_s=4, **where)
    stats = server.stats()
    told: Counter[str] = Counter(stats["classes"])
    assert stats["requests"] == sum(told.values()) == len(records) == 600
    assert min(told[fault] for fault in FAULTS) >= 10  # 30 are expected of each
    stream = where.get("stream", True)
    classes = CLASSES if stream else CLASSES | CLASSES_OF_DOCUMENTS
    expected = Counter[str]()
    for name, count in told.items():
        expected[classes.get(name, name)] += count
    assert Counter(Status(s).name.lower() for s in records.status) == expected
    assert (records.prompt_tokens[records.completed] == 5).all()
    assert (records.output_tokens[records.status == Status.SHORT] == 2).all()
    tokens = Counter(records.output_tokens[records.status == Status.OK].tolist())
    assert tokens[8] == told["long"] + told["several_choices"] and tokens.total() == tokens[4] + tokens[8]
    assert records.has(Anomaly.SEVERAL_CHOICES)[records.completed].sum() == told["several_choices"]
    assert records.has(Anomaly.BLANK).sum() == told["blank"]
    assert records.has(Anomaly.REPEATED).sum() == (told["repeat"] if stream else 0)
    lying = records.completed & (records.chunks > records.output_tokens)
    assert lying.sum() == (told["usage_low"] if stream else 0)


def test_an_answer_of_one_token_cannot_be_short(start: Start) -> None:
    server = start(**QUICK, short_fraction=1.0)
    records = _drive(server.base_url, count=20, in_flight=5, tokens=1)
    assert server.stats()["classes"] == {"ok": 20}
    assert records.failures() == {}


def test_a_chat_streams_its_role_then_tokens_usage_and_done(start: Start) -> None:
    server = start(**QUICK, tokens_per_chunk=2)
    messages = [{"role": "user", "content": "one two three"}]
    body = {"model": "m", "messages": messages, "stream": True, "max_tokens": 5}
    text = server.post("/v1/chat/completions", **body, stream_options={"include_usage": True}).decode()
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    role, *chunks, usage = [json.loads(event) for event in events[:-1]]
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == [" w w", " w w", " w"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "length"]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def test_completions_carry_texts_and_usage_only_where_asked_for(start: Start) -> None:
    server = start(**QUICK)
    text = server.post("/v1/completions", model="m", prompt="a b", stream=True, max_tokens=2).decode()
    *events, done = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert done == "[DONE]"
    assert [json.loads(event)["choices"][0]["text"] for event in events] == [" w", " w"]
    whole = json.loads(server.post("/v1/completions", model="m", prompt="a b", max_tokens=3))
    assert (whole["choices"][0]["text"], whole["usage"]["completion_tokens"]) == (" w w w", 3)


@pytest.mark.alone
def test_times_are_the_configured_ones(start: Start) -> None:
    server = start(ttft_ms=40, itl_ms=8)
    records = _drive(server.base_url, count=20, in_flight=2, tokens=10)
    ttft_ms = np.median(records.first_ns - records.sent_ns) / 1e6
    assert 40 <= ttft_ms < 60
    assert 7 < np.median(records.gaps_ns) / 1e6 < 12
    assert np.median(records.done_ns - records.sent_ns) / 1e6 >= 40 + 9 * 8


def test_more_requests_than_places_wait_in_a_queue(start: Start) -> None:
    server = start(ttft_ms=50, itl_ms=0, max_concurrency=2)
    records = _drive(server.base_url, count=8, in_flight=8, tokens=1)
    waits_ms = np.sort(records.first_ns - records.sent_ns.min()) / 1e6
    assert server.stats()["most_running"] == 2
    assert (waits_ms >= 50 * np.array([1, 1, 2, 2, 3, 3, 4, 4])).all()  # four rounds of two


@pytest.mark.alone
def test_a_lognormal_time_to_first_token_keeps_its_mean(start: Start) -> None:
    server = start(ttft_ms=20, itl_ms=0, ttft_sigma=0.5)
    records = _drive(server.base_url, count=400, in_flight=40, tokens=1)
    ttft_ms = (records.first_ns - records.sent_ns) / 1e6
    assert 17 < np.mean(ttft_ms) < 28
    assert np.std(np.log(ttft_ms)) == pytest.approx(0.5, abs=0.2)


def test_faults_are_drawn_by_the_seed(start: Start) -> None:
    drawn = []
    for seed in (1, 1, 2):
        server = start(**QUICK, http_5xx_fraction=0.5, fake_seed=seed)
        drawn.append(_drive(server.base_url, count=40, in_flight=1, tokens=1).status.tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def _cache(server: Any) -> tuple[float, float]:
    lines = server.get("/metrics").splitlines()
    values = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("vllm:prefix_cache_")]
    return values[0], values[1]


def test_the_prefix_cache_counts_and_forgets(start: Start) -> None:
    server = start(**QUICK)
    prompt = " ".join(f"w{i}" for i in range(40))
    for expected in ((40, 0), (80, 32)):
        server.post("/v1/completions", model="m", prompt=prompt, max_tokens=1)
        assert _cache(server) == expected
    assert json.loads(server.post("/reset_prefix_cache")) == {"success": True}
    server.post("/v1/completions", model="m", prompt=prompt, max_tokens=1)
    assert _cache(server) == (120, 32)
    assert server.stats()["resets"] == 1


def test_the_last_token_is_never_a_hit() -> None:
    cache = PrefixCache()
    for _ in range(2):
        cache.look_up(list("0123456789abcdef"))
    assert (cache.queries, cache.hits) == (32, 0)


def test_a_reset_can_be_made_to_fail(start: Start) -> None:
    server = start(**QUICK, reset_fails=True)
    assert json.loads(server.post("/reset_prefix_cache")) == {"success": False}


def test_a_start_can_be_made_to_fail() -> None:
    argv = [*spec_of(fail_start=True).argv, "--port", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "RuntimeError: failing to start, as requested" in done.stderr


def test_a_crash_fails_requests_in_flight_and_later_ones(start: Start) -> None:
    server = start(**QUICK, crash_after_requests=10)
    records = _drive(server.base_url, count=20, in_flight=1)
    assert server.process.wait(timeout=60) == 17
    assert records.status[:9].tolist() == [Status.OK] * 9
    assert records.status[9] == Status.RESET
    assert records.status[10:].tolist() == [Status.REFUSED] * 10


def test_bad_requests_are_refused(start: Start) -> None:
    server = start(**QUICK)
    for body, code in (({"model": "other", "prompt": "a"}, 404), ({"model": "m"}, 400)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.post("/v1/completions", **body)
        assert refused.value.code == code
        refused.value.close()
    assert server.stats()["classes"] == {"http_4xx": 2}


def test_clients_that_disconnect_are_counted_and_free_their_slot(start: Start) -> None:
    server = start(ttft_ms=2000, itl_ms=0, max_concurrency=1)
    records = _drive(server.base_url, count=3, in_flight=3, tokens=1, timeout_s=0.5)
    assert records.failures() == {"timeout": 3}
    wait_for(lambda: server.stats()["running"] == 0, 60, "the server to see that its clients are gone")
    assert server.stats()["requests"] == 3
    assert "vllm:num_requests_waiting" in server.get("/metrics")
    none_waits = 'num_requests_waiting{engine="0",model_name="m"} 0.0'
    wait_for(lambda: none_waits in server.get("/metrics"), 60, "the queue to be empty")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"reset_fraction": 0.6, "timeout_fraction": 0.6}, "sum to at most 1"),
        ({"short_fraction": -0.1}, "at least 0"),
        ({"ttft_ms": -1.0}, "engine.ttft_ms"),
        ({"itl_ms": math.nan}, "engine.itl_ms"),
        ({"tokens_per_chunk": 0}, "engine.tokens_per_chunk"),
        ({"max_concurrency": 0}, "engine.max_concurrency"),
    ],
)
def test_invalid_settings_are_config_errors(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Fake(**fields)
