"""Whatever ends our process, no vLLM stays behind, and what was measured is kept where that is possible."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import command_line, descendants, running
from tests.vllm.servers import NO_WORKER_PROCESS
from tests.waiting import wait_for

from benchhydra.result import Result

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(240)]


def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
    """A point that would send for ten minutes."""
    command = [sys.executable, "-m", "benchhydra", "model=tiny", "script=serving", "qps=5", "num_prompts=3000"]
    command += ["dataset.prompt_tokens=32", "dataset.output_tokens=16", "tracking=none", f"hydra.run.dir={out}"]
    command += ["engine.args.enforce_eager=true", "script.warmup_requests=2", "gpus=cpu", *more]
    with (out.parent / "client.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def answered(client: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether some requests have ended, so that there is something to keep."""
    assert client.poll() is None, log.read_text()[-3000:]
    return re.search(rb"[1-9]\d*/3000 requests", log.read_bytes()) is not None


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_an_interrupted_run_leaves_no_process(tmp_path: Path, sig: signal.Signals) -> None:
    out, log = tmp_path / "run", tmp_path / "client.log"
    client = start(out, *(() if sig is signal.SIGKILL else NO_WORKER_PROCESS))
    try:
        wait_for(lambda: answered(client, log), 180, "the load to start")
        servers = descendants(client.pid)
        assert any("vllm" in command_line(process) for process in servers)
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
