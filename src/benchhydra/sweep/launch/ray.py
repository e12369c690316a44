"""The connection to Ray of a sweep: made once, before its jobs are launched, and closed when they have ended."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from benchhydra.errors import EngineError
from benchhydra.loadgen.ray import cluster

#: How often a job's thread checks whether Ray is about to be shut down.
POLL_S = 0.5
#: How long the shutdown waits for the jobs' threads.
DRAIN_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ResourceRequest:
    """The resources that jobs request: their launcher's own config, ``hydra.launcher.ray``; ``connected`` may adapt it.

    any_device: a GPU if the cluster has one, else none (``gpus=auto``).
    """

    config: DictConfig
    any_device: bool

    def amount(self, kind: str, default: int) -> float:
        """The requested number of a resource, ``num_cpus`` or ``num_gpus``."""
        value = self.config.remote.get(kind)
        return float(default if value is None else value)


def resource_request(launcher: Any, config: DictConfig) -> ResourceRequest | None:
    """The resources that a launcher requests of Ray; None if it is not the Ray launcher."""
    ray_config = getattr(launcher, "ray_cfg", None)
    if ray_config is None:
        return None
    return ResourceRequest(ray_config, OmegaConf.select(config, "gpus.device") == "auto")


class RayThreads:
    """The threads that wait for jobs on Ray. Ray must not be shut down before they are done.

    Ray ends the process if a thread calls it after its shutdown.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._active_threads = 0
        self._shutting_down = False

    def run(self, work: Callable[[], Any]) -> Any:
        """Call ``work``, which uses Ray, and return its value. Raises EngineError if Ray is about to be shut down."""
        with self._change:
            self._check()
            self._active_threads += 1
        try:
            return work()
        finally:
            with self._change:
                self._active_threads -= 1
                self._change.notify_all()

    def get(self, reference: Any) -> Any:
        """``ray.get``; raises EngineError as soon as Ray is about to be shut down."""
        import ray  # an optional package, and slow to import

        while not ray.wait([reference], timeout=POLL_S)[0]:
            self._check()
        return ray.get(reference)

    def drain(self) -> None:
        """Refuse new work, and wait up to ``DRAIN_TIMEOUT_S`` until the threads that use Ray are done."""
        with self._change:
            self._shutting_down = True
            self._change.wait_for(lambda: not self._active_threads, DRAIN_TIMEOUT_S)

    def _check(self) -> None:
        if self._shutting_down:
            raise EngineError("the sweep has disconnected from Ray")


@contextmanager
def connected(requests: Sequence[ResourceRequest]) -> Iterator[RayThreads]:
    """Connect to Ray during the block: otherwise each job's thread would connect by itself.

    Without requests nothing is connected. Raises EngineError if Ray cannot be reached, or if this machine is the whole
    cluster and lacks the resources of a job.
    """
    threads = RayThreads()
    if not requests:
        yield threads
        return
    cluster.require_ray("launcher=ray")
    cpus = max(len(os.sched_getaffinity(0)), *(int(request.amount("num_cpus", 1)) for request in requests))
    init: Any = OmegaConf.to_container(requests[0].config.init, resolve=True)
    local = cluster.connect(cpus, init)
    try:
        _check_resources(requests, cluster.nodes(), local)
        with _launcher_polls(threads):
            yield threads
    finally:
        cluster.disconnect()


@contextmanager
def _launcher_polls(threads: RayThreads) -> Iterator[None]:
    """Make Hydra's launcher wait for its job in ``threads.get``: its own ``ray.get`` ends only when Ray ends.

    The threads are drained before the module ``ray`` is restored: a thread that is still starting its job calls
    ``get`` later.
    """
    import ray  # see RayThreads.get
    from hydra_plugins.hydra_ray_launcher import _core

    class PollingRay:
        get = staticmethod(threads.get)

        def __getattr__(self, name: str) -> Any:
            return getattr(ray, name)

    _core.ray = PollingRay()
    try:
        yield
    finally:
        threads.drain()
        _core.ray = ray


def _check_resources(requests: Sequence[ResourceRequest], nodes: Sequence[dict[str, float]], local: bool) -> None:
    """Warn if no node has the resources of a job: Ray would wait for such a node without a message.

    Raises EngineError if this machine is the whole cluster (``local``), which no node can join.
    """
    for request in requests:
        if request.any_device and not any(node.get("GPU") for node in nodes):
            with read_write(request.config), open_dict(request.config):
                request.config.remote.num_gpus = 0
        cpus, gpus = request.amount("num_cpus", 1), request.amount("num_gpus", 0)
        if any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            continue
        text = f"no node of the Ray cluster has the {cpus:g} CPUs and {gpus:g} GPUs that a group needs"
        if local:
            raise EngineError(text, hint="gpus=cpu, or hydra.launcher.ray.remote.num_gpus=0")
        sys.stderr.write(f"{text}: the group waits until one has\n")
