"""An API and a load of a user's own, the examples of docs/extending.md: no edit inside the package."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.loadgen.conftest import ImportPlugin
from tests.loadgen.loads import endpoint_of, plan_of
from tests.loadgen.servers import served

from benchhydra.datasets import Prompt
from benchhydra.errors import ConfigError
from benchhydra.loadgen import run_load
from benchhydra.progress import Progress
from benchhydra.result import Result

THINK_MS = 30.0


class TokenizeServer:
    """Answers with four tokens; a prompt of "error" with an error object, one of "refuse" with a 422."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].split()
                body = await reader.readexactly(int(length[0]) if length else 0)
                writer.write(self._response(head.split()[1], json.loads(body or b"{}")))
                await writer.drain()
        writer.close()

    def _response(self, path: bytes, body: dict[str, object]) -> bytes:
        status = b"200 OK"
        document: dict[str, object] = {"tokens": [1, 2, 3, 4]}
        if path in (b"/health", b"/v1/models"):
            document = {"data": [{"id": "m"}]}
        elif path != b"/tokenize":
            status, document = b"404 Not Found", {"error": {"message": f"no {path.decode()}"}}
        elif body["prompt"] == "refuse":
            status, document = b"422 No", {"detail": "too long"}
        elif body["prompt"] == "error":
            document = {"object": "error", "message": "out of memory"}
        if path == b"/tokenize":
            self.bodies.append(body)
        payload = json.dumps(document).encode()
        return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(payload), payload)


@pytest.fixture
def server() -> Iterator[TokenizeServer]:
    made = TokenizeServer()
    with served(made.answer) as made.port:
        yield made


@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_api_that_generates_nothing(import_plugin: ImportPlugin, server: TokenizeServer, processes: str) -> None:
    api = import_plugin("tokenize").Tokenize()
    texts = [f"text {i}" for i in range(18)] + ["error", "refuse"]
    plan = plan_of(
        endpoint_of(server.port, api),
        [Prompt(text, 4, 16) for text in texts],
        send_times_s=np.linspace(0, 0.1, len(texts)),
        timeout_s=60,
        processes=processes,
    )
    result = run_load(plan, Progress())
    rows = result.records
    assert result.facts["client_processes"] == int(processes)
    assert sorted(str(body["prompt"]) for body in server.bodies) == sorted(texts)
    assert all(set(body) == {"model", "prompt"} for body in server.bodies)
    assert rows.failures() == {"error_event": 1, "http_4xx": 1}  # none is SHORT, though no output tokens came
    assert set(rows.errors) == {"out of memory", "HTTP 422: too long"}
    completed = rows.where(rows.completed)
    assert len(completed) == 18
    assert (completed.prompt_tokens == 4).all()
    assert (completed.output_tokens == -1).all()
    assert (completed.first_ns == -1).all() and (completed.last_ns == -1).all()  # there is no TTFT
    assert (completed.done_ns > completed.sent_ns).all()
    assert len(completed.gaps_ns) == 0


def test_the_api_is_measured_from_the_command_line(server: TokenizeServer, plugins: Path, tmp_path: Path) -> None:
    words = ["engine=attach", f"engine.base_url=http://127.0.0.1:{server.port}", "model.id=m", "model=custom"]
    words += ["model.tokenizer=word", "api=tokenize", "num_prompts=20", "qps=100", "load.processes=2"]
    words += ["tracking=none", "script.fail_on=never", f"hydra.run.dir={tmp_path}/run"]
    ran = subprocess.run(
        [sys.executable, "-m", "benchhydra", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(plugins)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    metrics = Result.read(tmp_path / "run" / "result.json").metrics
    assert metrics["completed"].value == 20
    assert metrics["mean_input_tokens"].value == 4
    assert metrics["median_e2el_ms"].value > 0
    assert not [name for name in metrics if "ttft" in name or "tpot" in name or "itl" in name or "output" in name]


def test_a_request_that_waits_for_another_ones_answer(import_plugin: ImportPlugin, server: TokenizeServer) -> None:
    load = import_plugin("chains").Chains(qps=100.0, turns=2, think_s=THINK_MS / 1e3)
    send_times_s = load.send_times_s(20, np.random.default_rng(1))
    plan = plan_of(
        endpoint_of(server.port, import_plugin("tokenize").Tokenize()),
        [Prompt(str(i), i, 1) for i in range(20)],
        send_times_s=send_times_s,
        pacing=load.pacing(send_times_s),
    )
    result = run_load(plan, Progress())
    rows = result.records
    assert rows.failures() == {} and len(rows) == 20
    by_row = np.argsort(rows.asked_prompt_tokens)
    scheduled_ns, done_ns = rows.scheduled_ns[by_row], rows.done_ns[by_row]
    assert (scheduled_ns[1::2] - done_ns[0::2] == THINK_MS * 1e6).all()
    assert (rows.sent_ns >= rows.scheduled_ns).all()
    firsts_ns = scheduled_ns[0::2]
    assert np.abs((firsts_ns - firsts_ns[0]) / 1e9 - send_times_s[0::2]).max() < 2e-9
    assert result.facts["client_processes"] == 1
    assert 0 <= result.facts["client_lag_p99_ms"] < THINK_MS  # thinking is not lateness


@pytest.mark.parametrize("fields", [{"processes": "2"}, {"executor": "ray"}])
def test_such_a_load_runs_in_one_client_process(import_plugin: ImportPlugin, fields: dict[str, Any]) -> None:
    chains = import_plugin("chains").Chains
    setting = "=".join(*fields.items())
    with pytest.raises(ConfigError, match=f"load.{setting}: this load runs in one client process"):
        chains(qps=10.0, **fields)
    pacing = chains(qps=10.0).pacing(np.zeros(4))
    plan = plan_of(endpoint_of(1), [Prompt("hi", 1, 1)] * 4, send_times_s=np.zeros(4), pacing=pacing, **fields)
    with pytest.raises(ConfigError, match="ChainPacing paces a load in one client process"):
        run_load(plan, Progress())
