"""launcher=ray on a cluster of this machine: each server starts once, and a killed worker fails only its own group."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.processes import command_line, descendants, running

from benchhydra.artifacts import JOURNALS_DIR

Sweeps = Any  # the fixture ``sweeps`` of conftest.py
RAY = ("raylet", "gcs_server", "ray::")
#: One CPU a group: both groups run at once, whatever cores there are.
BOTH = ("launcher=ray", "model=llama2,mistral", "hydra.launcher.ray.remote.num_cpus=1")

pytestmark = pytest.mark.slow


def eventually(look: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """The first true value that ``look`` returns. Raises AssertionError where none comes in time."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := look()):
        assert time.monotonic() < deadline_s, f"waited for {timeout_s} s"
        time.sleep(0.05)
    return value


def first_points_are_over(sweeps: Sweeps) -> None:
    """Wait until each of the two groups has the outcome of its first point in its journal."""
    eventually(lambda: sum(bool(points) for points in journaled(sweeps)) == 2)


def journaled(sweeps: Sweeps) -> list[Any]:
    """The outcomes in the journal of each group."""
    return [json.loads(path.read_text())["outcomes"] for path in (sweeps.directory / JOURNALS_DIR).glob("*.json")]


def test_a_killed_worker_fails_its_group_only(sweeps: Sweeps, no_survivors: Callable[[Path], list[str]]) -> None:
    # each group: a short point, then one of 6 s, during which a worker is killed
    process = sweeps.start(*BOTH, "num_prompts=5,120", "qps=20")
    first_points_are_over(sweeps)
    workers = eventually(
        lambda: [one for one in descendants(process.pid) if command_line(one).startswith("ray::_run_job")]
    )
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    assert process.wait(timeout=100) == 1
    points = sweeps.summary()["points"]
    by_model: dict[str, list[str]] = {}
    for point in points:
        model = next(word for word in point["overrides"] if word.startswith("model="))
        by_model.setdefault(model, []).append(point["status"])
    assert sorted(by_model.values()) == [["ok", "failed"], ["ok", "ok"]]
    assert "the group's process ended early" in next(p["error"] for p in points if p["status"] == "failed")
    assert sweeps.summary()["server_starts"] == 2
    eventually(lambda: not no_survivors(sweeps.directory))


def test_an_interruption_leaves_no_process(sweeps: Sweeps, no_survivors: Callable[[Path], list[str]]) -> None:
    process = sweeps.start(*BOTH, "num_prompts=5,200", "qps=20")
    first_points_are_over(sweeps)
    started = descendants(process.pid)
    assert {name for name in RAY for one in started if name in command_line(one)} == set(RAY)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=100) == 130
    statuses = sorted(point["status"] for point in sweeps.summary()["points"])
    # of the long points: one that had sent something keeps it, as interrupted
    assert (len(statuses), statuses.count("ok")) == (4, 2)
    assert set(statuses) <= {"ok", "interrupted", "skipped"}
    eventually(lambda: not running(started))
    eventually(lambda: not no_survivors(sweeps.directory))
