"""Which points make a curve, at which steps, and what it is called; then its MLflow runs, whatever is logged when."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import uuid4

import pytest
from tests.tracking.made import KEY_METRICS, invalid, result_of

from benchhydra.cli import program
from benchhydra.result import Result, Verdict
from benchhydra.tracking import entry
from benchhydra.tracking.curve_runs import COLOUR, PARENT, is_curve
from benchhydra.tracking.curve_text import curve_names, curve_note
from benchhydra.tracking.curves import Curve, PointRun, curves_of
from benchhydra.tracking.links import read_links
from benchhydra.tracking.metric_tags import metric_tags
from benchhydra.tracking.mlflow import Mlflow
from benchhydra.tracking.source import results_from_mlflow

SEQS = "engine.args.max_num_seqs"


def run_of(result: Result) -> PointRun:
    """The MLflow run of a result as MLflow would return it, with the result's id."""
    return PointRun(
        run_id=result.run_id,
        params=entry.run_params(result),
        tags=entry.run_tags(result) | metric_tags(result, ()),
        metrics=entry.run_metrics(result),
        start_ms=int(result.epoch_time * 1000),
        end_ms=int(result.epoch_time * 1000) + 1000,
    )


def names(found: Sequence[Curve]) -> list[str]:
    """The names without the time."""
    return [name.rpartition(", ")[0] for name in curve_names(found)]


def curves(results: Sequence[Result]) -> list[Curve]:
    return curves_of([run_of(result) for result in results])


def test_a_curve_is_a_system_over_its_rates() -> None:
    found = curves([result_of("s", qps, {SEQS: seqs}) for seqs in (64, 128) for qps in (1, 2, 4)])
    assert [(curve.axis, curve.steps) for curve in found] == [("qps", {1: 1.0, 2: 2.0, 4: 4.0})] * 2
    assert set(names(found)) == {f"{seqs} (max_num_seqs) small-model over qps" for seqs in (64, 128)}


def test_values_are_means_of_the_repeats() -> None:
    repeats = [result_of("s", 2, {}, repeat=repeat) for repeat in range(3)]
    (curve,) = curves([result_of("s", 1, {}), *repeats])
    expected = fmean(result.metrics["mean_tpot_ms"].value for result in repeats)
    assert curve.means(2.0)["mean_tpot_ms"] == pytest.approx(expected, rel=1e-5)
    assert set(curve.means(2.0)) == {*KEY_METRICS, "achieved_rps"}


@pytest.mark.parametrize(
    ("rates", "steps"),
    [
        ((1, 2, 4), [1, 2, 4]),
        ((0.5, 1, 2), [500, 1000, 2000]),
        ((4, 5.65685424949), [4000, 5657]),
        ((0.0001, 0.0002), [100, 200]),
        ((1, 2, float("inf")), [1, 2]),
    ],
)
def test_steps_are_whole_numbers(rates: Sequence[float], steps: list[int]) -> None:
    (curve,) = curves([result_of("s", qps, {"num_prompts": 10}) for qps in rates])
    assert list(curve.steps) == steps
    assert len(curve.points) == len(rates)


def test_concurrency_and_batches_have_curves_too() -> None:
    results = [
        result_of("s", 1, {"load.max_in_flight": n, "qps": "inf", "load.qps": "inf"}, load_label=f"concurrency={n}")
        for n in (1, 8)
    ]
    (curve,) = curves(results)
    assert (curve.axis, list(curve.steps)) == ("concurrency", [1, 8])
    results = [result_of("s", 1, {"script.batch_size": n}, load_label=f"batch={n}", script="latency") for n in (1, 8)]
    assert [(curve.axis, curve.script) for curve in curves(results)] == [("batch", "latency")]


def test_one_rate_and_no_load_make_no_curve() -> None:
    assert curves([result_of("s", 4, {SEQS: seqs}) for seqs in (64, 128)]) == []
    assert curves([result_of("s", qps, {}, load_label="") for qps in (1, 2)]) == []
    assert curves([result_of("s", 4, {}, repeat=repeat) for repeat in range(3)]) == []


