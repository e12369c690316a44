"""Limits of this machine: foreseen before a load, raised where possible, and named where they are met."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchhydra.errors import ConfigError
from benchhydra.loadgen import client_limits
from benchhydra.loadgen.client_limits import (
    FEWEST_OTHER_FILES,
    OTHER_FILES,
    check_connections,
    local_ports,
    most_connections,
)
from benchhydra.loads.burst import Burst
from benchhydra.loads.concurrency import Concurrency
from benchhydra.loads.poisson import Poisson
from benchhydra.loads.trace import Trace

SETUP = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"


def in_process(code: str, soft: int, hard: int) -> str:
    """What a Python program with limits of open files prints."""
    program = f"{SETUP.format(soft=soft, hard=hard)}\nfrom benchhydra.loadgen.client_limits import *\n{code}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_the_soft_limit_is_raised_to_what_the_load_needs() -> None:
    assert OTHER_FILES + 600 <= int(in_process("print(raise_open_files(600))", 256, 5000)) < 800
    assert in_process("print(raise_open_files(600))", 256, 300) == "300"
    assert in_process("print(raise_open_files(10))", 256, 300) == "256"


def test_a_load_that_certainly_needs_more_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1000))
    check_connections(1000 - FEWEST_OTHER_FILES, 1, "load.max_in_flight=984")
    check_connections(1500, 2, "load.max_in_flight=1500")
    with pytest.raises(
        ConfigError, match=r"load.max_in_flight=5000 needs 5,000 connections at once.* only 1,000 files"
    ):
        check_connections(5000, 1, "load.max_in_flight=5000")
    with pytest.raises(ConfigError, match="in 2 client processes"):
        check_connections(5000, 2, "load.max_in_flight=5000")


def test_a_load_that_certainly_needs_more_ports_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "ip_local_port_range"
    file.write_text("50000\t50099\n")
    monkeypatch.setattr(client_limits, "PORT_RANGE", file)
    assert len(local_ports()) == 100
    check_connections(100, 1, "load.max_in_flight=100")
    with pytest.raises(ConfigError, match="only 100 local ports") as caught:
        check_connections(101, 4, "load.max_in_flight=101")
    assert "sysctl" in caught.value.hint
    file.unlink()
    check_connections(101, 4, "load.max_in_flight=101")


def test_only_what_is_certain_counts() -> None:
    assert Concurrency(max_in_flight=600).at_once(1000) == 600
    assert Concurrency(max_in_flight=600).at_once(10) == 10
    assert Poisson(qps=float("inf")).at_once(1000) == 1000
    assert Poisson(qps=float("inf"), max_in_flight=5).at_once(1000) == 5
    assert Poisson(qps=1e6).at_once(1000) == 1  # depends on the server
    assert Burst(qps=5.0, size=50).at_once(1000) == 50
    assert Trace().at_once(1000) == 1
    assert most_connections() > 1


def run(tmp_path: Path, soft: int, hard: int, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run the fake engine's benchmark under limits of open files."""
    program = f"{SETUP.format(soft=soft, hard=hard)} from benchhydra.cli.program import main; main()"
    base = ("engine=fake", "model=tiny", "tracking=none", "dataset.output_tokens=4", "dataset.prompt_tokens=16")
    command = [sys.executable, "-c", program, *base, "script.warmup_requests=1", f"hydra.run.dir={tmp_path}/run"]
    return subprocess.run(
        [*command, *overrides], capture_output=True, text=True, cwd=tmp_path, env=os.environ, check=False
    )


@pytest.mark.slow
def test_requests_without_a_file_descriptor_are_failures_of_the_client(tmp_path: Path) -> None:
    load = ("num_prompts=200", "qps=1000", "engine.ttft_ms=500", "load.processes=1")
    assert run(tmp_path, 64, 90, *load).returncode == 1
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    reason = next(reason["text"] for reason in result["reasons"] if reason["check"] == "client_limits")
    assert "not of the server" in reason and "ulimit -n is 90" in reason
    assert result["failure_texts"][0]["status"] == "client_limit" and "EMFILE" in result["failure_texts"][0]["text"]


def test_a_closed_loop_beyond_the_hard_limit_is_refused_before_the_server_starts(tmp_path: Path) -> None:
    refused = run(tmp_path, 90, 90, "load=concurrency", "load.max_in_flight=200", "num_prompts=400")
    assert refused.returncode != 0
    assert "load.max_in_flight=200 needs 200 connections at once" in refused.stderr and "ulimit" in refused.stderr
    assert not (tmp_path / "run" / "server.log").exists()
