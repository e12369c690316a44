"""The probe ``gpu``: who uses the GPUs of this run beside us. NVML is a stand-in here."""

from __future__ import annotations

import os
import subprocess

import pytest

from benchhydra import environment
from benchhydra.environment import Gpu
from benchhydra.probes import ProbeTarget
from benchhydra.probes.gpu import GpuProbe


def gpu(index: int, *pids: int) -> Gpu:
    return Gpu(index=index, name="L4", uuid=f"GPU-{index}", memory_mib=24000, used_mib=10, pids=pids)


def test_others_on_our_gpus_are_named_and_our_own_processes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as server:
        target = ProbeTarget(client_pid=os.getpid(), server_pid=server.pid, gpus=(0, 2))
        monkeypatch.setattr(
            environment, "gpus", lambda: (gpu(0, server.pid, 999_999), gpu(1, 888_888), gpu(2, os.getpid(), 1))
        )
        probe = GpuProbe()
        assert probe.applies(target)
        probe.start(target)
        assert list(probe.sample()) == []
        assert probe.stop() == {"other_gpu_pids": (1, 999_999)}
        server.kill()


@pytest.mark.parametrize(
    "target", [ProbeTarget(client_pid=1, server_pid=2), ProbeTarget(client_pid=1, gpus=(0,))], ids=["no GPU", "no pid"]
)
def test_the_probe_needs_gpus_and_a_server_process(target: ProbeTarget) -> None:
    assert not GpuProbe().applies(target)
