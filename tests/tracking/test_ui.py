"""``benchhydra ui`` serves the store on loopback, prints its links, and leaves nothing however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchhydra.result import Result
from benchhydra.tracking.mlflow import Mlflow

Make = Callable[..., tuple[Result, Path]]


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def serving(uri: str, port: int) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    command = [sys.executable, "-m", "benchhydra", "ui", "--uri", uri, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        try:
            for line in process.stdout:
                lines.append(line.strip())
                if line.startswith("Ctrl-C"):
                    break
            yield process, lines
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_ui_serves_views_and_leaves_no_process(uri: str, point: Make, end: signal.Signals) -> None:
    Mlflow(uri=uri, artifacts=False).log(*point())
    port = free_port()
    with serving(uri, port) as (process, lines):
        base = f"http://127.0.0.1:{port}"
        assert any(f"{base}/#/experiments/" in line and "viewStateShareKey=serving" in line for line in lines), lines
        assert any(line.startswith("charts:") and line.endswith("compareRunsMode=CHART") for line in lines), lines
        with urllib.request.urlopen(f"{base}/version", timeout=60) as answer:
            assert answer.read().decode().startswith("3.17")
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        os.kill(process.pid, end)
        process.wait(60)
        _, left = psutil.wait_procs(children, timeout=60)
        assert left == []


@pytest.mark.slow
def test_port_in_use_is_an_error(uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "benchhydra", "ui", "--uri", uri, "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    line, hint = done.stderr.splitlines()
    assert "--port N" in hint
    assert f"cannot listen on port {port}: Address already in use" in line


def test_unreachable_store_is_an_error() -> None:
    command = [sys.executable, "-m", "benchhydra", "ui", "--uri", "http://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2  # the error and its hint
    assert "cannot open the store: no answer from http://127.0.0.1:1" in done.stderr
