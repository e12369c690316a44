"""Points in a real MLflow store on SQLite: what is there afterwards, and that a failing tracker loses nothing."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.waiting import wait_for

from benchhydra.artifacts import POINT_FILES
from benchhydra.redaction import redact
from benchhydra.result import Better, MetricValue, Result, Verdict
from benchhydra.series import Series, write_series
from benchhydra.tracking import NoTracking, entry, store, view
from benchhydra.tracking.links import read_links
from benchhydra.tracking.mlflow import Mlflow

Make = Callable[..., tuple[Result, Path]]


def logged(tracking: Mlflow, client: Any, result: Result, directory: Path) -> Any:
    link = tracking.log(result, directory)
    assert link is not None
    links = read_links(directory)
    assert f"/runs/{links['run_id']}?" in link
    return client.get_run(links["run_id"])


def test_values_and_identity(tracking: Mlflow, client: Any, point: Make) -> None:
    run = logged(tracking, client, *point())
    assert run.data.metrics == {"mean_ttft_ms": 20.5, "output_throughput": 0.0}
    assert run.data.params["qps"] == "4.0"
    assert run.data.params["dataset.input_len"] == "8"
    assert run.data.tags["better.mean_ttft_ms"] == "SmallerIsBetter"
    assert json.loads(run.data.tags["metrics"])["better"]["BiggerIsBetter"] == {"tokens/s": ["output_throughput"]}
    assert run.data.tags["git_commit"] == "c0ffee"
    assert run.data.tags["machine"] == "node7"
    assert run.data.tags["verdict"] == "SUSPECT"
    assert (run.info.status, run.info.run_name) == ("FINISHED", "qps=4 tiny-model serving")
    assert run.info.end_time - run.info.start_time == 2500


def test_figures_of_groups_are_metrics_with_the_groups_name(tracking: Mlflow, client: Any, point: Make) -> None:
    figure = MetricValue(key="p99_ttft_ms", value=20.123456789, unit="ms", better=Better.SMALLER)
    names = ["http://127.0.0.1:8000", *map(str, range(entry.MOST_GROUPS + 3))]
    result, directory = point(groups={"replica": {name: {"p99_ttft_ms": figure} for name in names}})
    metrics = logged(tracking, client, result, directory).data.metrics
    of_groups = {name: value for name, value in metrics.items() if name.startswith("groups/")}
    assert of_groups["groups/p99_ttft_ms replica:http:__127.0.0.1:8000"] == 20.1235
    assert of_groups["groups/p99_ttft_ms replica:0"] == 20.1235
    assert len(of_groups) == entry.MOST_GROUPS


def test_no_secret_is_logged(tracking: Mlflow, client: Any, point: Make) -> None:
    run = logged(tracking, client, *point())
    assert "hunter2" not in str(run.to_dictionary())


def test_files_and_plot_are_artifacts(tracking: Mlflow, client: Any, point: Make) -> None:
    run = logged(tracking, client, *point())
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"result.json", "records.parquet", "latency.png"}


def test_every_file_of_a_point_is_an_artifact(tracking: Mlflow, client: Any, point: Make) -> None:
    result, directory = point()
    for name in POINT_FILES:
        if not (directory / name).exists():
            (directory / name).write_text("x")
    run = logged(tracking, client, result, directory)
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {*POINT_FILES, "latency.png"}


def test_series_are_metrics_over_time(tracking: Mlflow, client: Any, point: Make) -> None:
    """The first request of the fixture's records is sent 1 ns after 0, the last answer ends 0.29 s later."""
    result, directory = point()
    seconds = np.arange(-1, 4)
    power = Series(
        name="gpu.power_w",
        unit="W",
        labels={"gpu": "0"},
        times_ns=seconds * 1_000_000_000 + 1,
        values=seconds.astype(np.float64) * 100.0,
    )
    write_series([power], directory / "series.parquet")
    run = logged(tracking, client, result, directory)
    history = client.get_metric_history(run.info.run_id, "gpu/power_w gpu:0")
    assert [(sample.step, sample.value) for sample in history] == [(s, s * 100.0) for s in seconds.tolist()]
    end_ms = (1_700_000_000.0 + 2.5) * 1000
    assert history[1].timestamp == pytest.approx(end_ms - 290, abs=2)
    assert history[2].timestamp - history[1].timestamp == 1000
    assert json.loads(run.data.tags["metrics"])["series"] == {"W": ["gpu/power_w"]}


