"""Ray for a sweep: connected to once, before its jobs are launched, and left when they have ended."""

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

#: How often a job's thread looks whether Ray is about to be left, and how long these threads are waited for then.
LOOK_S = 0.5
LEAVE_S = 10.0


@dataclass(frozen=True)
class ResourceRequest:
    """What jobs ask of Ray: their launcher's own config (``hydra.launcher.ray``), which may be told of what there is.

    any_device: a GPU where there is one, and else none (``gpus=auto``).
    """

    config: DictConfig
    any_device: bool

    def asks(self, kind: str, default: int) -> float:
        """How many of ``num_cpus`` or ``num_gpus`` a job is to have."""
        value = self.config.remote.get(kind)
        return float(default if value is None else value)


def resource_request(launcher: Any, config: DictConfig) -> ResourceRequest | None:
    """What a launcher asks of Ray; None from a launcher that is not Ray's."""
    asked = getattr(launcher, "ray_cfg", None)
    return None if asked is None else ResourceRequest(asked, OmegaConf.select(config, "gpus.device") == "auto")


class RayThreads:
    """Those that wait for jobs on Ray. They are out before Ray is left: it ends a process that asks it for more."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._inside = 0
        self._leaving = False

    def run(self, work: Callable[[], Any]) -> Any:
        """Do something with Ray. Raises EngineError where Ray is about to be left."""
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
        """``ray.get``, as long as Ray is not about to be left."""
        import ray

        while not ray.wait([reference], timeout=LOOK_S)[0]:
            self._check()
        return ray.get(reference)

    def leave(self) -> None:
        """Wait until they are out."""
        with self._change:
            self._leaving = True
            self._change.wait_for(lambda: not self._inside, LEAVE_S)

    def _check(self) -> None:
        if self._leaving:
            raise EngineError("the sweep has left Ray")


@contextmanager
def connected(wishes: Sequence[ResourceRequest]) -> Iterator[RayThreads]:
    """Ray, for as long as jobs run on it: each of their threads would connect by itself otherwise.

    Raises EngineError where there is no connection, or where this machine is all there is and can never run a job.
    """
    threads = RayThreads()
    if not wishes:
        yield threads
        return
    cluster.require_ray("launcher=ray")
    cpus = max(len(os.sched_getaffinity(0)), *(int(one.asks("num_cpus", 1)) for one in wishes))
    init: Any = OmegaConf.to_container(wishes[0].config.init, resolve=True)
    alone = cluster.connect(cpus, init)
    try:
        _fit(wishes, cluster.nodes(), alone)
        with _launcher_asks(threads):
            yield threads
    finally:
        cluster.disconnect()


@contextmanager
def _launcher_asks(threads: RayThreads) -> Iterator[None]:
    """Hydra's launcher waits for its job in ``ray.get``, which nothing but Ray's end would end: it asks these instead.

    Until they are out: one that only starts its job while the others leave gets there later.
    """
    import ray
    from hydra_plugins.hydra_ray_launcher import _core

    class Ray:
        get = staticmethod(threads.get)

        def __getattr__(self, name: str) -> Any:
            return getattr(ray, name)

    _core.ray = Ray()
    try:
        yield
    finally:
        threads.leave()
        _core.ray = ray


def _fit(wishes: Sequence[ResourceRequest], nodes: Sequence[dict[str, float]], alone: bool) -> None:
    """Ray waits, without a word, for resources that no node has."""
    for one in wishes:
        if one.any_device and not any(node.get("GPU") for node in nodes):
            with read_write(one.config), open_dict(one.config):
                one.config.remote.num_gpus = 0
        cpus, gpus = one.asks("num_cpus", 1), one.asks("num_gpus", 0)
        if any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            continue
        text = f"no node of the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs, for which a group asks"
        if alone:
            raise EngineError(text, hint="gpus=cpu, or hydra.launcher.ray.remote.num_gpus=0")
        sys.stderr.write(f"{text}: it waits until one has\n")
