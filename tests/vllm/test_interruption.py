"""Whatever ends our process, no vLLM stays behind, and what was measured is kept where that is possible."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.processes import command_line, descendants, running

from benchhydra.result import Result

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(240)]


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def start(out: Path) -> subprocess.Popen[bytes]:
    """A point that would send for ten minutes."""
    command = [sys.executable, "-m", "benchhydra", "model=tiny", "script=serving", "qps=5", "num_prompts=3000"]
    command += ["dataset.prompt_tokens=32", "dataset.output_tokens=16", "tracking=none", f"hydra.run.dir={out}"]
    command += ["engine.args.enforce_eager=true", "script.warmup_requests=2", "gpus=cpu"]
    with (out.parent / "client.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def sending(client: subprocess.Popen[bytes], log: Path) -> bool:
    assert client.poll() is None, log.read_text()[-3000:]
    return b"requests" in log.read_bytes()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_an_interrupted_run_leaves_no_process(tmp_path: Path, sig: signal.Signals) -> None:
    out, log = tmp_path / "run", tmp_path / "client.log"
    client = start(out)
    try:
        wait_for(lambda: sending(client, log), 180, "the load to start")
        servers = descendants(client.pid)
        assert any("vllm" in command_line(process) for process in servers)
        time.sleep(3)  # let some requests end, so that there is something to keep
        os.kill(client.pid, sig)
        client.wait(timeout=60)
        wait_for(lambda: not running(servers), 60, "vLLM's end")
    finally:
        client.kill()
    if sig is signal.SIGKILL:
        assert not (out / "result.json").exists()
        return
    assert client.returncode == 128 + sig
    result = Result.read(out)
    assert result.status == "interrupted"
    assert 0 < result.metrics["completed"].value < 3000
    assert (out / "records.parquet").exists() and (out / "server.log").exists()