def test_samples_of_one_second_are_one_value(tracking: Mlflow, client: Any, point: Make) -> None:
    result, directory = point()
    times_ns = np.arange(8, dtype=np.int64) * 500_000_000 + 1
    values = np.array([1.0, 2.0, 3.0, 5.0, 0.0, 0.0, 1.0, 1.0])
    write_series([Series(name="server.x", unit="", times_ns=times_ns, values=values)], directory / "series.parquet")
    run = logged(tracking, client, result, directory)
    history = client.get_metric_history(run.info.run_id, "server/x")
    assert [(sample.step, sample.value) for sample in history] == [(0, 1.5), (1, 4.0), (2, 0.0), (3, 1.0)]


def test_counters_are_logged_as_rates(tracking: Mlflow, client: Any, point: Make) -> None:
    result, directory = point()
    times_ns = np.arange(4, dtype=np.int64) * 1_000_000_000 + 1
    tokens = Series(name="plugin.tokens_total", unit="tokens", times_ns=times_ns, values=np.array([0.0, 5, 5, 20]))
    write_series([tokens], directory / "series.parquet")
    run = logged(tracking, client, result, directory)
    history = client.get_metric_history(run.info.run_id, "plugin/tokens")
    assert [(sample.step, sample.value) for sample in history] == [(1, 5.0), (2, 0.0), (3, 15.0)]
    assert json.loads(run.data.tags["metrics"])["series"] == {"tokens/s": ["plugin/tokens"]}


