"""Servers that are being shut down: what the next one waits for, and that nothing is left of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.servers.pool import ServerPool
from benchhydra.servers.shutdown import PendingShutdown
from benchhydra.servers.worker import OfflineWorker

Make = Callable[..., ServerSpec]
LIMITS: dict[str, Any] = {"ready_timeout_s": 60.0, "stop_timeout_s": 10.0}

HOLDS_SHARED_MEMORY = """
import json, os, signal, sys
from multiprocessing.shared_memory import SharedMemory
signal.signal(signal.SIGTERM, signal.SIG_IGN)
memory = SharedMemory(create=True, size=4096)
print(json.dumps({"ready": True, "name": memory.name}), flush=True)
sys.stdin.read()
signal.pause()
"""


class RecordingServer:
    """Records the calls; each exception given interrupts one ``stop``."""

    def __init__(self, *interruptions: BaseException) -> None:
        self.calls: list[str] = []
        self.interruptions = list(interruptions)

    def terminate(self) -> None:
        self.calls.append("terminate")

    def wait_memory_released(self) -> None:
        self.calls.append("wait_memory_released")

    def stop(self) -> None:
        self.calls.append("stop")
        if self.interruptions:
            raise self.interruptions.pop()


def restarted_s(tmp_path: Path, stand_in: Make, *flags: str) -> float:
    """How long after the first server's end the second one began, one group after another."""
    ended, begun = tmp_path / "ended", tmp_path / "begun"
    with PendingShutdown() as pending:
        before, after = (ServerPool(tmp_path / name, pending_shutdown=pending) for name in ("before", "after"))
        with before.lease(stand_in("--farewell", str(ended), *flags), Progress(), headers={}, **LIMITS) as lease:
            root = psutil.Process(lease.pid)
            family = [root, *root.children(recursive=True)]
        before.close()
        with after.lease(stand_in("--begun", str(begun)), Progress(), headers={}, **LIMITS):
            assert not any(process.is_running() for process in family)
        after.close()
    return float(begun.read_text()) - float(ended.read_text())


def test_the_next_server_starts_once_the_engine_process_of_the_first_has_exited(tmp_path: Path, stand_in: Make) -> None:
    until_the_next_has_begun = ("--until", str(tmp_path / "begun"))
    assert restarted_s(tmp_path, stand_in, "--engine", *until_the_next_has_begun) < 0


def test_the_next_server_starts_once_a_server_that_is_the_engine_has_exited(tmp_path: Path, stand_in: Make) -> None:
    assert restarted_s(tmp_path, stand_in) > 0


def test_the_end_of_the_block_waits_for_the_last_server(tmp_path: Path, stand_in: Make) -> None:
    with PendingShutdown() as pending:
        pool, seen = ServerPool(tmp_path / "logs", pending_shutdown=pending), tmp_path / "seen"
        slow = stand_in("--farewell", str(tmp_path / "ended"), "--until", str(seen))
        with pool.lease(slow, Progress(), headers={}, **LIMITS) as lease:
            server = psutil.Process(lease.pid)
        pool.close()
        assert server.is_running() and pending.pending
        seen.touch()
    assert not server.is_running() and not pending.pending


def test_an_engine_that_is_killed_leaves_no_shared_memory(tmp_path: Path) -> None:
    spec = ServerSpec(kind="worker", argv=(sys.executable, "-c", HOLDS_SHARED_MEMORY))
    pool = ServerPool(tmp_path / "logs")
    with pool.lease(spec, Progress(), ready_timeout_s=60, stop_timeout_s=0.2, headers={}) as lease:
        assert lease.pid is not None
        server = lease.server
        assert isinstance(server, OfflineWorker)
        memory = Path("/dev/shm") / server.ready["name"]
        assert memory.exists()
    pool.close()
    assert not memory.exists()


def test_an_interrupted_wait_is_finished_before_the_interruption_is_passed_on() -> None:
    pending, server = PendingShutdown(), RecordingServer(KeyboardInterrupt())
    pending.add(server)
    with pytest.raises(KeyboardInterrupt):
        pending.wait()
    assert server.calls == ["terminate", "stop", "stop"] and not pending.pending


def test_a_server_that_cannot_be_stopped_does_not_keep_the_next_one_from_being_terminated() -> None:
    pending, stuck, next_server = PendingShutdown(), RecordingServer(EngineError("cannot stop")), RecordingServer()
    pending.add(stuck)
    with pytest.raises(EngineError, match="cannot stop"):
        pending.add(next_server)
    pending.wait_memory_released()
    pending.wait()
    assert stuck.calls == ["terminate", "stop"]
    assert next_server.calls == ["terminate", "wait_memory_released", "stop"]
