"""Shutting Ray down waits for the threads that wait for its jobs; tested without a cluster."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.waiting import wait_for

from benchhydra.errors import EngineError
from benchhydra.loadgen.ray import cluster
from benchhydra.sweep.launch.ray import RayThreads, ResourceRequest, connected


def never(references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
    """``ray.wait`` for jobs that do not end."""
    return [], references


def test_ray_is_shut_down_after_its_threads_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise Ray ends the process with exit code 1, before anything is written."""
    import ray
    from hydra_plugins.hydra_ray_launcher import _core

    threads_at_shutdown: list[int] = []
    inside, ended = Event(), Event()
    monkeypatch.setattr(ray, "wait", never)
    monkeypatch.setattr(ray, "get", lambda _: pytest.fail("ray.get would never return"))
    monkeypatch.setattr(cluster, "connect", lambda *_: True)
    monkeypatch.setattr(cluster, "nodes", lambda: [{"CPU": 1.0}])
    monkeypatch.setattr(cluster, "disconnect", lambda: threads_at_shutdown.append(threads._active_threads))
    request = ResourceRequest(OmegaConf.create({"init": {}, "remote": {"num_cpus": 1}}), any_device=False)

    threads: RayThreads

    def job() -> None:
        def launch() -> Any:
            inside.set()
            wait_for(lambda: threads._shutting_down, 60, "the end")  # the shutdown has begun
            return _core.ray.get("a reference")

        with pytest.raises(EngineError, match="disconnected from Ray"):
            threads.run(launch)
        ended.set()

    with pytest.raises(KeyboardInterrupt), connected([request]) as threads:
        Thread(target=job, daemon=True).start()
        wait_for(inside.is_set, 60, "the thread")
        raise KeyboardInterrupt
    assert ended.wait(60)
    assert threads_at_shutdown == [0] and _core.ray is ray
    with pytest.raises(EngineError):
        threads.run(lambda: pytest.fail("it must not start"))
