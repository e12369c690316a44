"""The pool on real processes: stand-in offline engines and servers that fail."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.servers.pool import ServerPool

FAKE = Path(__file__).resolve().parents[2] / "src/benchhydra/engine_side/fake_worker.py"
LIMITS: dict[str, Any] = {"ready_timeout_s": 60.0, "stop_timeout_s": 2.0}


def test_equal_specs_share_one_worker_which_ends_with_the_pool(tmp_path: Path) -> None:
    spec = ServerSpec(kind="worker", argv=(sys.executable, str(FAKE), "--ttft-ms", "1", "--itl-ms", "1"))
    pool = ServerPool(tmp_path)
    with pool.lease(spec, Progress(), headers={}, **LIMITS) as first:
        answer = first.call({"op": "generate", "prompts": ["a b", "c"], "output_tokens": [3, 5]}, timeout_s=60)
        assert (answer["prompt_tokens"], answer["output_tokens"]) == ([2, 1], [3, 5])
    with pool.lease(spec, Progress(), headers={}, **LIMITS) as second:
        assert (second.fresh, second.cache_reset, second.pid) == (False, True, first.pid)
    tree = psutil.Process(first.pid).children(recursive=True)
    pool.close()
    assert pool.starts == 1
    assert tree and not any(process.is_running() for process in tree)


def test_a_crash_at_start_ends_with_the_log(tmp_path: Path) -> None:
    spec = ServerSpec(kind="http", argv=(sys.executable, "-c", "raise ValueError('no such weights')"))
    pool = ServerPool(tmp_path)
    with pytest.raises(EngineError, match=r"exited with code 1.*ValueError: no such weights"):
        with pool.lease(spec, Progress(), headers={}, **LIMITS):
            pass
    pool.close()


def test_a_fresh_server_runs_alone_and_ends_with_its_block(tmp_path: Path) -> None:
    kept = ServerSpec(kind="worker", argv=(sys.executable, str(FAKE), "--ttft-ms", "1"))
    started = ServerSpec(kind="worker", argv=(sys.executable, str(FAKE), "--ttft-ms", "2"))
    pool = ServerPool(tmp_path, keep=True)
    with pool.lease(kept, Progress(), headers={}, **LIMITS) as lease:
        before = psutil.Process(lease.pid)
    for count in (2, 3):
        with pool.fresh(started, Progress(), headers={}, **LIMITS) as lease:
            assert not before.is_running()
            assert lease.fresh and lease.start_s is not None and lease.started_ns is not None
            assert lease.started_ns + lease.start_s * 1e9 <= time.monotonic_ns()
            before = psutil.Process(lease.pid)
        assert not before.is_running()
        assert pool.starts == count
    pool.close()


def test_an_error_inside_the_block_of_a_fresh_server_stops_it(tmp_path: Path) -> None:
    pool = ServerPool(tmp_path)
    spec = ServerSpec(kind="worker", argv=(sys.executable, str(FAKE)))
    with pytest.raises(KeyboardInterrupt), pool.fresh(spec, Progress(), headers={}, **LIMITS) as lease:
        server = psutil.Process(lease.pid)
        raise KeyboardInterrupt
    assert not server.is_running()
    pool.close()
