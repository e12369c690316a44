"""Servers to scrape, and probes that are written for one test: none of them is left behind for the next one."""

from __future__ import annotations

import importlib
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import benchhydra.probes
from benchhydra import registry
from benchhydra.probes import watch
from benchhydra.probes.helper_process import close_idle_helpers

WriteProbe = Callable[[str], str]


class MetricsServer(ThreadingHTTPServer):
    """A server whose ``/metrics`` say ``text``, after ``delay_s``. ``headers``: those of the last request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.text: str | None = ""
        self.status = 200
        self.delay_s = 0.0
        self.headers: dict[str, str] = {}
        self.base_url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer

    def do_GET(self) -> None:
        self.server.headers = dict(self.headers)
        time.sleep(self.server.delay_s)
        body = (self.server.text or "").encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[MetricsServer]:
    server = MetricsServer()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def metrics_server() -> Iterator[MetricsServer]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def built_in_probes() -> Iterator[None]:
    registry.import_modules("benchhydra.probes")
    before = dict(benchhydra.probes._probes)
    yield
    benchhydra.probes._probes.clear()
    benchhydra.probes._probes.update(before)
    close_idle_helpers()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine makes no probe late, except where a test is about that: ``usual_patience``."""
    monkeypatch.setattr(watch, "PATIENCE_S", 60.0)


@pytest.fixture
def usual_patience(patience: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE_S", 1.5)


@pytest.fixture
def write_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteProbe]:
    """Write a module with a probe, as a user would, and import it. Returns the module's name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def write(code: str) -> str:
        names.append(f"probe_of_a_test_{len(names)}")
        head = "import os, time\nfrom benchhydra.facts import fact\nfrom benchhydra.probes import Probe, Sample\n\n"
        (tmp_path / f"{names[-1]}.py").write_text(head + textwrap.dedent(code))
        importlib.import_module(names[-1])
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)
