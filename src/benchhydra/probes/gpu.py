"""The probe ``gpu``: other processes on the GPUs of this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from benchhydra.facts import fact
from benchhydra.probes import Probe, ProbeTarget
from benchhydra.probes._processes import process_tree

OTHER_GPU_PIDS = fact(
    "other_gpu_pids", unit="processes", doc="processes on the GPUs of this run that are neither ours nor the server's"
)


class GpuProbe(Probe):
    """Lists the processes on the GPUs with NVML, once, after the load."""

    name: ClassVar[str] = "gpu"

    def applies(self, target: ProbeTarget) -> bool:
        return bool(target.gpus) and target.server_pid is not None

    def start(self, target: ProbeTarget) -> None:
        from benchhydra import environment  # start-up time: 40 ms, only with GPUs

        self._target = target
        self._gpus = environment.gpus
        self._gpus()  # the first call loads NVML

    def stop(self) -> Mapping[str, Any]:
        users = {pid for gpu in self._gpus() if gpu.index in self._target.gpus for pid in gpu.pids}
        ours = process_tree([self._target.client_pid, self._target.server_pid or self._target.client_pid])
        return {OTHER_GPU_PIDS: tuple(sorted(users - ours))}
