"""What an optimization keeps of its trials, and what its confirmation takes for a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchhydra import registry
from benchhydra.analysis import rerun
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Runs
from benchhydra.result import Better, MetricValue, Result, Verdict
from benchhydra.search import Answer
from benchhydra.search.optimization import Optimization
from benchhydra.search.optimize import Optimize
from benchhydra.search.trials import Estimate, Trial
from benchhydra.sweep.study_result import StudyResult
from benchhydra.sweep.trials import confirmation
from benchhydra.sweep.trials.confirmation import Confirmation
from benchhydra.sweep.trials.trial_file import TrialFile, TrialRecord
from benchhydra.sweep.trials.trial_run import StudyEnd

registry.discover()


def trial(number: int, value: float) -> Trial:
    settings = {"seqs": number} if number else {}
    estimate = Estimate(value=value, low=value - 1, high=value + 1)
    return Trial(number=number, settings=settings, status="ok", estimates=(estimate,), values=((value,),))


def test_a_kill_while_a_resumed_sweep_reads_its_trials_loses_none(tmp_path: Path) -> None:
    first = TrialFile(directory=tmp_path)
    for number in range(3):
        first.add(TrialRecord(study=0, trial=trial(number, 10.0)))
    resumed = TrialFile(directory=tmp_path)
    assert resumed.earlier_record(0, 1, {"seqs": 1}) is not None
    assert resumed.earlier_record(0, 1, {"seqs": 2}) is None
    resumed.add(TrialRecord(study=1, trial=trial(0, 10.0)))  # killed here, before it has asked for trials 2 and 3
    assert list(TrialFile(directory=tmp_path).records) == [(0, 0), (0, 1), (0, 2), (1, 0)]


@pytest.mark.parametrize(("bound", "verdict"), [("", "better"), ("at least", "failed")])
def test_a_capacity_that_is_only_a_bound_is_no_figure_of_the_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, verdict: str
) -> None:
    def search_again(words: Sequence[str], directory: Path, repeats: int, log: Path | None = None) -> Runs:
        metric = MetricValue(key="qps", unit="requests/s", value=1.0, better=Better.BIGGER)
        Result(
            status="ok",
            verdict=Verdict.VALID,
            run_id=str(directory),
            point_key="0123456789abcdef",
            script="serving",
            config={},
            epoch_time=1.0,
            environment={"machine_class": "box"},
            metrics={metric.key: metric},
        ).write(directory / "0")
        value = (40.0 if "seqs=1" in words else 20.0) + len(str(words)) % 3 / 100
        answer: dict[str, Any] = {"value": value, "bound": bound}
        (directory / "sweep.json").write_text(json.dumps({"finished": True, "answers": [answer]}))
        return read_runs(str(directory))

    monkeypatch.setattr(rerun, "measure_again", search_again)
    monkeypatch.setattr(confirmation, "server_line", lambda spec: "vllm serve")
    search = Optimize(objective="capacity", space={"seqs": [1, 2]}, confirm_pairs=12)
    optimization = Optimization(objectives=search.objectives(), space=search.parsed_space())
    for each in (trial(0, 20.0), trial(1, 40.0)):
        optimization.add(each)
    unconfirmed = StudyResult(search="optimize", overrides=(), answer=Answer(value=40.0, unit="requests/s"))
    nothing: Any = None
    test = Confirmation(
        search=search,
        compose=lambda overrides: (nothing, {}),
        server_of=lambda config: nothing,
        directory=tmp_path,
        hydra_overrides=[],
        say=lambda text: None,
    )
    result = test.confirmed(StudyEnd(default=("model=tiny",), optimization=optimization, result=unconfirmed))
    assert result.answer is not None and result.answer.optimum is not None
    assert result.answer.optimum["confirmation"]["verdict"] == verdict