def test_what_is_swept_beside_the_rate_separates_curves() -> None:
    crossed = [result_of("s", qps, {"num_prompts": n}) for qps in (1, 2) for n in (100, 200)]
    assert [len(curve.points) for curve in curves(crossed)] == [2, 2]
    zipped = [result_of("s", qps, {"num_prompts": n}) for qps, n in ((1, 100), (2, 200))]
    assert [len(curve.points) for curve in curves(zipped)] == [2]
    models = [result_of("s", qps, {"model.id": model}) for qps, model in ((1, "a"), (2, "b"))]
    assert curves(models) == [], "two models are no curve, even if each was measured at a rate of its own"
    seeds = [result_of("s", qps, {"seed": seed}) for qps in (1, 2) for seed in (1, 2)]
    assert [len(curve.points) for curve in curves(seeds)] == [2, 2]


def test_invalid_points_are_not_drawn_and_are_named() -> None:
    bad = result_of("s", 2, {}, **invalid("too few"))
    (curve,) = curves([result_of("s", 1, {}), bad, result_of("s", 4, {}, verdict=Verdict.SUSPECT)])
    assert list(curve.steps) == [1, 4]
    assert curve.verdict is Verdict.SUSPECT
    (name,) = names([curve])
    assert name == "[1 INVALID] small-model over qps"
    assert "1 INVALID, 1 SUSPECT, 1 VALID" in curve_note(curve)
    (nothing,) = curves([replace(bad, load_label=f"qps={qps}") for qps in (1, 2)])
    assert (nothing.verdict, nothing.steps) == (Verdict.INVALID, {})


def test_names_begin_with_what_differs() -> None:
    systems = [{"model.id": model, SEQS: seqs} for model in ("o/aa", "o/bb") for seqs in (8, 16)]
    found_names = names(curves([result_of("s", qps, system) for qps in (1, 2) for system in systems]))
    assert sorted(found_names) == [
        f"{seqs} {model} (max_num_seqs) over qps" for seqs in (16, 8) for model in ("aa", "bb")
    ]
    builds = [{"engine.python": f"/{venv}/bin/python"} for venv in ("new", "old")]
    found_names = names(curves([result_of("s", qps, build) for qps in (1, 2) for build in builds]))
    assert sorted(found_names) == [f"/{venv}/bin/python (python) small-model over qps" for venv in ("new", "old")]


def test_names_end_with_the_time() -> None:
    (curve,) = curves([result_of("s", qps, {}, epoch_time=1_700_000_000.0 + qps) for qps in (1, 2)])
    assert curve_names([curve]) == ["small-model over qps, 11-14 22:13"]


def test_the_note_has_every_rate() -> None:
    (curve,) = curves([result_of("s", qps, {"description": "a|b"}) for qps in (0.5, 1, float("inf"))])
    note = curve_note(curve)
    assert "Step = qps x 1000" in note
    assert [line.split("|")[1].strip() for line in note.splitlines() if line.startswith("|")][2:] == ["0.5", "1", "inf"]


# In MLflow


class Sweep:
    """A sweep whose points are logged one by one."""

    def __init__(self, tracking: Mlflow, client: Any, directory: Path) -> None:
        self.tracking, self.client, self.directory = tracking, client, directory
        self.id = uuid4().hex
        self.clock_s = 1_700_000_000.0

    def log(self, qps: float, seqs: int = 64, repeat: int = 0, *, run_id: str | None = None, **changes: Any) -> Result:
        """Log a point; in the directory of an earlier result of the same point, if there is one."""
        self.clock_s += 40
        result = result_of(self.id, qps, {SEQS: seqs}, repeat=repeat, **{"epoch_time": self.clock_s, **changes})
        result.run_id = run_id or result.run_id
        point = self.directory / f"{qps:g}-{seqs}-{repeat}"
        shutil.rmtree(point, ignore_errors=True)
        result.write(point)
        self.tracking.record(result, point)
        return result

    def update(self) -> None:
        self.tracking.log_curves(self.id, self.directory)

    def runs(self) -> list[Any]:
        experiment = self.client.get_experiment_by_name("benchhydra").experiment_id
        return list(self.client.search_runs([experiment], f"tags.sweep_id = '{self.id}'"))

    def curves(self) -> dict[str, Any]:
        """Name without the time -> run."""
        return {run.info.run_name.rpartition(", ")[0]: run for run in self.runs() if is_curve(run)}

    def points(self) -> list[Any]:
        return [run for run in self.runs() if not is_curve(run)]

    def history(self, run: Any, metric: str = "mean_tpot_ms") -> list[tuple[int, float]]:
        return [(m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, metric)]


@pytest.fixture
def sweep(uri: str, client: Any, tmp_path: Path) -> Sweep:
    return Sweep(Mlflow(uri=uri, artifacts=False, series=False), client, tmp_path)


