"""Waiting until an overloaded server is empty: by its gauges, else by short requests; never without an end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchhydra.engines import ServerSpec
from benchhydra.progress import Progress
from benchhydra.servers import drain
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.pool import ServerPool

MODELS = '{"data": [{"id": "m"}]}'


@contextmanager
def serving(metrics: Callable[[], str | None], answer: Callable[[], None] = lambda: None) -> Iterator[ControlPlane]:
    """A server with these metrics (None: no such path); ``answer`` is called for each completion."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(metrics() if self.path == "/metrics" else MODELS)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer()
            self._reply("{}")

        def log_message(self, *args: object) -> None:
            pass

        def _reply(self, text: str | None) -> None:
            self.send_response(404 if text is None else 200)
            body = (text or "").encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield ControlPlane(base_url=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def gauges(running: float, waiting: float) -> str:
    labels = '{engine="0",model_name="m"}'
    return (
        f"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{labels} {running}\n"
        f"vllm:num_requests_waiting{labels} {waiting}\nvllm:num_requests_waiting_by_reason{labels} 99.0\n"
    )


class Falling:
    """A queue that is one request shorter at each look."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self) -> str:
        self.left -= 1
        return gauges(min(self.left, 2), max(self.left - 2, 0))


def test_waits_until_nothing_runs_and_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "POLL_S", 0.01)
    queue = Falling(6)
    with serving(queue) as control:
        waited = drain.wait_until_empty(control, Progress())
    assert waited.empty and queue.left == 0 and waited.wall_s < 30


def test_an_empty_server_costs_one_look() -> None:
    looks: list[int] = []

    def metrics() -> str:
        looks.append(1)
        return gauges(0, 0)

    with serving(metrics) as control:
        assert drain.wait_until_empty(control, Progress()).empty
    assert len(looks) == 1


def test_a_server_that_never_gets_empty_is_not_waited_for_for_ever() -> None:
    with serving(lambda: gauges(1, 0)) as control:
        waited = drain.wait_until_empty(control, Progress(), timeout_s=0.3)
    assert not waited.empty and 0.3 <= waited.wall_s < 30


def test_without_gauges_short_requests_tell() -> None:
    """The first waits behind the queue, the second for nothing, the third as long as the second."""
    times_s = [0.4, 0.0]

    def answer() -> None:
        time.sleep(times_s.pop(0) if times_s else 0.0)

    with serving(lambda: None, answer) as control:
        waited = drain.wait_until_empty(control, Progress())
    assert waited.empty and not times_s and waited.wall_s >= 0.4


def test_without_gauges_a_server_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    release = threading.Event()

    def answer() -> None:
        release.wait(60)

    with serving(lambda: None, answer) as control:
        waited = drain.wait_until_empty(control, Progress(), timeout_s=0.3)
        release.set()
    assert not waited.empty and waited.wall_s < 30


def test_other_engines_gauges_are_read() -> None:
    with serving(lambda: "sglang:num_running_reqs 2\nsglang:num_queue_reqs 3\n") as control:
        assert drain.requests_on_server(control) == 5
    with serving(lambda: "llamacpp:requests_processing 1\nllamacpp:requests_deferred 0\n") as control:
        assert drain.requests_on_server(control) == 1
    with serving(lambda: "tgi_batch_current_size 2\ntgi_queue_size 3\n") as control:
        assert drain.requests_on_server(control) == 5
    with serving(lambda: "other 1\n") as control:
        assert drain.requests_on_server(control) is None


def test_a_server_that_is_started_again_need_not_be_empty(pool: ServerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.servers.pool.wait_until_empty", lambda *_: pytest.fail("it was waited for"))
    argv = (sys.executable, "-P", "-m", "benchhydra.fakeserver", "--model", "m")
    spec = ServerSpec(kind="http", argv=argv, cache_reset="restart")
    limits: dict[str, Any] = {"ready_timeout_s": 60.0, "stop_timeout_s": 5.0, "headers": {}}
    with pool.lease(spec, Progress(), **limits) as first:
        pass
    pool.overloaded = True
    with pool.lease(spec, Progress(), **limits) as second:
        assert second.pid != first.pid and second.facts()["server_drain_s"] is None


def test_the_point_after_an_overload_begins_on_an_empty_server(pool: ServerPool) -> None:
    flags = ("--ttft-ms", "300", "--itl-ms", "0", "--max-concurrency", "1", "--model", "m")
    spec = ServerSpec(kind="http", argv=(sys.executable, "-P", "-m", "benchhydra.fakeserver", *flags))
    limits: dict[str, Any] = {"ready_timeout_s": 60.0, "stop_timeout_s": 5.0, "headers": {}}
    with pool.lease(spec, Progress(), **limits) as first:
        assert first.facts()["server_drain_s"] is None
        control = ControlPlane(base_url=first.base_url)
        body = {"model": "m", "prompt": "a", "max_tokens": 1}
        ask = partial(control.ask, "/v1/completions", "POST", json=body)
        left = [threading.Thread(target=ask) for _ in range(2)]
        for request in left:
            request.start()
        while drain.requests_on_server(control) != 2:
            time.sleep(0.01)
    pool.overloaded = True
    with pool.lease(spec, Progress(), **limits) as second:
        facts = second.facts()
        assert not second.fresh and facts["server_drained"] is True and facts["server_drain_s"] > 0.1
        assert drain.requests_on_server(control) == 0
    with pool.lease(spec, Progress(), **limits) as third:
        assert not third.fresh and third.facts()["server_drain_s"] is None
    for request in left:
        request.join()
