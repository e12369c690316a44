"""Searches as a user types them, on the fake engine: one of a user's own folder, and what it leaves."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from tests.examples import install
from tests.waiting import wait_for

from benchhydra.render.figures import number

Sweeps = Any  # the fixture ``sweeps``

#: Each request takes the only slot for 50 ms: 20 requests/s. The last of 30 at 30 a second waits for 0.5 s.
SERVER = ["engine.max_concurrency=1", "engine.ttft_ms=50", "engine.itl_ms=0", "load=constant", "num_prompts=30"]
SEARCH = ["search=halving", "search.limit_ms=500"]
BROKEN = '''
    from benchhydra.registry import option
    from benchhydra.search import Search


    @option("search", "broken")
    class Broken(Search):
        """Fails at its second question."""

        def next(self, points, outcomes):
            return [(f"repeat={1 // (2 - len(outcomes))}",)]


    @option("search", "endless")
    class Endless(Search):
        """Never has enough."""

        varies = ("repeat",)

        def next(self, points, outcomes):
            return [(f"repeat={len(outcomes)}",)]
'''


@pytest.fixture
def plugins(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both files in a user's folder."""
    folder = sweeps.directory.parent / "mine" / "benchhydra_plugins"
    folder.mkdir(parents=True)
    install(folder.parent, "halving")
    (folder / "broken.py").write_text(dedent(BROKEN))
    paths = [str(folder.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))


def rates(sweeps: Sweeps) -> list[float]:
    """The rates of all points, in the order of ``sweep.json``."""
    return [
        float(override.partition("=")[2])
        for point in sweeps.summary()["points"]
        for override in point["overrides"]
        if override.startswith("qps=")
    ]


def test_a_users_search_finds_the_capacity_of_a_server(sweeps: Sweeps, plugins: None) -> None:
    words = [*SERVER, *SEARCH, "model=llama2,mistral", "qps=16"]
    assert sweeps.run(*words) == 0, sweeps.log.read_text()[-3000:]
    summary = sweeps.summary()
    assert summary["server_starts"] == 2 and summary["finished"]
    planned, extra = [[p for p in summary["points"] if p.get("extra", False) is extra] for extra in (False, True)]
    assert len(planned) == 2 and len(extra) >= 2 * 3
    assert len(sweeps.results()) == len(summary["points"])
    assert {result["sweep_id"] for result in sweeps.results().values()} == {summary["sweep_id"]}
    assert len(summary["answers"]) == 2
    for answer in summary["answers"]:
        assert answer["search"] == "halving" and answer["unit"] == "requests/s"
        assert 20 < answer["value"] < 32 and answer["value"] == answer["low"] < answer["high"]
        assert answer["high"] / answer["low"] <= 1.2
        (model,) = [o for o in answer["overrides"] if o.startswith("model=")]
        assert not any(o.startswith("qps=") for o in answer["overrides"])
        assert f"search=halving {model}: {number(answer['value'])} requests/s (" in sweeps.log.read_text()
        assert answer["probes"] == sum(model in point["overrides"] for point in summary["points"])


def test_a_search_without_its_key_typed_starts_from_the_keys_default(sweeps: Sweeps, plugins: None) -> None:
    words = ["search=halving", "search.limit_ms=0.001", "num_prompts=2", "seed=1,2"]
    assert sweeps.run(*words) == 0, sweeps.log.read_text()[-3000:]
    assert rates(sweeps) == [1.0, 1.0]
    assert sweeps.summary()["answers"] == []


