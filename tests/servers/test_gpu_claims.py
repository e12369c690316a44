"""GPUs belong to one benchmark at a time, on machines that have some: NVML is a stand-in here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchhydra import environment
from benchhydra.engines import ServerSpec
from benchhydra.environment import Gpu
from benchhydra.errors import EngineError, GpuUnavailable
from benchhydra.progress import Progress
from benchhydra.servers import gpus
from benchhydra.servers.pool import ServerPool

HOLDER = """
import sys
from benchhydra import environment
from benchhydra.environment import Gpu
from benchhydra.servers import gpus

environment.gpus = lambda: (Gpu(index=0, name="L4", uuid="GPU-0", memory_mib=24000, used_mib=10),)
with gpus.claim(1) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def gpu(index: int, *, used_mib: int = 10, pids: tuple[int, ...] = ()) -> Gpu:
    return Gpu(index=index, name="L4", uuid=f"GPU-{index}", memory_mib=24000, used_mib=used_mib, pids=pids)


@pytest.fixture(autouse=True)
def lock_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "locks"))


@pytest.fixture
def have(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say which GPUs there are."""

    def say(*machine_gpus: Gpu) -> None:
        monkeypatch.setattr(environment, "gpus", lambda: machine_gpus)

    return say


def test_two_processes_never_hold_the_same_gpu(have: Callable[..., None]) -> None:
    have(gpu(0))
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == b"(0,)\n"
        with pytest.raises(GpuUnavailable, match=f"GPU 0 by process {other.pid}"):
            with gpus.claim(1):
                pass
        other.kill()
    with gpus.claim(1) as held:
        assert held == (0,)


def test_idle_gpus_come_first_and_held_ones_are_left_out(have: Callable[..., None]) -> None:
    have(gpu(0, pids=(1234,)), gpu(1), gpu(2))
    with gpus.claim(1) as first:
        assert first == (1,)
        with gpus.claim(2) as others:
            assert others == (0, 2)
    with gpus.claim(3) as everything:
        assert everything == (0, 1, 2)


def test_a_failed_claim_releases_what_it_had_claimed(have: Callable[..., None]) -> None:
    have(gpu(0), gpu(1))
    with gpus.claim(1) as first:
        with pytest.raises(
            GpuUnavailable, match="2 GPUs requested, but only 1 of 2 are free; in use: GPU 0 by process"
        ):
            with gpus.claim(2):
                pass
        with gpus.claim(1) as other:
            assert (first, other) == ((0,), (1,))


def test_claiming_more_gpus_than_there_are_is_an_error(have: Callable[..., None]) -> None:
    have(gpu(0))
    with pytest.raises(GpuUnavailable, match="2 GPUs requested, but only 1 available"):
        with gpus.claim(2):
            pass


def test_an_engine_sees_only_its_own_gpus(have: Callable[..., None], tmp_path: Path) -> None:
    have(gpu(0), gpu(1), gpu(2))
    code = """
import json, os
names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
print(json.dumps({"ready": True}), flush=True)
input()
print(json.dumps({name: os.environ[name] for name in names}), flush=True)
input()
"""
    spec = ServerSpec(kind="worker", argv=(sys.executable, "-S", "-c", code), gpus=2)
    pool = ServerPool(tmp_path / "logs")
    with gpus.claim(1):
        with pool.lease(spec, Progress(), ready_timeout_s=60, stop_timeout_s=2, headers={}) as lease:
            seen = lease.call({"op": "environment"}, timeout_s=60)
            assert lease.gpus == (1, 2)
    assert json.dumps(seen) == '{"CUDA_VISIBLE_DEVICES": "1,2", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}'
    pool.close()
    with gpus.claim(3) as held:
        assert held == (0, 1, 2)


def test_a_failed_start_releases_its_gpus(have: Callable[..., None], tmp_path: Path) -> None:
    have(gpu(0))
    pool = ServerPool(tmp_path / "logs")
    with pytest.raises(EngineError):
        spec = ServerSpec(kind="worker", argv=(sys.executable, "-S", "-c", "raise SystemExit(3)"), gpus=1)
        with pool.lease(spec, Progress(), ready_timeout_s=60, stop_timeout_s=2, headers={}):
            pass
    with gpus.claim(1) as held:
        assert held == (0,)
    pool.close()


def test_released_memory_is_measured_against_the_level_before(
    have: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "RELEASE_S", 0.0)
    have(gpu(0, used_mib=900))
    assert gpus.wait_released((0,), {0: 600})
    assert not gpus.wait_released((0,), {0: 10})