def test_curves_hold_the_metrics_and_points_are_their_children(sweep: Sweep) -> None:
    measured = {(seqs, qps): sweep.log(qps, seqs) for seqs in (64, 128) for qps in (1, 2, 4)}
    sweep.update()
    runs = sweep.curves()
    assert sorted(runs) == ["128 (max_num_seqs) small-model over qps", "64 (max_num_seqs) small-model over qps"]
    for seqs in (64, 128):
        run = runs[f"{seqs} (max_num_seqs) small-model over qps"]
        expected = [(qps, entry.rounded(measured[seqs, qps].metrics["mean_tpot_ms"].value)) for qps in (1, 2, 4)]
        assert sweep.history(run) == expected
        assert sweep.history(run, "qps") == [(1, 1.0), (2, 2.0), (4, 4.0)]
        assert run.data.params[SEQS] == str(seqs) and "qps" not in run.data.params
        children = [p for p in sweep.points() if p.data.tags[PARENT] == run.info.run_id]
        assert {p.data.params[SEQS] for p in children} == {str(seqs)} and len(children) == 3
        assert (run.info.status, run.data.tags["verdict"]) == ("FINISHED", "VALID")
        assert run.data.tags["better.mean_tpot_ms"] == "SmallerIsBetter"
    assert len({run.data.tags[COLOUR] for run in runs.values()}) == 2


def test_the_next_sweep_has_other_colours(sweep: Sweep, tmp_path: Path) -> None:
    later = Sweep(sweep.tracking, sweep.client, tmp_path / "later")
    later.clock_s += 1000
    for each in (sweep, later):
        each.log(1)
        each.log(2)
        each.update()
    (first,), (second,) = sweep.curves().values(), later.curves().values()
    assert first.data.tags[COLOUR] != second.data.tags[COLOUR]


def test_updating_again_changes_nothing(sweep: Sweep) -> None:
    for qps in (1, 2):
        sweep.log(qps)
    sweep.update()
    before = {run.info.run_id: run.to_dictionary() for run in sweep.runs()}
    sweep.update()
    assert {run.info.run_id: run.to_dictionary() for run in sweep.runs()} == before


def test_a_growing_curve_keeps_its_run(sweep: Sweep) -> None:
    """What somebody looks at while the sweep runs does not vanish."""
    sweep.log(1)
    sweep.update()
    assert sweep.curves() == {}
    sweep.log(2)
    sweep.update()
    (first,) = sweep.curves().values()
    sweep.log(4)
    sweep.update()
    (second,) = sweep.curves().values()
    assert second.info.run_id == first.info.run_id
    assert [step for step, _ in sweep.history(second)] == [1, 2, 4]
    sweep.log(1, 128)
    sweep.log(2, 128)
    sweep.update()
    renamed = sweep.curves()["64 (max_num_seqs) small-model over qps"]
    assert renamed.info.run_id == first.info.run_id
    assert renamed.data.tags[COLOUR] == first.data.tags[COLOUR]


def test_repeats_change_the_mean_and_leave_one_value_a_step(sweep: Sweep) -> None:
    results = [sweep.log(qps) for qps in (1, 2)]
    sweep.update()
    results.append(sweep.log(2, repeat=1))
    sweep.update()
    (curve,) = sweep.curves().values()
    tpot = [result.metrics["mean_tpot_ms"].value for result in results]
    history = sweep.history(curve)
    assert [step for step, _ in history] == [1, 2]
    assert history[1][1] == pytest.approx((tpot[1] + tpot[2]) / 2, rel=1e-5)
    assert {point.data.tags[PARENT] for point in sweep.points()} == {curve.info.run_id}


def test_a_point_that_was_measured_again_is_drawn_once(sweep: Sweep) -> None:
    sweep.log(1)
    sweep.log(2)
    sweep.log(4, **invalid("disturbed"))
    sweep.update()
    (before,) = sweep.curves().values()
    assert before.info.run_name.startswith("[1 INVALID] ")
    again = sweep.log(4, run_id=f"again-{sweep.id}")
    second = sweep.log(2, run_id=f"again-2-{sweep.id}", slowness=2.0)
    sweep.update()
    (curve,) = sweep.curves().values()
    values = [entry.rounded(result.metrics["mean_tpot_ms"].value) for result in (second, again)]
    assert sweep.history(curve)[1:] == list(zip((2, 4), values, strict=True))
    assert len(sweep.points()) == 3
    assert "INVALID" not in curve.info.run_name


