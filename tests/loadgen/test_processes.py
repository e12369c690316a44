"""How many client processes there are, and what is recorded where one of them dies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import psutil
import pytest
from tests.loadgen.loads import endpoint_of, plan_of
from tests.loadgen.servers import served
from tests.processes import command_line

from benchhydra.datasets import Prompt
from benchhydra.errors import EngineError
from benchhydra.loadgen import LoadPlan, run_load
from benchhydra.loadgen.driver import processes_for
from benchhydra.progress import Progress

ASKED = threading.Event()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while await reader.read(1 << 16):
            ASKED.set()
    writer.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    with served(silence) as port:
        yield port


def plan(port: int, count: int, seconds: float, *, tokens: int = 64, processes: str = "auto") -> LoadPlan:
    return plan_of(
        endpoint_of(port),
        [Prompt("hi", 1, tokens)] * count,
        send_times_s=np.linspace(0, seconds, count),
        timeout_s=1.0,
        processes=processes,
    )


@pytest.mark.parametrize(("rate", "cores", "expected"), [(100, 8, 1), (1600, 8, 2), (1600, 2, 1), (5000, 4, 3)])
def test_auto_counts_chunks_and_cores(monkeypatch: pytest.MonkeyPatch, rate: int, cores: int, expected: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert processes_for(plan(1, rate, 1.0)) == expected


@pytest.mark.parametrize("dying", [1, 2])
def test_a_process_that_dies_is_reported(silent_port: int, dying: int) -> None:
    def kill() -> None:
        if ASKED.wait(60):
            mine = [c for c in psutil.Process().children() if "benchhydra.loadgen.processes.child" in command_line(c)]
            for child in mine[:dying]:
                child.kill()

    ASKED.clear()
    killer = threading.Thread(target=kill)
    killer.start()
    if dying == 2:
        with pytest.raises(EngineError, match="exit code -9"):
            run_load(plan(silent_port, 8, 0.1, processes="2"), Progress())
    else:
        result = run_load(plan(silent_port, 8, 0.1, processes="2"), Progress())
        lost_processes = result.facts["lost_client_processes"]
        assert len(lost_processes) == 1
        assert "exit code -9" in lost_processes[0]
        assert result.records.failures() == {"timeout": 4, "cancelled": 4}
        assert any("exit code -9" in text for text in result.records.errors)
    killer.join()
