"""Caches of servers that answer a reset with an empty 200, as vLLM did until 0.31: proven empty by counters or log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import pytest

from benchhydra.servers.caches import log_proof, reset_caches
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.prefix_probe import RANK_HEADER, prefix_counters

EMPTIED = "Successfully reset prefix cache"
REFUSED = "Failed to reset prefix cache because some blocks (3) are not freed yet"


@dataclass
class Engine:
    """A prefix cache with vLLM's counters."""

    queries: int = 0
    hits: int = 0
    prompts: set[str] = field(default_factory=set)

    def look_up(self, prompt: str, block_tokens: int, delay_s: float) -> None:
        """Count a prompt of one token a word, then cache it."""
        tokens = len(prompt.split())
        found = tokens - tokens % block_tokens if prompt in self.prompts else 0
        self.prompts.add(prompt)
        if not delay_s:
            self._count(tokens, found)
        else:
            Timer(delay_s, self._count, (tokens, found)).start()

    def _count(self, tokens: int, found: int) -> None:
        self.queries += tokens
        self.hits += found


@dataclass(kw_only=True)
class OldVllm:
    """How a server behaves. emptied: the engines whose caches a reset empties; None: all."""

    engines: int = 1
    emptied: tuple[int, ...] | None = None
    block_tokens: int = 16
    counts: bool = True
    metrics: bool = True
    takes_rank: bool = True
    delay_s: float = 0.0
    resets: int = 0
    caches: list[Engine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.caches = [Engine() for _ in range(self.engines)]

    def get(self, path: str) -> tuple[int, bytes]:
        if path == "/v1/models":
            return 200, json.dumps({"data": [{"id": "m", "max_model_len": 2048}]}).encode()
        if path != "/metrics" or not self.metrics:
            return 404, b""
        lines = [
            f'vllm:prefix_cache_{name}_total{{engine="{number}",model_name="m"}} {getattr(cache, name)}.0'
            for name in ("queries", "hits")
            for number, cache in enumerate(self.caches)
        ]
        return 200, "\n".join(["# HELP vllm:prefix_cache_queries_total Tokens.", *lines, ""]).encode()

    def post(self, path: str, body: dict[str, Any], rank: int) -> tuple[int, bytes]:
        if path == "/reset_prefix_cache":
            self.resets += 1
            for number in range(self.engines) if self.emptied is None else self.emptied:
                self.caches[number].prompts.clear()
            return 200, b""
        if path != "/v1/completions":
            return 404, b""
        assert body["model"] == "m" and body["max_tokens"] == 1
        if self.counts:
            self.caches[rank if self.takes_rank else 0].look_up(body["prompt"], self.block_tokens, self.delay_s)
        return 200, b"{}"


@contextmanager
def running(vllm: OldVllm) -> Iterator[ControlPlane]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(*vllm.get(self.path))

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            rank = int(self.headers[RANK_HEADER] or 0)
            self.answer(*vllm.post(self.path, json.loads(data) if data else {}, rank))

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield ControlPlane(base_url=f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("vllm", "proven"),
    [
        (OldVllm(), True),
        (OldVllm(engines=3), True),
        (OldVllm(delay_s=0.2), True),
        (OldVllm(emptied=()), False),
        (OldVllm(engines=3, emptied=(0, 2)), False),
        (OldVllm(engines=2, takes_rank=False), False),
        (OldVllm(counts=False), False),
        (OldVllm(metrics=False), False),
        (OldVllm(block_tokens=4096), False),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else "",
)
def test_a_prompt_that_is_no_longer_found_proves_the_caches_empty(
    vllm: OldVllm, proven: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchhydra.servers.prefix_probe.COUNTERS_TIMEOUT_S", 60.0 if proven else 0.5)
    with running(vllm) as control:
        assert reset_caches(control) is proven
        if proven:
            vllm.caches[0].look_up("a prompt of the load " * 50, vllm.block_tokens, 0.0)
            assert reset_caches(control) is True  # again, when the probe's own prompt is in the cache
            assert "a prompt of the load " * 50 not in vllm.caches[0].prompts


def test_another_clients_hits_are_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    vllm = OldVllm()
    post = vllm.post

    def with_traffic(path: str, body: dict[str, Any], rank: int) -> tuple[int, bytes]:
        answer = post(path, body, rank)
        if vllm.resets:
            vllm.caches[0].hits += 16
        return answer

    monkeypatch.setattr(vllm, "post", with_traffic)
    with running(vllm) as control:
        assert reset_caches(control) is False


def test_counters_are_read_by_engine() -> None:
    vllm = OldVllm(engines=2)
    vllm.caches[1].queries, vllm.caches[1].hits = 32, 16
    with running(vllm) as control:
        assert prefix_counters(control) == {"0": (0.0, 0.0), "1": (32.0, 16.0)}


ENGINE = "(EngineCore_DP{} pid=41{}) INFO 11-26 06:50:07 [block_pool.py:378] {}\n"


@pytest.mark.parametrize(
    ("text", "engines", "proven"),
    [
        (ENGINE.format(0, 0, EMPTIED), 1, True),
        (f"INFO 02-03 10:11:12 block_manager.py:77] {EMPTIED}\n", 1, True),
        (f"\x1b[0;36m(EngineCore pid=7)\x1b[0;0m INFO 11-26 06:50:07 [block_pool.py:378] {EMPTIED}\n", 1, True),
        (ENGINE.format(0, 0, EMPTIED) + ENGINE.format(1, 1, EMPTIED), 2, True),
        (ENGINE.format(0, 0, EMPTIED) * 2, 2, None),  # two block pools of one engine
        (ENGINE.format(0, 0, EMPTIED), 2, None),
        (ENGINE.format(0, 0, EMPTIED) + ENGINE.format(1, 1, REFUSED), 2, False),
        (ENGINE.format(0, 0, REFUSED), 1, False),
        ("INFO: 127.0.0.1 - POST /reset_prefix_cache HTTP/1.1 200 OK\n", 1, None),
    ],
)
def test_what_vllms_log_proves(
    tmp_path: Path, text: str, engines: int, proven: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchhydra.servers.caches.LOG_TIMEOUT_S", 0.05)
    log = tmp_path / "server.log"
    log.write_text(ENGINE.format(0, 0, EMPTIED) + text)  # an earlier reset proves nothing
    assert log_proof(log, len(ENGINE.format(0, 0, EMPTIED)), engines) is proven


def test_a_line_that_comes_after_the_answer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.servers.caches.LOG_TIMEOUT_S", 60.0)
    log = tmp_path / "server.log"
    log.touch()
    Timer(0.1, log.write_text, (ENGINE.format(0, 0, EMPTIED),)).start()
    assert log_proof(log, 0) is True
    assert log_proof(None, 0) is None


def test_a_reset_that_the_log_refuses_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of requests that were cancelled a moment ago are freed soon."""
    log, vllm = tmp_path / "server.log", OldVllm(metrics=False)
    log.touch()
    post = vllm.post

    def logged(path: str, body: dict[str, Any], rank: int) -> tuple[int, bytes]:
        with log.open("a") as file:
            file.write(ENGINE.format(0, 0, EMPTIED if vllm.resets == 2 else REFUSED))
        return post(path, body, rank)

    monkeypatch.setattr(vllm, "post", logged)
    with running(vllm) as control:
        assert reset_caches(control, log, timeout_s=60.0) is True
    assert vllm.resets == 3
