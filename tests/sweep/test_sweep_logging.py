"""Points are logged while servers start: each is in MLflow once, whatever happens to the sweep."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.waiting import wait_for

Sweeps = Any  # the fixture ``sweeps`` of conftest.py
#: Two systems at three rates; three requests are too few for a VALID result.
TWO_CURVES = ("model=llama2,mistral", "qps=50,100,200", "num_prompts=3", "validity.least_completed=1")
TWO_GROUPS = ("model=llama2,mistral", "seed=1,2,3", "qps=inf", "num_prompts=3")


def mlflow(directory: Path) -> tuple[str, ...]:
    return "tracking=mlflow", f"tracking.uri=sqlite:///{directory / 'store' / 'mlflow.db'}", "tracking.artifacts=false"


def logged(directory: Path) -> Counter[str]:
    """How many complete runs MLflow has of each result."""
    with closing(sqlite3.connect(directory / "store" / "mlflow.db")) as base:
        query = (
            "select tags.value from tags join runs using (run_uuid) where tags.key = 'run_id'"
            " and runs.status = 'FINISHED' and runs.lifecycle_stage = 'active'"
        )
        return Counter(value for (value,) in base.execute(query))


def curves(directory: Path, repeats: int = 1) -> dict[str, list[int]]:
    """The name of each active curve, without the time, and its steps. Asserts that its points are its children."""
    with closing(sqlite3.connect(directory / "store" / "mlflow.db")) as base:
        active = "join runs r using (run_uuid) where r.lifecycle_stage = 'active'"
        found = base.execute(f"select run_uuid, r.name from tags {active} and key = 'curve'").fetchall()
        assert len(dict(found)) == len({name for _, name in found}), "each curve once"
        steps = {}
        for run_uuid, name in found:
            query = "select step from metrics where run_uuid = ? and key = 'qps' order by step"
            steps[name] = [step for (step,) in base.execute(query, (run_uuid,))]
            children = f"select count(*) from tags {active} and key = 'mlflow.parentRunId' and value = ?"
            assert base.execute(children, (run_uuid,)).fetchone()[0] == repeats * len(steps[name])
        return {name.rpartition(", ")[0]: found_steps for name, found_steps in steps.items()}


def once_each(sweeps: Sweeps) -> Counter[str]:
    return Counter(result["run_id"] for result in sweeps.results().values())


def test_workers_log_every_point_once(sweeps: Sweeps, tmp_path: Path) -> None:
    assert sweeps.run(*TWO_GROUPS, *mlflow(tmp_path), "launcher=joblib") == 0
    assert logged(tmp_path) == once_each(sweeps)
    links = [json.loads(path.read_text())["link"] for path in sweeps.directory.glob("*/mlflow.json")]
    assert len(set(links)) == 6
    assert f"mlflow: {links[0].partition('/#/')[0]}" in sweeps.log.read_text()


def test_what_a_killed_sweep_did_not_log_is_logged_when_it_is_resumed(sweeps: Sweeps, tmp_path: Path) -> None:
    process = sweeps.start(*TWO_GROUPS, *mlflow(tmp_path))
    wait_for(lambda: len(sweeps.results()) >= 2, 60, "two points")
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = once_each(sweeps)
    assert sweeps.run(*TWO_GROUPS, *mlflow(tmp_path), f"sweep.resume={sweeps.directory}") == 0
    assert logged(tmp_path) == once_each(sweeps) >= kept


def test_what_an_interrupted_sweep_measured_is_logged_before_it_ends(sweeps: Sweeps, tmp_path: Path) -> None:
    process = sweeps.start(*TWO_GROUPS, *mlflow(tmp_path))
    wait_for(lambda: len(sweeps.results()) >= 2, 60, "two points")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    done = Counter(result["run_id"] for result in sweeps.results().values() if result["status"] == "ok")
    assert logged(tmp_path) == done
    assert "not logged" not in sweeps.log.read_text()


def test_workers_write_each_curve_once(sweeps: Sweeps, tmp_path: Path) -> None:
    assert sweeps.run(*TWO_CURVES, *mlflow(tmp_path), "launcher=joblib") == 0
    assert curves(tmp_path) == {
        "Llama-2-7b-chat-hf over qps": [50, 100, 200],
        "Mistral-7B-Instruct-v0.2 over qps": [50, 100, 200],
    }


def test_curves_of_a_killed_sweep_are_completed_when_it_is_resumed(sweeps: Sweeps, tmp_path: Path) -> None:
    words = (*TWO_CURVES, *mlflow(tmp_path))
    process = sweeps.start(*words)
    wait_for(lambda: len(sweeps.results()) >= 4, 60, "a group and a point")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 0
    assert [*curves(tmp_path).values()] == [[50, 100, 200]] * 2
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}", "repeats=2") == 0
    assert [*curves(tmp_path, repeats=2).values()] == [[50, 100, 200]] * 2
