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
