"""The pieces of data of a report, against results whose truth is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.made import (
    ABSURD_MS,
    INVALID_AT,
    MS,
    REPLICAS,
    RUNS,
    STEP_AT,
    SUSPECT_AT,
    WATCHED,
    gpu_series,
    records,
    result,
)

from benchhydra.analysis.history import metric_histories
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.arrow_columns import number_array, write_parquet
from benchhydra.errors import ResultError
from benchhydra.records import Phase, Records
from benchhydra.report.data import benchmarks, details, lanes, requests, sweep_curves, sweep_points, sweeps
from benchhydra.report.data.sweep_points import SweepPoint
from benchhydra.report.site import Site
from benchhydra.result import Better, Verdict
from benchhydra.series import Series, write_series

MS_DOWN = MetricKind("ms", Better.SMALLER)
TOKENS_UP = MetricKind("tokens/s", Better.BIGGER)


@pytest.fixture(scope="module")
def site(found: Runs) -> dict[str, Any]:
    """Every piece of the report by its name."""
    return dict(Site(results=found, title="t").pieces())


@pytest.fixture(scope="module")
def history(site: dict[str, Any]) -> dict[str, Any]:
    """The benchmark with the long history."""
    return next(data for name, data in site.items() if name.startswith("benchmarks/") and len(data["runs"]["id"]) > 10)


def run(key: str = "k", **metrics: float) -> Run:
    return Run(
        run_id=f"{key}{metrics}", point_key=key, verdict=Verdict.VALID, status="ok", epoch_time=1, metrics=metrics
    )


def point(*repeats: Run) -> SweepPoint:
    return SweepPoint(runs=repeats, settings={})


def front(points: list[SweepPoint]) -> list[int]:
    """The points that no other beats in throughput and latency."""
    kinds = {"output_throughput": TOKENS_UP, "p99_e2el_ms": MS_DOWN}
    return sweep_curves.front(points, "output_throughput", "p99_e2el_ms", kinds)


def counted(name: str, unit: str, samples: int) -> Series:
    """A series whose values are its seconds."""
    times_ns = np.arange(samples, dtype=np.int64) * 10**9
    return Series(name=name, unit=unit, times_ns=times_ns, values=times_ns / 1e9)


def lane_lines(series: list[Series]) -> list[dict[str, Any]]:
    return [line for lane in lanes.lanes(series, 0) for line in lane["lines"]]


class TestHistory:
    def test_step_is_found_where_it_is(self, history: dict[str, Any]) -> None:
        (change,) = history["changes"]["p99_ttft_ms"]
        assert change["at"] == STEP_AT
        assert change["before"] == STEP_AT - 1
        assert change["ratio"] == pytest.approx(0.10, abs=0.02)
        assert change["better"] is False

    def test_levels_meet_at_the_step(self, history: dict[str, Any]) -> None:
        before, after = history["levels"]["p99_ttft_ms"]
        assert (before["from"], before["to"], after["from"], after["to"]) == (0, STEP_AT - 1, STEP_AT, RUNS - 1)
        assert before["level"] == pytest.approx(40, rel=0.02)
        assert after["level"] == pytest.approx(44, rel=0.02)

    def test_band_is_the_prediction_interval(self, history: dict[str, Any]) -> None:
        """1 % noise, t of 21 degrees of freedom: about +-2.2 %."""
        before, _ = history["levels"]["p99_ttft_ms"]
        assert math.log(before["high"] / before["level"]) == pytest.approx(0.022, rel=0.4)
        assert before["low"] * before["high"] == pytest.approx(before["level"] ** 2, rel=1e-4)

    def test_invalid_run_is_shown_but_left_out_of_levels(self, history: dict[str, Any]) -> None:
        assert history["runs"]["verdict"][INVALID_AT] == "INVALID"
        assert history["runs"]["usable"][INVALID_AT] is False
        assert history["metrics"]["mean_ttft_ms"][INVALID_AT] == ABSURD_MS
        assert all(level["high"] < 100 for level in history["levels"]["mean_ttft_ms"])

    def test_invalid_run_is_left_out_of_the_overviews_sparkline(
        self, site: dict[str, Any], history: dict[str, Any]
    ) -> None:
        rows = site[f"metrics/{details.file_slug('mean_ttft_ms')}"]["rows"]
        at = [one["id"] for one in site["index"]["benchmarks"]].index(history["id"])
        newest, past, ratio, better = rows[at]
        assert len(past) == RUNS - 1
        assert max(past) < 100
        assert newest == history["metrics"]["mean_ttft_ms"][-1]
        assert (ratio > 0.08, better) == (True, False)

    def test_suspect_run_says_why(self, history: dict[str, Any]) -> None:
        assert history["runs"]["verdict"][SUSPECT_AT] == "SUSPECT"
        assert history["runs"]["usable"][SUSPECT_AT] is True
        assert history["runs"]["reasons"][SUSPECT_AT] == ["made SUSPECT"]

    def test_few_runs_have_a_level_and_no_band(self) -> None:
        (one,) = metric_histories(Runs([run(x=1.0), run(x=1.1)], {"x": MS_DOWN}))
        (level,) = benchmarks.levels(one, {r.run_id: i for i, r in enumerate(one.runs)})
        assert level["level"] == pytest.approx(math.sqrt(1.1), rel=1e-4)
        assert "low" not in level

    def test_several_processes_give_the_same_levels(self, found: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
        groups = benchmarks.benchmarks(found)
        alone = benchmarks.histories_of(groups, found)
        monkeypatch.setattr(benchmarks, "MANY_RUNS", 1)
        monkeypatch.setattr(benchmarks, "cores", lambda: 2)
        in_processes = benchmarks.histories_of(groups, found)
        assert in_processes == alone
        noise = [[history.noise for history in of_group] for of_group in in_processes]
        assert noise == [[history.noise for history in of_group] for of_group in alone]


class TestIndex:
    def test_index_counts_results_runs_and_sweeps(self, site: dict[str, Any]) -> None:
        index = site["index"]
        assert index["results"] == RUNS + 1 + 6
        assert index["with_requests"] == 6
        assert sum(one["unusable"] for one in index["benchmarks"]) == 1
        assert [one["runs"] for one in index["sweeps"]] == [6]

    def test_every_file_named_in_the_index_exists(self, site: dict[str, Any]) -> None:
        index = site["index"]
        wanted = {f"{kind}/{one['id']}" for one in index["benchmarks"] for kind in ("benchmarks", "details")}
        wanted |= {f"metrics/{metric['file']}" for metric in index["metrics"].values()}
        wanted |= {f"sweeps/{one['id']}" for one in index["sweeps"]}
        assert wanted <= set(site)
        assert len([name for name in site if name.startswith("requests/")]) == 6

    def test_only_the_newest_requests_are_kept(self, found: Runs) -> None:
        site = dict(Site(results=found, title="t", newest_requests=2).pieces())
        kept = {name.removeprefix("requests/") for name in site if name.startswith("requests/")}
        assert kept == {details.file_slug("s1-2-0"), details.file_slug("s1-2-1")}
        assert site["index"]["with_requests"] == 2

    def test_no_requests(self, found: Runs) -> None:
        site = dict(Site(results=found, title="t", newest_requests=0).pieces())
        assert not [name for name in site if name.startswith("requests/")]

    def test_points_with_the_same_name_are_distinguished(self, tmp_path: Path) -> None:
        for seqs in (64, 128):
            engine = {"args": {"max_num_seqs": seqs}, "python": f"/v{seqs}/python"}
            result(f"r{seqs}", ttft_ms=5.0, config={"engine": engine}).write(tmp_path / f"{seqs}")
        index = dict(Site(results=read_runs(str(tmp_path)), title="t").pieces())["index"]
        said = {one["apart"] for one in index["benchmarks"]}
        assert said == {"engine.args.max_num_seqs=64", "engine.args.max_num_seqs=128"}


class TestDetails:
    def test_common_facts_are_listed_once(self, site: dict[str, Any], history: dict[str, Any]) -> None:
        data = site[f"details/{history['id']}"]
        assert data["common"]["config.qps"] == 4.0
        assert data["common"]["environment.machine_class"] == "cpu-2c"
        assert all("config.qps" not in one["facts"] for one in data["runs"])
        commits = {one["facts"]["environment.git.commit"] for one in data["runs"]}
        assert len(commits) == RUNS

    def test_a_run_has_the_figures_of_its_groups(self, found: Runs) -> None:
        watched = next(run for run in found.runs if run.run_id == f"s1-{WATCHED[0]}-{WATCHED[1]}")
        groups = details.read_details(watched).groups
        assert list(groups["replica"]) == list(REPLICAS)
        assert groups["replica"]["0"]["mean_ttft_ms"] == watched.metrics["mean_ttft_ms"]

    def test_link_to_mlflow(self, tree: Path, found: Runs) -> None:
        one = next(run for run in found.runs if run.run_id == "day-00")
        assert one.directory is not None
        assert details.read_details(one).mlflow == ""
        file = one.directory / "mlflow.json"
        try:
            file.write_text(json.dumps({"link": "http://127.0.0.1:5000/#/x"}), encoding="utf-8")
            assert details.read_details(one).mlflow == "http://127.0.0.1:5000/#/x"
            file.write_text(json.dumps({"link": "javascript:alert(1)"}), encoding="utf-8")
            assert details.read_details(one).mlflow == ""
        finally:
            file.unlink()

    @pytest.mark.parametrize("text", ["../../etc/passwd", "a/b", "..", "", "x" * 5000, "\0"])
    def test_slug_is_a_file_name(self, text: str) -> None:
        assert details.file_slug(text).isalnum()
        assert len(details.file_slug(text)) == 12

    def test_keys_that_vary_together_are_one(self) -> None:
        configs = [
            {"model.id": m, "model.build": m, "qps": q, "seed": i} for i, (m, q) in enumerate([("a", 1), ("b", 1)])
        ]
        assert details.distinguishing_keys(configs) == ["model.id"]

    def test_unreadable_result_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "result.json").write_text("{", encoding="utf-8")
        gone = Run(
            run_id="r",
            point_key="k",
            verdict=Verdict.VALID,
            status="ok",
            epoch_time=1,
            source=str(tmp_path / "result.json"),
        )
        shown = details.read_details(gone)
        assert shown.fault.startswith(f"{tmp_path / 'result.json'} is not a benchhydra result")
        assert shown.warnings == (shown.fault,)


class TestRequests:
    def test_latencies_are_those_of_the_rows(self) -> None:
        data = requests.requests_data(records(40, first_ms=20.0))
        assert data["quantiles"]["ttft_ms"] == [20.0] * 101
        assert data["quantiles"]["tpot_ms"][50] == pytest.approx(80 / 4)
        assert sum(data["histograms"]["e2el_ms"]["counts"]) == 39  # one of the 40 failed
        assert data["measured"] == 40

    def test_timeline_counts_from_the_first_send(self) -> None:
        line = requests.timeline(records(3))
        assert line["sent_s"] == [0.0, 0.05, 0.1]
        assert line["first_s"] == [0.02, 0.07, 0.12]
        assert line["status"] == ["ok", "ok", "timeout"]
        assert line["phase"] == ["measured"] * 3

    def test_timeline_of_many_is_taken_at_even_steps(self) -> None:
        line = requests.timeline(records(5000))
        assert line["total"] == 5000
        assert len(line["sent_s"]) == requests.MAX_ROWS
        assert (line["sent_s"][0], line["sent_s"][-1]) == (0.0, pytest.approx(4999 * 0.05))
        assert np.ptp(np.diff(line["sent_s"])) <= 0.05 + 1e-9

    def test_a_time_that_never_came_is_negative(self) -> None:
        one = records(2)
        one.first_ns[1] = -1
        assert requests.timeline(one)["first_s"] == [0.02, -1.0]

    def test_a_run_without_requests_has_no_quantiles(self) -> None:
        data = requests.requests_data(Records.of_spans([], []))
        assert data["timeline"]["total"] == 0
        assert (data["quantiles"], data["lanes"], data["window"]) == ({}, [], None)

    def test_throughput_rows_have_no_first_token(self) -> None:
        data = requests.requests_data(Records.of_spans([MS], [9 * MS], output_tokens=[4]))
        assert list(data["quantiles"]) == ["e2el_ms"]

    def test_lanes_hold_the_series_of_the_file(self, tmp_path: Path) -> None:
        rows = records(3)
        rows.write(tmp_path / "records.parquet")
        write_series(gpu_series(rows), tmp_path / "series.parquet")
        power, utilization = requests.run_requests(tmp_path / "records.parquet")["lanes"]
        assert [(lane["title"], lane["unit"]) for lane in (power, utilization)] == [
            ("GPU power", "W"),
            ("GPU", "fraction"),
        ]
        assert [line["label"] for line in utilization["lines"]] == ["gpu=0", "gpu=1"]
        first = utilization["lines"][0]
        assert (first["seconds"][:3], first["values"][:3]) == ([-0.25, 0.0, 0.25], [0.4] * 3)

    def test_window_is_that_of_the_measured_rows(self) -> None:
        rows = records(40)
        rows.phase[:10] = Phase.WARMUP
        start_s, end_s = requests.requests_data(rows)["window"]
        assert start_s == pytest.approx(10 * 0.05)
        assert end_s == pytest.approx(39 * 0.05 + 0.1)

    @pytest.mark.parametrize("has_old_file", [False, True])
    def test_series_without_a_file_of_today_come_from_the_records(self, tmp_path: Path, has_old_file: bool) -> None:
        records(40).write(tmp_path / "records.parquet")
        if has_old_file:  # version 0.1: a row for each second, a column for each figure
            write_parquet(
                {"second": number_array(np.arange(2.0)), "sent_rps": number_array(np.ones(2))},
                tmp_path / "series.parquet",
            )
        drawn = requests.run_requests(tmp_path / "records.parquet")["lanes"]
        lines = {line["label"]: line for lane in drawn for line in lane["lines"]}
        assert lines["sent_rps"]["seconds"] == [0.0, 1.0, 2.0]
        assert lines["sent_rps"]["values"] == [20.0, 20.0, 0.0]
        assert drawn[0]["unit"] == "requests/s"
        assert lines["mean_ttft_ms"]["values"] == [20.0, 20.0]

    def test_long_series_are_taken_at_even_steps(self) -> None:
        (line,) = lane_lines([counted("x.y", "", 5000)])
        assert len(line["seconds"]) == lanes.MAX_SAMPLES
        assert line["seconds"] == line["values"]
        assert (line["seconds"][0], line["seconds"][-1]) == (0.0, 4999.0)

    def test_counters_are_rates(self) -> None:
        (line,) = lane_lines([counted("server.preemptions", "requests", 4)])
        assert (line["seconds"], line["values"]) == ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])

    def test_what_is_read_together_is_one_lane_with_the_main_ones_first(self) -> None:
        names = ("plugin.words", "server.requests_waiting", "client.in_flight", "server.queue_sum_ms")
        drawn = lanes.lanes([counted(name, "requests", 3) for name in names], 0)
        assert [(lane["title"], lane["is_main"], [line["label"] for line in lane["lines"]]) for lane in drawn] == [
            ("Requests in flight", True, ["client.in_flight", "server.requests_waiting"]),
            ("plugin.words", False, ["words"]),
        ]

    def test_series_with_labels_are_lanes_of_their_own(self) -> None:
        series = [replace(counted("host.pressure", "fraction", 2), labels={"of": name}) for name in ("cpu", "io")]
        series += [counted("host.load", "fraction", 2), counted("host.other", "fraction", 2)]
        drawn = lanes.lanes(series, 0)
        assert [(lane["title"], [line["label"] for line in lane["lines"]]) for lane in drawn] == [
            ("host.pressure", ["of=cpu", "of=io"]),
            ("host", ["load", "other"]),
        ]

    def test_broken_series_are_reported(self, tmp_path: Path) -> None:
        records(3).write(tmp_path / "records.parquet")
        (tmp_path / "series.parquet").write_bytes(b"no")
        with pytest.raises(ResultError, match=r"series\.parquet is not a file of series"):
            requests.run_requests(tmp_path / "records.parquet")

    def test_broken_records_file_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "records.parquet").write_bytes(b"no")
        with pytest.raises(ResultError, match="cannot read"):
            requests.read_records(tmp_path / "records.parquet")


class TestSweep:
    @pytest.fixture
    def data(self, site: dict[str, Any]) -> dict[str, Any]:
        return next(data for name, data in site.items() if name.startswith("sweeps/"))

    def test_rate_is_the_axis(self, data: dict[str, Any]) -> None:
        assert data["axis"] == {"key": "qps", "unit": "requests/s"}
        assert [point["x"] for point in data["points"]] == [2.0, 8.0, 32.0]
        assert {point["line"] for point in data["points"]} == {""}
        assert [point["name"] for point in data["points"]] == ["qps=2", "qps=8", "qps=32"]

    def test_repeats_are_one_point_with_their_spread(self, data: dict[str, Any]) -> None:
        assert data["points"][0]["values"]["median_ttft_ms"] == [20.5, 20.0, 21.0]
        assert len(data["points"][0]["runs"]) == 2

    def test_front_where_every_point_is_a_trade(self, data: dict[str, Any]) -> None:
        fronts = {(one["x"], one["y"]): one["front"] for one in data["trade_offs"]}
        assert fronts["output_throughput", "p99_e2el_ms"] == [0, 1, 2]
        assert not [y for _, y in fronts if "tpot" in y]  # nobody measured it

    def test_results_say_what_is_drawn(self, data: dict[str, Any]) -> None:
        assert [(curve["name"], curve["metrics"]) for curve in data["curves"]] == [
            ("ttft_ms", ["median_ttft_ms", "p99_ttft_ms"]),
            ("e2el_ms", ["p99_e2el_ms"]),
            ("output_throughput", ["output_throughput"]),
        ]
        assert [(one["x"], one["y"]) for one in data["trade_offs"][:2]] == [
            ("output_throughput", "p99_e2el_ms"),
            ("output_throughput", "mean_ttft_ms"),
        ]

    def test_results_of_an_unknown_script_are_drawn_by_what_they_declare(self, tmp_path: Path) -> None:
        for i, load in enumerate((1.0, 2.0, 4.0)):
            result(
                f"r{i}",
                ttft_ms=10 + i,
                qps=load,
                script="of_a_plugin",
                sweep_id="s",
                load_label=f"{load:g} sessions",
                key_metrics=("p99_ttft_ms", "completed"),
                charts=(("completed", "p99_ttft_ms"),),
            ).write(tmp_path / str(i))
        site = dict(Site(results=read_runs(str(tmp_path)), title="t").pieces())
        (data,) = (piece for name, piece in site.items() if name.startswith("sweeps/"))
        assert [curve["name"] for curve in data["curves"]] == ["ttft_ms", "completed"]
        (pair,) = data["trade_offs"]
        assert (pair["x"], pair["y"], pair["front"]) == ("completed", "p99_ttft_ms", [])  # it has no direction
        assert (data["tables"][0]["metrics"][:2], data["tables"][0]["key"]) == (["p99_ttft_ms", "completed"], 2)
        assert {one["load"] for one in site["index"]["benchmarks"]} == {"1 sessions", "2 sessions", "4 sessions"}

    def test_every_row_leads_to_a_benchmark_and_its_requests(self, data: dict[str, Any], site: dict[str, Any]) -> None:
        (table,) = data["tables"]
        ids = {one["id"] for one in site["index"]["benchmarks"]}
        assert len(table["runs"]) == 6
        for row in table["runs"]:
            assert data["benchmarks"][row["run"]] in ids
            assert f"requests/{row['run']}" in site
            assert len(data["quantiles"][row["run"]]["ttft_ms"]) == 101

    def test_reasons_are_lines_with_the_points_that_share_them(self) -> None:
        points = [SweepPoint(runs=(run(x=1.0), run(x=2.0)), settings={"qps": qps}) for qps in (1.0, 8.0, 64.0)]
        for i, each in enumerate(points):
            each.runs[0].reasons = (f"others used {20 + i} % of the cores",)
        assert sweeps.reasons_in_lines(points) == ["all 3 points: others used 20 to 22 % of the cores"]

    def test_front_leaves_out_what_is_beaten(self) -> None:
        points = [point(run(output_throughput=x, p99_e2el_ms=y)) for x, y in ((1, 5), (2, 3), (3, 4), (2.5, 9))]
        assert front(points) == [1, 2]

    def test_front_leaves_out_invalid_runs(self) -> None:
        good, bad = run(output_throughput=1, p99_e2el_ms=5), run(output_throughput=9, p99_e2el_ms=1)
        bad.verdict = Verdict.INVALID
        assert front([point(good), point(bad)]) == [0]

    @pytest.mark.parametrize(
        ("values", "kind", "expected"),
        [
            ([10.0, 20.0, 15.0], MS_DOWN, [0.0, 1.0, 0.5]),
            ([10.0, 20.0, 15.0], TOKENS_UP, [1.0, 0.0, 0.5]),
            ([10.0, None, 20.0], MS_DOWN, [0.0, None, 1.0]),
            ([10.0, 10.1], MS_DOWN, [None, None]),
            ([10.0, 90.0], MetricKind("s", Better.OBSERVATION), [None, None]),
            ([10.0], MS_DOWN, [None]),
        ],
    )
    def test_colours_follow_the_direction(
        self, values: list[float | None], kind: MetricKind, expected: list[Any]
    ) -> None:
        assert sweeps.ranks(values, kind) == expected

    def test_colours_compare_values_of_one_load(self) -> None:
        loads = [("1",), ("1",), ("9",), ("9",)]
        assert sweeps.ranks_within([10.0, 20.0, 90.0, 60.0], loads, MS_DOWN) == [0.0, 1.0, 1.0, 0.0]
        assert sweeps.ranks_within([10.0, 20.0], [("1",), ("9",)], MS_DOWN) == [None, None]

    def test_run_without_config_has_its_rate(self) -> None:
        one = run(p99_e2el_ms=1)
        one.qps = "8"
        assert sweeps.config_of(one, details.RunDetails()) == {"qps": 8.0}
        one.qps = ""
        assert sweeps.config_of(one, details.RunDetails()) == {}

    def test_infinite_rate_has_no_place_on_the_axis(self) -> None:
        assert [sweep_points.number_of(value) for value in ("inf", math.inf, None, True, 3)] == [
            None,
            None,
            None,
            None,
            3.0,
        ]
