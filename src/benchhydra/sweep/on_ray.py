"""Ray for a sweep: connected to once, before its jobs are launched, and left when they have ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from benchhydra.errors import EngineError
from benchhydra.loadgen import cluster


@dataclass(frozen=True)
class Wish:
    """What jobs ask of Ray: their launcher's own config (``hydra.launcher.ray``), which may be told of what there is.

    any_device: a GPU where there is one, and else none (``gpus=auto``).
    """

    config: DictConfig
    any_device: bool

    def asks(self, kind: str, default: int) -> float:
        """How many of ``num_cpus`` or ``num_gpus`` a job is to have."""
        value = self.config.remote.get(kind)
        return float(default if value is None else value)


def wish(launcher: Any, config: DictConfig) -> Wish | None:
    """What a launcher asks of Ray; None from a launcher that is not Ray's."""
    asked = getattr(launcher, "ray_cfg", None)
    return None if asked is None else Wish(asked, OmegaConf.select(config, "gpus.device") == "auto")


@contextmanager
def connected(wishes: Sequence[Wish]) -> Iterator[None]:
    """Ray, for as long as jobs run on it: each of their threads would connect by itself otherwise.

    Raises EngineError where there is no connection, or where this machine is all there is and can never run a job.
    """
    if not wishes:
        yield
        return
    cluster.require("launcher=ray")
    cpus = max(len(os.sched_getaffinity(0)), *(int(one.asks("num_cpus", 1)) for one in wishes))
    init: Any = OmegaConf.to_container(wishes[0].config.init, resolve=True)
    alone = cluster.connect(cpus, init)
    try:
        _fit(wishes, cluster.nodes(), alone)
        yield
    finally:
        cluster.leave()


def _fit(wishes: Sequence[Wish], nodes: Sequence[dict[str, float]], alone: bool) -> None:
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
