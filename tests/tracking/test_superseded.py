"""A point of a sweep that was measured again has one active run, whoever logged what first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from benchhydra.result import Result, Verdict
from benchhydra.tracking.links import read_links
from benchhydra.tracking.mlflow import Mlflow

Make = Any


@pytest.fixture
def sweep() -> dict[str, Any]:
    """The fields that the results of one point of a sweep share."""
    return {"sweep_id": uuid4().hex, "point_key": "feedfacefeedface"}


def active_runs(client: Any, sweep_id: str) -> list[str]:
    """The results of a sweep that have an active run."""
    experiment = client.get_experiment_by_name("benchhydra")
    runs = client.search_runs([experiment.experiment_id], f"tags.sweep_id = '{sweep_id}'")
    return sorted(run.data.tags["run_id"] for run in runs)


def put(result: Result, directory: Path) -> Path:
    """The result in a directory that held another one."""
    shutil.rmtree(directory)
    result.write(directory)
    return directory


def test_a_result_that_replaces_another_replaces_its_run(
    tracking: Mlflow, client: Any, point: Make, sweep: dict[str, Any]
) -> None:
    first, directory = point(**sweep, verdict=Verdict.INVALID, run_id="first-" + sweep["sweep_id"])
    tracking.record(first, directory)
    old_run_id = read_links(directory)["run_id"]
    second, _ = point(**sweep, run_id="second-" + sweep["sweep_id"])
    tracking.record(second, put(second, directory))
    assert active_runs(client, sweep["sweep_id"]) == [second.run_id]
    deleted = client.get_run(old_run_id)
    assert deleted.info.lifecycle_stage == "deleted" and "superseded_by" in deleted.data.tags


def test_a_result_that_was_replaced_while_it_was_logged_does_not_stand(
    tracking: Mlflow, client: Any, point: Make, sweep: dict[str, Any]
) -> None:
    """The logging process of a killed sweep may end after the resumed one has logged the new result."""
    first, directory = point(**sweep, run_id="first-" + sweep["sweep_id"])
    second, _ = point(**sweep, run_id="second-" + sweep["sweep_id"])
    tracking.record(second, put(second, directory))
    tracking.record(first, directory)
    assert active_runs(client, sweep["sweep_id"]) == [second.run_id]


def test_a_copy_of_a_superseded_result_is_not_logged_again(
    tracking: Mlflow, client: Any, point: Make, sweep: dict[str, Any], tmp_path: Path
) -> None:
    first, directory = point(**sweep, run_id="first-" + sweep["sweep_id"])
    shutil.copytree(directory, tmp_path / "copy")
    tracking.record(first, directory)
    second, _ = point(**sweep, run_id="second-" + sweep["sweep_id"])
    tracking.record(second, put(second, directory))
    assert not tracking.record(first, tmp_path / "copy").new
    assert active_runs(client, sweep["sweep_id"]) == [second.run_id]


def test_other_points_repeats_variants_and_sweeps_stay(
    tracking: Mlflow, client: Any, point: Make, sweep: dict[str, Any]
) -> None:
    seed = {"config": {"qps": 4.0, "seed": 2}}
    others: list[dict[str, Any]] = [{}, {"repeat": 1}, seed, {"point_key": "0" * 16}]
    for number, changes in enumerate(others):
        tracking.record(*point(**(sweep | {"run_id": f"{number}-{sweep['sweep_id']}"} | changes)))
    assert len(active_runs(client, sweep["sweep_id"])) == len(others)
    for number in range(2):
        alone = {"sweep_id": None, "point_key": "feedfacefeedface", "run_id": f"alone-{number}-{sweep['sweep_id']}"}
        assert tracking.record(*point(**alone)).new
    assert len(active_runs(client, sweep["sweep_id"])) == len(others)
