"""search=optimize as it is typed: trials on servers of their own, on the fake engine."""

from __future__ import annotations

import json

import pytest
from tests.sweep.conftest import Sweeps

#: Answers take 16 times as long at one request at a time; a server that is asked to fail does not start.
SPACE = "search.space={engine.max_concurrency: [1,16], engine.fail_start: [false,true]}"
WORDS = ["search=optimize", "objective=mean_e2el_ms", SPACE, "search.repeats=3", "model=llama2"]
WORDS += ["load=concurrency", "load.max_in_flight=16", "num_prompts=32", "engine.itl_ms=5", "engine.max_concurrency=2"]


def typed(*words: str) -> list[str]:
    """The words without those that set a key of the space."""
    return [word for word in (*WORDS, *words) if not word.startswith("engine.max_concurrency")]


@pytest.mark.slow
def test_trials_have_servers_of_their_own_and_a_failed_one_is_a_result(sweeps: Sweeps) -> None:
    words = typed("search.trials=5", "search.confirm_pairs=0")
    assert sweeps.run(*words) == 0
    summary = sweeps.summary()
    (answer,) = summary["answers"]
    trials = {trial["number"]: trial for trial in answer["optimum"]["trials"]}
    assert (answer["search"], answer["name"], len(trials)) == ("optimize", "best mean_e2el_ms", 5)
    assert trials[0]["settings"] == {}
    failing = [trial for trial in trials.values() if trial["settings"].get("engine.fail_start")]
    assert len(failing) == 2
    assert {trial["status"] for trial in failing} == {"infeasible"}
    assert all("exited" in trial["reason"] for trial in failing)
    one_at_a_time = {"engine.max_concurrency": 1, "engine.fail_start": False}
    slow = next(trial for trial in trials.values() if trial["settings"] == one_at_a_time)
    assert slow["status"] == "cut"
    assert answer["optimum"]["best"] != slow["number"]
    statuses = {point["status"] for point in summary["points"]}
    assert statuses == {"ok", "infeasible"}
    assert "## Trials" in (sweeps.directory / "summary.md").read_text()
    before = (sweeps.directory / "trials.json").read_text()
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 0
    assert sweeps.summary()["server_starts"] == summary["server_starts"]
    again = json.loads((sweeps.directory / "trials.json").read_text())
    assert [r["trial"] for r in again["trials"]] == [r["trial"] for r in json.loads(before)["trials"]]
    assert sweeps.summary()["answers"][0]["value"] == answer["value"]


def test_a_key_that_does_not_exist_is_an_error_before_anything_starts(sweeps: Sweeps) -> None:
    space = "search.space={engine.max_concurency: [1,2]}"
    assert sweeps.run(*[space if word == SPACE else word for word in typed()]) == 1
    assert "max_concurency" in sweeps.log.read_text()
    assert not list(sweeps.directory.glob("servers/*"))


def test_a_key_of_the_space_may_not_be_set(sweeps: Sweeps) -> None:
    assert sweeps.run(*WORDS) == 1
    assert "engine.max_concurrency is set, and search.space varies it" in sweeps.log.read_text()
