"""Sweeps as a user types them: real processes on the fake engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

QUICK = [
    "script=serving",
    "engine=fake",
    "engine.ttft_ms=1",
    "engine.itl_ms=0.5",
    "dataset.prompt_tokens=8",
    "dataset.output_tokens=4",
    "script.warmup_requests=1",
    "tracking=none",
    "script.fail_on=never",
    # These tests are about sweeps: a busy machine must not decide which points are believable.
    *("validity.lag_ms=1e9", "validity.stall_ms=1e9", "validity.client_cpu_fraction=99"),
    *("validity.client_wait_fraction=9", "validity.client_wait_fraction_of_server=9"),
    "validity.reached_fraction=0",
]


class Sweeps:
    """Starts sweeps in one directory, and reads their files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory.with_suffix(".log")
        self._processes: list[subprocess.Popen[bytes]] = []

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "benchhydra", "-m", *QUICK, *words]

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return self._start(self.command(f"hydra.sweep.dir={self.directory}", *words))

    def run_words(self, words: list[str], timeout: float) -> int:
        """Run a command line, with the directory added to it."""
        return self._start([*words, f"hydra.sweep.dir={self.directory}"]).wait(timeout=timeout)

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=self.directory.parent, env={**os.environ, "NO_COLOR": "1"}
            )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End the processes that a failed test left running: they must not fail another test."""
        for process in self._processes:
            process.kill()
            process.wait()

    def run(self, *words: str, timeout: float = 200) -> int:
        return self.start(*words).wait(timeout=timeout)

    def summary(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.directory / "sweep.json").read_text())
        return data

    def results(self) -> dict[str, dict[str, Any]]:
        """result.json by directory name."""
        return {path.parent.name: json.loads(path.read_text()) for path in self.directory.glob("*/result.json")}


@pytest.fixture
def sweeps(tmp_path: Path) -> Iterator[Sweeps]:
    started = Sweeps(tmp_path / "sweep")
    yield started
    started.close()


@pytest.fixture
def no_survivors() -> Callable[[Path], list[str]]:
    """The command lines of processes that work for a sweep's directory."""

    def look(directory: Path) -> list[str]:
        survivors = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = " ".join(process.info["cmdline"] or ())
            if str(directory) in words or process.info["cwd"] == str(directory.parent):
                survivors.append(words)
        return survivors

    return look