def test_a_fractional_rate_rescales_the_steps(sweep: Sweep) -> None:
    sweep.log(1)
    sweep.log(2)
    sweep.update()
    sweep.log(1.5)
    sweep.update()
    (curve,) = sweep.curves().values()
    assert [step for step, _ in sweep.history(curve)] == [1000, 1500, 2000]
    assert sweep.history(curve, "qps") == [(1000, 1.0), (1500, 1.5), (2000, 2.0)]


def test_a_curve_that_was_left_half_written_is_finished(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep.log(1)
    sweep.log(2)
    monkeypatch.setattr("benchhydra.tracking.curve_runs._log", _killed)
    with pytest.raises(KeyboardInterrupt):
        sweep.update()
    monkeypatch.undo()
    (half,) = [run for run in sweep.runs() if is_curve(run)]
    assert half.info.status == "RUNNING" and half.data.metrics == {}
    sweep.update()
    (curve,) = sweep.curves().values()
    assert curve.info.run_id == half.info.run_id
    assert curve.info.status == "FINISHED" and [step for step, _ in sweep.history(curve)] == [1, 2]


def test_values_of_an_unfinished_run_are_not_trusted(sweep: Sweep) -> None:
    """They may be means of fewer repeats than there are now."""
    sweep.log(1)
    sweep.log(2)
    sweep.update()
    (curve,) = sweep.curves().values()
    sweep.client.set_tag(curve.info.run_id, "curve_sources", "{}")
    sweep.client.update_run(curve.info.run_id, status="RUNNING")
    sweep.log(2, repeat=1)
    sweep.update()
    (replaced,) = sweep.curves().values()
    assert replaced.info.run_id != curve.info.run_id
    assert [step for step, _ in sweep.history(replaced)] == [1, 2]


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_of_two_runs_of_a_curve_one_stays(sweep: Sweep) -> None:
    """Two machines that share a tracking server, and no file system, may both write a curve."""
    sweep.log(1)
    sweep.log(2)
    sweep.update()
    (curve,) = sweep.curves().values()
    kept = {key: curve.data.tags[key] for key in ("curve", "sweep_id")}
    sweep.client.create_run(curve.info.experiment_id, tags=kept)
    sweep.update()
    (left,) = [run for run in sweep.runs() if is_curve(run)]
    assert {point.data.tags[PARENT] for point in sweep.points()} == {left.info.run_id}
    assert [step for step, _ in sweep.history(left)] == [1, 2]


@pytest.mark.slow
def test_processes_write_each_curve_once(sweep: Sweep) -> None:
    for seqs in (64, 128):
        for qps in (1, 2):
            sweep.log(qps, seqs)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=sweep.tracking.log_curves, args=(sweep.id, sweep.directory)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len([run for run in sweep.runs() if is_curve(run)]) == 2
    assert all(len(sweep.history(run)) == 2 for run in sweep.curves().values())


def test_other_tools_do_not_take_curves_for_points(
    uri: str, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweep(Mlflow(uri=uri, series=False), client, tmp_path)
    for qps in (1, 2):
        sweep.log(qps)
    sweep.update()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    results = results_from_mlflow(f"benchhydra?tags.sweep_id = '{sweep.id}'")
    assert sorted(result.config["qps"] for result in results) == [1, 2]


def test_the_log_command_writes_curves(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for qps in (1, 2):
        result = result_of(sweep.id, qps, {})
        result.write(sweep.directory / f"{qps}")
    assert program.run(["log", str(sweep.directory), "--uri", str(sweep.tracking.uri), "--no-artifacts"]) == 0
    assert "2 of 2 results logged" in capsys.readouterr().out
    assert len(sweep.curves()) == 1
    assert read_links(sweep.directory / "1")["run_id"]


def test_curves_that_cannot_be_logged_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Mlflow(uri="http://127.0.0.1:1").log_curves("x", tmp_path)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("curves not logged to MLflow (no answer from http://127.0.0.1:1")
    assert line.endswith(f"benchhydra log {tmp_path}")


def test_tags_are_few(sweep: Sweep) -> None:
    sweep.log(1)
    sweep.log(2)
    sweep.update()
    (curve,) = sweep.curves().values()
    described = json.loads(curve.data.tags["metrics"])
    assert described["main"] == list(KEY_METRICS)
    for run in sweep.runs():
        assert {key for key in run.data.tags if key.startswith("better.")} == {f"better.{name}" for name in KEY_METRICS}
        assert not any(key.startswith("unit.") for key in run.data.tags)
