"""The program in this process, or in one of its own, in an empty directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from benchhydra import interruption
from benchhydra.cli import program as command_line


@dataclass(frozen=True)
class Ran:
    """What a run of the program said."""

    code: int
    out: str
    err: str


Program = Callable[..., Ran]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Program]:
    """``program("qps=1", ...)`` runs it in this process."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*words: str) -> Ran:
        GlobalHydra.instance().clear()
        capsys.readouterr()
        code = command_line.run(words)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    yield run
    GlobalHydra.instance().clear()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    interruption.forget_signals()


@pytest.fixture
def process(tmp_path: Path) -> Program:
    """``process("qps=1", ...)`` runs it in a process of its own."""

    def run(*words: str, program: tuple[str, ...] = (sys.executable, "-m", "benchhydra"), **env: str) -> Ran:
        done = subprocess.run(
            [*program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, env=os.environ | env
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