def test_long_series_are_thinned_out_and_many_take_several_batches(
    uri: str, client: Any, point: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    times_ns = np.arange(5000, dtype=np.int64) * 250_000_000
    all_series = [
        Series(name="host.cpu", unit="cores", labels={"n": str(n)}, times_ns=times_ns, values=times_ns / 1e9)
        for n in range(12)
    ]
    result, directory = point()
    write_series(all_series, directory / "series.parquet")
    batches: list[int] = []
    log_batch = type(client).log_batch

    def counting(self: Any, run_id: str, metrics: Any = (), **more: Any) -> Any:
        batches.append(len(metrics))
        return log_batch(self, run_id, metrics=metrics, **more)

    monkeypatch.setattr(type(client), "log_batch", counting)
    run = logged(Mlflow(uri=uri, artifacts=False), client, result, directory)
    history = client.get_metric_history(run.info.run_id, "host/cpu n:11")
    assert 100 < len(history) < 200
    assert (history[0].value, history[-1].value) == (0.0, 1249.5), "means of the first and the last second"
    gaps = np.diff([sample.step for sample in history])
    assert gaps.max() - gaps.min() <= 1
    assert max(batches) == 1000 and sum(batches) == 12 * len(history) + len(result.metrics)


def test_series_of_another_form_are_only_copied(tracking: Mlflow, client: Any, point: Make) -> None:
    result, directory = point()
    (directory / "series.parquet").write_bytes(b"of version 0.1")
    run = logged(tracking, client, result, directory)
    assert run.data.metrics.keys() == result.metrics.keys()
    assert "series.parquet" in {file.path for file in client.list_artifacts(run.info.run_id)}


def test_a_point_without_requests_counts_from_its_first_sample(tracking: Mlflow, client: Any, point: Make) -> None:
    result, directory = point()
    (directory / "records.parquet").unlink()
    times_ns = np.array([7_000_000_000, 9_500_000_000])
    write_series(
        [Series(name="start.s", unit="s", times_ns=times_ns, values=np.array([1.0, 2.0]))], directory / "series.parquet"
    )
    run = logged(tracking, client, result, directory)
    assert [sample.step for sample in client.get_metric_history(run.info.run_id, "start/s")] == [0, 2]


def test_no_artifacts_on_request(uri: str, client: Any, point: Make) -> None:
    run = logged(Mlflow(uri=uri, artifacts=False), client, *point())
    assert client.list_artifacts(run.info.run_id) == []


def test_dataset_column(tracking: Mlflow, client: Any, point: Make) -> None:
    run = logged(tracking, client, *point())
    (found,) = run.inputs.dataset_inputs
    assert found.dataset.name == "synthetic"
    assert '"input_len": 8' in found.dataset.source


def test_note_is_escaped(tracking: Mlflow, client: Any, point: Make) -> None:
    note = logged(tracking, client, *point()).data.tags["mlflow.note.content"]
    assert r"20 of \| 100 \*requests\*" in note
    assert "&lt;b&gt;bold" in note
    assert "<b>" not in note


def test_second_log_changes_nothing(tracking: Mlflow, client: Any, point: Make) -> None:
    result, directory = point()
    first, second = tracking.record(result, directory), tracking.record(result, directory)
    assert (first.new, second.new) == (True, False)
    assert first.link == second.link == read_links(directory)["link"]


def test_again_replaces(tracking: Mlflow, client: Any, point: Make) -> None:
    result, directory = point()
    first = tracking.record(result, directory)
    second = tracking.record(result, directory, again=True)
    experiment = read_links(directory)["experiment_id"]
    runs = client.search_runs([experiment], f"tags.run_id = '{result.run_id}'")
    assert [run.info.run_id for run in runs] == [read_links(directory)["run_id"]]
    assert first.link != second.link


def test_half_logged_run_is_replaced(tracking: Mlflow, client: Any, point: Make) -> None:
    result, directory = point()
    tracking.record(*point())
    experiment = client.get_experiment_by_name("benchhydra").experiment_id
    half = client.create_run(experiment, tags={"run_id": result.run_id})
    assert tracking.record(result, directory).new
    assert client.get_run(half.info.run_id).info.lifecycle_stage == "deleted"


@pytest.mark.parametrize(("status", "told"), [("failed", "FAILED"), ("interrupted", "KILLED")])
def test_failed_points_are_logged_as_failed(tracking: Mlflow, client: Any, point: Make, status: str, told: str) -> None:
    result, directory = point(status=status, verdict=Verdict.INVALID, metrics={}, error="no *server*")
    run = logged(tracking, client, result, directory)
    assert run.info.status == told
    assert run.info.run_name.startswith("[INVALID] ")
    assert run.data.tags["metrics_usable"] == "false"
    assert run.data.tags["error"] == "no *server*"


def test_more_params_than_a_batch(tracking: Mlflow, client: Any, point: Make) -> None:
    config = {f"key{i}": i for i in range(230)} | {"odd,text": "x" * 9000}
    run = logged(tracking, client, *point(config=config))
    assert len(run.data.params) == 231
    assert len(run.data.params["odd_text"]) == 6000


def test_preset_views_are_published(tracking: Mlflow, client: Any, point: Make) -> None:
    tracking.log(*point(sweep_id="abc"))
    tags = client.get_experiment_by_name("benchhydra").tags
    assert "tags.script = 'serving'" in tags[f"{view.PREFIX}serving"]
    assert "tags.sweep_id = 'abc'" in tags[f"{view.PREFIX}sweep-abc"]


def test_views_show_what_the_results_name(uri: str, client: Any, point: Make) -> None:
    """A script that this program does not know has its columns and charts; a sweep's view those of all its scripts."""
    tracking = Mlflow(uri=uri, experiment="scripts", artifacts=False)
    tracking.log(*point(sweep_id="abc"))
    tracking.log(*point(sweep_id="abc", script="startup", key_metrics=("ready_s",), charts=(("ready_s", "load_s"),)))
    tracking.log(*point(sweep_id="abc"))
    tags = client.get_experiment_by_name("scripts").tags
    assert view.script_views(tags) == ["serving", "startup"]
    own = json.loads(tags[f"{view.PREFIX}startup"])
    assert [chart.get("metricKey") for chart in own["compareRunCharts"]] == ["ready_s", None]
    assert own["compareRunCharts"][1]["xaxis"]["key"] == "ready_s"
    assert "metrics.`mean_ttft_ms`" not in own["selectedColumns"]
    sweep = json.loads(tags[f"{view.PREFIX}sweep-abc"])
    shown = {section["uuid"]: section["display"] for section in sweep["compareRunSections"]}
    assert list(shown) == ["serving", "startup", *view.COLLAPSED]
    assert [uuid for uuid, display in shown.items() if display] == ["serving", "startup"]
    bars = [chart["metricKey"] for chart in sweep["compareRunCharts"] if chart["type"] == "BAR"]
    assert bars == ["mean_ttft_ms", "output_throughput", "ready_s"]
    assert {"metrics.`mean_ttft_ms`", "metrics.`ready_s`"} < set(sweep["selectedColumns"])


def test_views_of_old_sweeps_are_deleted(uri: str, client: Any, point: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "MOST_SWEEPS", 2)
    tracking = Mlflow(uri=uri, experiment="many", artifacts=False)
    for number in range(view.MOST_SWEEPS + 2):
        tracking.log(*point(sweep_id=f"s{number}", epoch_time=1_700_000_000.0 + number))
    kept = [key for key in client.get_experiment_by_name("many").tags if "sweep-" in key]
    assert f"{view.PREFIX}sweep-s0" not in kept
    assert f"{view.PREFIX}sweep-s3" in kept
    assert len(kept) <= view.MOST_SWEEPS + 1


@pytest.mark.slow
def test_processes_share_a_fresh_store(tmp_path: Path, point: Make) -> None:
    fresh = f"sqlite:///{tmp_path / 'fresh' / 'mlflow.db'}"
    directories = [point()[1] for _ in range(3)]
    command = [sys.executable, "-m", "benchhydra", "log", "--no-artifacts", "--uri", fresh]
    processes = [
        subprocess.Popen([*command, str(d)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for d in directories
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert all("1 of 1 results logged" in output for output in outputs)
    assert len({read_links(d)["experiment_id"] for d in directories}) == 1
    assert len({read_links(d)["run_id"] for d in directories}) == 3


def test_a_store_whose_creation_was_killed_is_created_again(tmp_path: Path, point: Make) -> None:
    """MLflow would refuse a half made one for ever: its schema is out of date."""
    file = tmp_path / "killed" / "mlflow.db"
    made = Mlflow(uri=f"sqlite:///{file}")
    program = f"from benchhydra.tracking.mlflow import Mlflow; Mlflow(uri={made.uri!r}).prepare()"
    new = file.with_name("mlflow.db.new")
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        wait_for(lambda: new.exists() and new.stat().st_size > 0, 60, "its making")
        process.kill()
    assert not file.exists()
    result, directory = point()
    assert made.log(result, directory) is not None
    assert made.logged(directory) and not new.exists()


def test_a_store_that_was_killed_in_a_transaction_is_repaired(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    program = (
        "import os, sqlite3, sys\n"
        "base = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "base.execute('CREATE TABLE t (x)')\n"
        "base.execute('PRAGMA cache_size=1')\n"
        "base.execute('BEGIN')\n"
        "for _ in range(500): base.execute('INSERT INTO t VALUES (?)', ('x' * 1000,))\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, file], check=True)
    assert file.with_name("mlflow.db-journal").stat().st_size > 0
    store.reach(f"sqlite:///{file}")
    with contextlib.closing(sqlite3.connect(file)) as base:
        assert base.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_unreachable_server_is_one_line(
    point: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:1")
    result, directory = point()
    assert Mlflow().log(result, directory) is None
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("not logged to MLflow (no answer from http://127.0.0.1:1: Connection refused)")
    assert line.endswith(f"benchhydra log {directory}")
    assert "hunter2" not in line


def test_silent_server_times_out(point: Make, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        assert Mlflow(uri=f"http://127.0.0.1:{silent.getsockname()[1]}").log(*point()) is None
    assert time.monotonic() - begun < 60
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("uri", ["ftp://host/x", "sqlite:////proc/nowhere/mlflow.db", "rubbish"])
def test_bad_uri_is_one_line(point: Make, capfd: pytest.CaptureFixture[str], uri: str) -> None:
    assert Mlflow(uri=uri).log(*point()) is None
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_broken_store_is_one_line(tmp_path: Path, point: Make, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(b"this is no database, but it is a file " * 100)
    assert Mlflow(uri=f"sqlite:///{file}").log(*point()) is None
    assert "file is not a database" in capfd.readouterr().err


def test_none_logs_nothing(point: Make) -> None:
    result, directory = point()
    assert NoTracking().log(result, directory) is None
    assert read_links(directory) == {}


def test_closed_loop_names_its_concurrency(point: Make) -> None:
    result, _ = point(load_label="concurrency=8")
    assert entry.run_name(result) == "concurrency=8 tiny-model serving"


@pytest.mark.parametrize(
    ("script", "config", "name"),
    [
        ("serving", {"qps": "inf", "load": {"max_in_flight": 8}}, "concurrency=8 tiny-model serving"),
        ("serving", {"qps": 2.5, "load": {"max_in_flight": 8}}, "qps=2.5 tiny-model serving"),
        ("serving", {"qps": "inf", "load": {}}, "qps=inf tiny-model serving"),
        ("throughput", {"qps": 1.0}, "tiny-model throughput"),
    ],
)
def test_results_of_the_first_schema_get_the_name_of_their_load(
    point: Make, script: str, config: dict[str, Any], name: str
) -> None:
    _, directory = point(script=script, config=config)
    file = directory / "result.json"
    data = json.loads(file.read_text())
    for key in ("load_label", "key_metrics", "charts"):
        del data[key]
    file.write_text(json.dumps(data | {"json_schema_version": "1.0.0"}))
    result = Result.read(directory)
    assert entry.run_name(result) == name
    assert "output_throughput" in result.key_metrics


def test_summaries_of_repeats_are_logged_on_each_of_their_runs(
    tracking: Mlflow, client: Any, point: Callable[..., tuple[Result, Path]]
) -> None:
    made = [point(run_id=f"repeat-{number}", repeat=number) for number in range(2)]
    for result, directory in made:
        assert tracking.log(result, directory)
    spread = {"mean": 5.0, "low": 4.0, "high": 6.0}
    tracking.log_repeats(
        {"repeats": 2, "metrics": {"mean_ttft_ms": spread, "obscure": spread}},
        [*(directory for _, directory in made), made[0][1] / "never-logged"],
    )
    for _, directory in made:
        data = client.get_run(json.loads((directory / "mlflow.json").read_text())["run_id"]).data
        logged = {name: value for name, value in data.metrics.items() if name.startswith("repeats/")}
        assert logged == {f"repeats/mean_ttft_ms_{part}": value for part, value in spread.items()}
        assert data.tags["repeats"] == "2"


def test_the_link_to_a_sweep_is_printed_whole() -> None:
    link = view.view_link("http://127.0.0.1:5000", "1", "sweep-0123", charts=True)
    assert redact(link) == link