@pytest.mark.parametrize(
    ("words", "error", "points"),
    [
        (["search=broken"], "ZeroDivisionError: integer division or modulo by zero, after 2 points (broken.py", 2),
        (
            ["search=endless", "search.max_points=4"],
            "it asks for more than search.max_points=4 points, after 5 points",
            5,
        ),
    ],
)
def test_a_search_that_fails_is_one_error_and_loses_nothing(
    sweeps: Sweeps, plugins: None, words: list[str], error: str, points: int
) -> None:
    assert sweeps.run("qps=200,300", "num_prompts=3", *words) == 1
    log = sweeps.log.read_text()
    option = words[0]
    assert f"failed: {option} qps=200: {error}" in log and f"failed: {option} qps=300: {error}" in log
    assert "error: 2 failed searches" in log and "Traceback" not in log
    summary = sweeps.summary()
    assert [point["status"] for point in summary["points"]] == ["ok"] * 2 * points
    assert [answer["error"].startswith(error) for answer in summary["answers"]] == [True, True]
    assert len(sweeps.results()) == 2 * points


def test_a_killed_search_is_resumed_where_it_stopped(
    sweeps: Sweeps, plugins: None, no_survivors: Callable[[Path], list[str]]
) -> None:
    words = [*SERVER, *SEARCH, "qps=16", "seed=1"]
    process = sweeps.start(*words)
    wait_for(lambda: len(sweeps.results()) >= 3, 60, "three points")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not no_survivors(sweeps.directory), 60, "the server's end")
    before = {name: result["run_id"] for name, result in sweeps.results().items() if result["status"] == "ok"}
    # the same keys in another order: the directories of added points are named after them
    assert sweeps.run(*words[:-2], "seed=1", "qps=16", f"sweep.resume={sweeps.directory}") == 0
    after = {name: result["run_id"] for name, result in sweeps.results().items()}
    assert before.items() <= after.items() and len(after) > len(before)
    summary = sweeps.summary()
    assert len(summary["points"]) == len(after) == summary["answers"][0]["probes"]
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 0
    assert {name: result["run_id"] for name, result in sweeps.results().items()} == after
    assert sweeps.summary()["server_starts"] == summary["server_starts"]
    assert sweeps.summary()["answers"] == summary["answers"]


def test_limits_stop_a_search_and_resume_continues_it(sweeps: Sweeps, plugins: None) -> None:
    words = ["qps=200", "num_prompts=20", "search=endless", "search.max_points=5", "seed=1"]
    assert sweeps.run(*words, "sweep.max_time_s=0.5") == 1
    summary = sweeps.summary()
    assert summary["stopped"] == "sweep.max_time_s=0.5 has passed" and summary["answers"] == []
    assert [point["status"] for point in summary["points"]][-1] == "skipped"
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 1
    assert len(sweeps.results()) == 6 and "it asks for more than" in sweeps.summary()["answers"][0]["error"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_search_runs_on_every_launcher(sweeps: Sweeps, plugins: None, launcher: str) -> None:
    words = ["search=repeats", "search.ci=mean_e2el_ms:0.001%", "search.max_repeats=3", f"launcher={launcher}"]
    assert sweeps.run("qps=200", "model=llama2,mistral", "num_prompts=5", *words) == 0, sweeps.log.read_text()[-3000:]
    summary = sweeps.summary()
    assert summary["server_starts"] == 2 and len(summary["points"]) == 6
    assert [entry["repeats"] for entry in summary["repeats"]] == [3, 3]
    assert sorted(answer["probes"] for answer in summary["answers"]) == [3, 3]
    assert {answer["limited_by"] for answer in summary["answers"]} == {"search.max_repeats=3"}


def test_a_plan_says_that_more_points_may_come(sweeps: Sweeps, plugins: None) -> None:
    words = sweeps.command("qps=10", "search=halving", "sweep.plan=true")
    assert sweeps.run_words(words, timeout=200) == 0
    log = sweeps.log.read_text()
    assert "1 point, 1 group" in log and "search=halving adds points while it runs" in log
    assert not sweeps.directory.exists()


def test_a_single_point_is_not_searched(sweeps: Sweeps, plugins: None) -> None:
    words = sweeps.command("search=halving", "hydra.mode=RUN", "num_prompts=2")
    words.reverse()
    words.remove("-m")  # the sweep's, not Python's
    words.reverse()
    assert sweeps.run_words(words, timeout=200) == 1
    assert "repeats, search, sweep.resume and sweep.plan need a sweep" in sweeps.log.read_text()
