"""A stand-in for vLLM's server: real processes and sockets, ready in a fraction of a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchhydra.engines import ServerSpec
from benchhydra.servers.pool import ServerPool

STAND_IN = """
import argparse, json, os, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

flags = argparse.ArgumentParser()
flags.add_argument("--host")
flags.add_argument("--port", type=int)
flags.add_argument("--unhealthy", action="store_true")
flags.add_argument("--reset", default="true")
flags.add_argument("--deaf", action="store_true")
flags.add_argument("--child", action="store_true")
flags.add_argument("--begun")
flags.add_argument("--engine", action="store_true")
flags.add_argument("--farewell")
flags.add_argument("--until")
flags.add_argument("--name")
flags = flags.parse_args()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(503 if flags.unhealthy and self.path == "/health" else 200, {"data": []})

    def do_POST(self):
        print("asked for", self.path, flush=True)
        if flags.reset == "absent" or self.path != "/reset_prefix_cache":
            self.answer(404, {})
        else:
            if flags.reset == "logged":  # as vLLM did until 0.31
                print("(EngineCore pid=7) INFO [block_pool.py:378] Successfully reset prefix cache", flush=True)
            self.answer(200, {} if flags.reset in ("silent", "logged") else {"success": flags.reset == "true"})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


if flags.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if flags.child:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
engine = subprocess.Popen(["sleep", "600"]) if flags.engine else None


def end(*_):
    if engine is not None:
        engine.terminate()
        engine.wait()
    time.sleep(0 if flags.until else 0.8)
    for _ in range(3000 if flags.until else 0):
        if os.path.exists(flags.until):
            break
        time.sleep(0.01)
    with open(flags.farewell, "w") as file:
        file.write(str(time.time()))
    os._exit(0)


if flags.begun:
    with open(flags.begun, "w") as file:
        file.write(str(time.time()))
if flags.farewell:
    signal.signal(signal.SIGTERM, end)
print("loading weights", flush=True)
ThreadingHTTPServer((flags.host, flags.port), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[..., ServerSpec]:
    """Make a ServerSpec of a stand-in server with flags."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)

    def make(*flags: str) -> ServerSpec:
        return ServerSpec(kind="http", argv=(sys.executable, "-S", str(script), *flags))

    return make


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ServerPool]:
    pool = ServerPool(tmp_path / "logs")
    yield pool
    pool.close()
