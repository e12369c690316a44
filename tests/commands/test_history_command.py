"""history as it is typed: series, changes of level with size, sign and builds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchhydra.analysis.history import metric_histories
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.cli import program
from benchhydra.render.terminal.history_table import bars
from benchhydra.result import Better, MetricValue, Reason, Result, Verdict

pytestmark = pytest.mark.usefixtures("own_place")

DAY_S = 86_400
STEP_AT = 15


@pytest.fixture
def outputs(own_place: Path) -> None:
    """30 daily runs; from the 16th on, a new version is 10 % slower and nothing else changes."""
    noise = np.exp(np.random.default_rng(5).normal(0, 0.01, (30, 2)))
    for i, (a, b) in enumerate(noise):
        slow = 1.1 if i >= STEP_AT else 1.0
        metrics = (
            MetricValue(key="mean_ttft_ms", unit="ms", value=100.0 * a * slow, better=Better.SMALLER),
            MetricValue(key="request_throughput", unit="requests/s", value=10.0 * b, better=Better.BIGGER),
            MetricValue(key="completed", unit="requests", value=100.0, better=Better.OBSERVATION),
        )
        Result(
            status="ok",
            verdict=Verdict.VALID,
            run_id=f"r{i}",
            point_key="0123456789abcdef",
            script="serving",
            config={"qps": 2.0},
            epoch_time=float(DAY_S * (i + 1)),
            engine_version="0.6" if i >= STEP_AT else "0.5",
            environment={"machine_class": "box", "git": {"commit": f"{i:040d}"}},
            metrics={m.key: m for m in metrics},
        ).write(Path(f"outputs/{i}"))


@pytest.mark.usefixtures("outputs")
def test_a_step_is_shown_with_its_size_sign_and_builds(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["history"]) == 0
    out = capsys.readouterr().out
    assert "serving synthetic qps=2 on box" in out
    (line,) = [line for line in out.splitlines() if "(worse)" in line]
    size = float(line.split("%")[0])
    assert size == pytest.approx(10, abs=1.5)
    assert "1970-01-17, 0.5 0000000000 -> 0.6 0000000000" in line
    assert "(better)" not in out
    assert "completed" not in out


@pytest.mark.usefixtures("outputs")
def test_metrics_are_chosen_by_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["history", "outputs", "--metric", "request_*"]) == 0
    out = capsys.readouterr().out
    assert "request_throughput" in out
    assert "mean_ttft_ms" not in out
    assert program.run(["history", "--metric", "completed"]) == 0
    assert "completed" in capsys.readouterr().out
    assert program.run(["history", "--changes"]) == 0
    assert "request_throughput" not in capsys.readouterr().out
    assert program.run(["history", "--metric", "no_such"]) == 1
    assert "no_such" in capsys.readouterr().err


@pytest.mark.usefixtures("outputs")
def test_history_is_written_as_json(own_place: Path) -> None:
    assert program.run(["history", "--metric", "mean_*", "--format", "json", "-o", "history.json"]) == 0
    [series] = json.loads((own_place / "history.json").read_text())["series"]
    assert (series["metric"], series["unit"], series["better"]) == ("mean_ttft_ms", "ms", "SmallerIsBetter")
    assert len(series["values"]) == len(series["run_ids"]) == len(series["epoch_times"]) == 30
    [change] = series["changes"]
    assert (change["before"], change["after"], change["direction"]) == ("r14", "r15", "worse")
    assert change["ratio"] == pytest.approx(0.1, abs=0.015)


def test_runs_that_are_all_invalid_say_why(own_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        Result(
            status="ok",
            verdict=Verdict.INVALID,
            reasons=(Reason(check="failed", severity=Verdict.INVALID, text="5 % of requests failed"),),
            run_id=f"r{number}",
            point_key="0123456789abcdef",
            script="serving",
            config={},
            epoch_time=1.0 + number,
        ).write(own_place / "outputs" / str(number))
    assert program.run(["history"]) == 1
    assert "all 2 runs of outputs are unusable: 5 % of requests failed" in capsys.readouterr().err


def run_of(name: str, value: float, machine: str = "m", verdict: Verdict = Verdict.VALID) -> Run:
    return Run(
        run_id=name,
        point_key="k",
        verdict=verdict,
        status="ok",
        epoch_time=float(len(name)),
        machine=machine,
        metrics={"rate": value},
    )


def test_machines_are_separate_and_invalid_runs_are_left_out() -> None:
    runs = [run_of("a", 1.0), run_of("bb", 2.0, "other"), run_of("ccc", 9.0, verdict=Verdict.INVALID)]
    runs.append(run_of("dddd", 0.0))
    found = list(metric_histories(Runs(runs, {"rate": MetricKind("1/s", Better.BIGGER)})))
    assert [(s.runs[0].machine, s.values, s.noise) for s in found] == [("m", (1.0,), None), ("other", (2.0,), None)]


@pytest.mark.parametrize(("factor", "better"), [(1.2, True), (0.8, False)])
def test_a_rise_of_a_bigger_is_better_metric_is_better(factor: float, better: bool) -> None:
    noise = np.exp(np.random.default_rng(1).normal(0, 0.01, 20))
    runs = [run_of("a" * (i + 1), float(v) * (factor if i >= 10 else 1)) for i, v in enumerate(noise)]
    (one,) = metric_histories(Runs(runs, {"rate": MetricKind("1/s", Better.BIGGER)}))
    (change,) = one.changes
    assert change.better is better
    assert (change.before.run_id, change.after.run_id) == ("a" * 10, "a" * 11)


def test_bars_scale_with_the_values() -> None:
    assert bars([1.0, 2.0, 8.0]) == "▁▂█"
    assert bars([3.0, 3.0]) == "▁▁"
