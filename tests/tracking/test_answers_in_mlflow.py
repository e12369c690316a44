"""The MLflow run of an answer: value and interval as metrics, probes as children, once however often it is logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.tracking.made import result_of

from benchhydra.result import Result
from benchhydra.search import Answer, Figure, Fit, ProbeFinding
from benchhydra.sweep.study_result import StudyResult
from benchhydra.tracking.curve_runs import ANSWER, PARENT, is_curve
from benchhydra.tracking.mlflow import Mlflow
from benchhydra.tracking.source import results_from_mlflow

#: Each probe has a seed of its own, as those of a search have.
RATES = (8.0, 16.5, 12.0)


def answer_of(results: list[Result], value: float) -> dict[str, Any]:
    """The entry of ``sweep.json``."""
    probes = tuple(
        ProbeFinding(key_value=rate, decision="met", point_key=result.point_key, value=40 + rate, requests=100)
        for rate, result in zip(RATES, results, strict=True)
    )
    fit = Fit(key="qps", metric="p99_ttft_ms", unit="ms", x=(8.0,), y=(48.0,), low=(40.0,), high=(50.0,), limit=50.0)
    answer = Answer(
        value=value,
        low=value - 1,
        high=value + 1,
        confidence=0.95,
        unit="requests/s",
        name="capacity",
        limited_by="p99_ttft_ms <= 50",
        figures=(Figure(name="output_throughput", value=900.0, unit="tokens/s"),),
        evidence=probes,
        fit=fit,
    )
    return StudyResult(search="capacity", overrides=("model=small",), answer=answer).to_json()


class Search:
    """A sweep whose points are logged."""

    def __init__(self, uri: str, client: Any, directory: Path, *, artifacts: bool = False) -> None:
        self.tracking = Mlflow(uri=uri, artifacts=artifacts, series=False)
        self.client, self.directory, self.id = client, directory, uuid4().hex
        self.results = [result_of(self.id, rate, {"seed": seed}) for seed, rate in enumerate(RATES)]
        self.points = [directory / f"p{number}" for number in range(len(RATES))]
        for result, point in zip(self.results, self.points, strict=True):
            result.write(point)
            self.tracking.record(result, point)

    def log(self, value: float = 14.2) -> None:
        self.tracking.log_curves(self.id, self.directory)
        self.tracking.log_answer(self.id, answer_of(self.results, value), self.points)

    def runs(self) -> list[Any]:
        experiment = self.client.get_experiment_by_name("benchhydra").experiment_id
        return list(self.client.search_runs([experiment], f"tags.sweep_id = '{self.id}'"))

    def answers(self) -> list[Any]:
        return [run for run in self.runs() if ANSWER in run.data.tags]


@pytest.fixture
def search(uri: str, client: Any, tmp_path: Path) -> Search:
    return Search(uri, client, tmp_path)


def test_an_answer_is_a_run_with_its_probes_as_children(search: Search) -> None:
    search.log()
    (run,) = search.answers()
    assert {name: run.data.metrics[name] for name in ("capacity", "capacity_low", "capacity_high")} == {
        "capacity": 14.2,
        "capacity_low": 13.2,
        "capacity_high": 15.2,
    }
    assert run.data.metrics["output_throughput"] == 900.0
    assert run.data.tags["better.capacity"] == "BiggerIsBetter"
    assert run.data.tags["answer_text"].startswith("14.20 requests/s (13.20 to 15.20, 95 %), limited by p99 TTFT <= 50")
    assert json.loads(run.data.tags["metrics"])["main"][0] == "capacity"
    assert run.info.status == "FINISHED" and run.info.run_name.startswith("14.20 requests/s capacity")
    history = search.client.get_metric_history(run.info.run_id, "p99_ttft_ms")
    assert [(metric.step, metric.value) for metric in history] == [(8000, 48.0), (12000, 52.0), (16500, 56.5)]
    points = [one for one in search.runs() if ANSWER not in one.data.tags]
    assert [one.data.tags[PARENT] for one in points] == [run.info.run_id] * 3


def test_logging_again_keeps_the_run_and_updates_it(search: Search) -> None:
    search.log()
    (first,) = search.answers()
    search.log()
    assert [run.info.run_id for run in search.answers()] == [first.info.run_id]
    search.log(value=15.0)
    (run,) = search.answers()
    assert run.info.run_id == first.info.run_id and run.data.metrics["capacity"] == 15.0
    assert not any(is_curve(run) for run in search.runs())
    assert {one.data.tags[PARENT] for one in search.runs() if ANSWER not in one.data.tags} == {run.info.run_id}


def test_other_tools_do_not_take_an_answer_for_a_point(
    uri: str, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search(uri, client, tmp_path, artifacts=True)
    search.log()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    results = results_from_mlflow(f"benchhydra?tags.sweep_id = '{search.id}'")
    assert sorted(result.config["qps"] for result in results) == sorted(RATES)


def optimum() -> dict[str, Any]:
    """What an optimization of the TPOT leaves: three trials, of which one did not start."""
    estimate = {"value": 5.0, "low": 4.8, "high": 5.2}
    trial = {"reason": "", "front": False}
    return {
        "objectives": [{"name": "mean_tpot_ms", "unit": "ms", "better": "SmallerIsBetter"}],
        "space": {"engine.args.max_num_seqs": [2, 4]},
        "best": 1,
        "importance": {},
        "effects": {},
        "trials": [
            trial | {"number": 1, "settings": {"engine.args.max_num_seqs": 2}, "status": "ok", "estimates": [estimate]},
            trial | {"number": 0, "settings": {}, "status": "ok", "estimates": [estimate | {"value": 8.0}]},
            trial | {"number": 2, "settings": {"engine.args.max_num_seqs": 4}, "status": "infeasible", "estimates": []},
        ],
        "confirmation": {"text": "surely better than the default", "ratio": -0.3, "low": -0.4, "high": -0.2},
    }


def test_an_optimization_is_a_run_that_draws_its_trials(search: Search) -> None:
    search.tracking.log_curves(search.id, search.directory)
    answer = Answer(value=5.0, low=4.8, high=5.2, unit="ms", name="best mean_tpot_ms", optimum=optimum())
    study = StudyResult(search="optimize", overrides=(), answer=answer)
    search.tracking.log_answer(search.id, study.to_json(), search.points)
    (run,) = search.answers()
    metrics = run.data.metrics
    assert (metrics["best_mean_tpot_ms"], metrics["confirmed_ratio"]) == (5.0, -0.3)
    assert run.data.tags["better.best_mean_tpot_ms"] == "SmallerIsBetter"
    history = search.client.get_metric_history(run.info.run_id, "mean_tpot_ms")
    assert [(metric.step, metric.value) for metric in history] == [(0, 8.0), (1, 5.0)]
    assert "surely better than the default" in run.data.tags["mlflow.note.content"]
    points = [one for one in search.runs() if ANSWER not in one.data.tags]
    assert [one.data.tags[PARENT] for one in points] == [run.info.run_id] * 3
