"""Ray for a sweep: connected to once, before its jobs are launched, and shut down when they have ended."""

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
#: How long the shutdown waits for these threads.
DRAIN_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ResourceRequest:
    """What jobs ask of Ray: their launcher's own config (``hydra.launcher.ray``), which ``connected`` may adapt.

    any_device: a GPU where the cluster has one, and none elsewhere (``gpus=auto``).
    """

    config: DictConfig
    any_device: bool

    def amount(self, kind: str, default: int) -> float:
        """How many of ``num_cpus`` or ``num_gpus`` a job asks for."""
        value = self.config.remote.get(kind)
        return float(default if value is None else value)


def resource_request(launcher: Any, config: DictConfig) -> ResourceRequest | None:
    """What a launcher asks of Ray; None from a launcher that is not Ray's."""
    ray_config = getattr(launcher, "ray_cfg", None)
    if ray_config is None:
        return None
    return ResourceRequest(ray_config, OmegaConf.select(config, "gpus.device") == "auto")


class RayThreads:
    """The threads that wait for jobs on Ray. Ray must not be shut down before they are done.

    Ray ends a process of which a thread asks it for something after its shutdown.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._inside = 0
        self._leaving = False

    def run(self, work: Callable[[], Any]) -> Any:
        """Do something with Ray. Raises EngineError where Ray is about to be shut down."""
        with self._change:
            self._check()
            self._inside += 1
        try:
            return work()
        finally:
            with self._change:
                self._inside -= 1
                self._change.notify_all()

    def get(self, reference: Any) -> Any:
        """``ray.get``; raises EngineError as soon as Ray is about to be shut down."""
        import ray  # an optional package, and slow to import

        while not ray.wait([reference], timeout=POLL_S)[0]:
            self._check()
        return ray.get(reference)

    def drain(self) -> None:
        """Let no thread begin, and wait until those that use Ray are done."""
        with self._change:
            self._leaving = True
            self._change.wait_for(lambda: not self._inside, DRAIN_TIMEOUT_S)

    def _check(self) -> None:
        if self._leaving:
            raise EngineError("the sweep has left Ray")


@contextmanager
def connected(requests: Sequence[ResourceRequest]) -> Iterator[RayThreads]:
    """A connection to Ray while jobs run on it: otherwise each of their threads would connect by itself.

    Without requests there is no connection. Raises EngineError where none can be made, or where this machine is the
    whole cluster and can never run a job.
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

    The threads are drained before Ray is put back: one that is only starting its job gets to ``get`` later.
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
    """Say when no node has what a job asks for: Ray would wait for it without a word.

    Raises EngineError where this machine is the whole cluster (``local``), which no node can join.
    """
    for request in requests:
        if request.any_device and not any(node.get("GPU") for node in nodes):
            with read_write(request.config), open_dict(request.config):
                request.config.remote.num_gpus = 0
        cpus, gpus = request.amount("num_cpus", 1), request.amount("num_gpus", 0)
        if any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            continue
        text = f"no node of the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs, which a group asks for"
        if local:
            raise EngineError(text, hint="gpus=cpu, or hydra.launcher.ray.remote.num_gpus=0")
        sys.stderr.write(f"{text}: the group waits until one has\n")
