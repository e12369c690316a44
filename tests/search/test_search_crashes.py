"""A search for the capacity whose process group is killed at random moments, and resumed until it ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.sweep.conftest import QUICK
from tests.waiting import wait_for

from benchhydra import registry
from benchhydra.points import Outcome, PlannedPoint, override_key, read_outcome
from benchhydra.search.capacity import Capacity
from benchhydra.sweep.group.study import run_studies, split_studies
from benchhydra.sweep.plan.resume import result_identity

#: Two requests at once, 20 ms each, so about 100 requests/s; probes last half a second.
SERVER = ("engine.ttft_ms=20", "engine.itl_ms=0", "engine.ttft_sigma=0.3", "engine.max_concurrency=2")
SETTINGS: dict[str, Any] = {"precision": 0.03, "max_probes": 6, "min_requests": 50, "max_requests": 60}
SEARCH = ("search=capacity", "slo.p90_ttft_ms=60", *(f"search.{key}={value}" for key, value in SETTINGS.items()))
KILLS = 3


def start(directory: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "benchhydra", "-m", *QUICK, *SERVER, *SEARCH, "sweep.resume=auto"]
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(words, cwd=directory, stdout=log, stderr=log, start_new_session=True)


def results(directory: Path) -> dict[Path, dict[str, Any]]:
    """The results that hold figures, by their directories."""
    read = {path.parent: json.loads(path.read_text()) for path in directory.glob("outputs/sweeps/*/*/*/result.json")}
    return {folder: result for folder, result in read.items() if result["status"] == "ok"}


def sweep_of(directory: Path) -> dict[str, Any]:
    (path,) = directory.glob("outputs/sweeps/*/*/sweep.json")
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def replayed(sweep: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """What an uninterrupted search asks for, and answers, if its probes have the same results.

    Returns the directories of the points that it asks for, in their order, and the answer.
    """
    registry.discover()
    points = [(tuple(point["overrides"]), Path(point["directory"])) for point in sweep["points"]]
    by_overrides = {_key(overrides): directory for overrides, directory in points}
    asked: list[str] = []

    def plan(overrides: Sequence[str]) -> PlannedPoint:
        directory = by_overrides[_key(overrides)]
        identity = result_identity(json.loads((directory / "result.json").read_text()))
        assert identity is not None
        return PlannedPoint(overrides=tuple(overrides), directory=str(directory), identity=identity)

    def measure(point: PlannedPoint) -> Outcome:
        asked.append(point.directory)
        outcome = read_outcome(point)
        assert outcome is not None
        return outcome

    first = plan(points[0][0])
    (study,) = split_studies(Capacity(**SETTINGS), "capacity", plan, [first], [measure(first)])
    (result,) = run_studies([study], lambda _, point: measure(point))
    assert result.answer is not None
    return asked, result.answer.to_json()


def _key(overrides: Sequence[str]) -> frozenset[tuple[str, str]]:
    """The overrides, however they are written: the sweep writes a planned point's ``False`` as Hydra does."""
    pairs = ((override_key(override), override.partition("=")[2].lower()) for override in overrides)
    return frozenset(pair for pair in pairs if pair[0] != "sweep.resume")


def test_killed_at_random_moments_a_search_loses_and_repeats_no_probe(
    tmp_path: Path, no_survivors: Callable[[Path], list[str]]
) -> None:
    rng, earlier, kills = random.Random(3), dict[Path, str](), 0
    while True:
        process = start(tmp_path)
        if kills < KILLS:
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(1.0, 5.0))
        if kills >= KILLS or process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        wait_for(lambda: not no_survivors(tmp_path / "sweep"), 60, "the server's end")
        now = {folder: result["run_id"] for folder, result in results(tmp_path).items()}
        assert earlier.items() <= now.items(), "a probe was lost or measured again"
        earlier = now
    assert process.wait(120) == 0, (tmp_path / "log").read_text()[-3000:]
    assert kills >= 2
    now = {folder: result["run_id"] for folder, result in results(tmp_path).items()}
    assert earlier.items() <= now.items()
    sweep = sweep_of(tmp_path)
    listed = [Path(point["directory"]) for point in sweep["points"]]
    assert sweep["finished"] and sorted(listed) == sorted(now), "each probe is listed once"
    (answer,) = sweep["answers"]
    asked, expected = replayed(sweep)
    assert asked == [str(folder) for folder in listed]
    assert {key: answer[key] for key in expected} == json.loads(json.dumps(expected))
    assert start(tmp_path).wait(120) == 0
    assert {folder: result["run_id"] for folder, result in results(tmp_path).items()} == now
    assert sweep_of(tmp_path)["answers"] == sweep["answers"]
