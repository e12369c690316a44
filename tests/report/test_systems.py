"""Two systems of six rates, one 8 % slower: what their sweeps and their comparison hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.report.made import MAIN, RATES, SLOWER

from benchhydra.analysis.compare import compare
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.report.data.axes import value_axis
from benchhydra.report.data.comparison import comparison_data
from benchhydra.report.data.sweep_points import settings_text, short_keys
from benchhydra.report.site import Site


@pytest.fixture(scope="module")
def comparison(systems_site: Site) -> dict[str, Any]:
    return systems_site.comparison


@pytest.fixture(scope="module")
def sweeps(systems_site: Site) -> dict[str, dict[str, Any]]:
    return {data["sweep_id"]: data for name, data in systems_site.pieces() if name.startswith("sweeps/")}


@pytest.fixture
def sweep(sweeps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """That of a single system."""
    return sweeps["base"]


class TestComparison:
    def test_matrix_has_a_row_for_each_point_and_a_column_for_each_main_metric(
        self, comparison: dict[str, Any]
    ) -> None:
        matrix = comparison["matrix"]
        assert [metric["name"] for metric in matrix["metrics"]] == list(MAIN)
        assert [row["name"] for row in matrix["rows"]] == [f"qps={rate:g}" for rate in RATES]
        tpot = [row["cells"][MAIN.index("mean_tpot_ms")] for row in matrix["rows"]]
        assert all(6.5 < float(cell["text"].split()[0]) < 9.5 for cell in tpot)
        assert sum(cell["change"] == "worse" for cell in tpot) >= 5

    def test_curves_are_the_levels_of_both_sides_with_the_range_of_their_runs(self, comparison: dict[str, Any]) -> None:
        charts = {chart["metric"]: chart for chart in comparison["curves"]["charts"]}
        assert comparison["curves"]["axis"] == {"key": "qps", "unit": "requests/s"}
        (line,) = charts["mean_tpot_ms"]["lines"]
        for (x, base, low, high), candidate, rate in zip(line["base"], line["candidate"], RATES, strict=True):
            assert x == candidate[0] == rate
            assert low <= base <= high
            assert candidate[1] / base == pytest.approx(SLOWER, rel=0.02)

    def test_charts_of_what_got_worse_come_first(self, comparison: dict[str, Any]) -> None:
        first = [chart["metric"] for chart in comparison["curves"]["charts"]][:2]
        assert set(first) == {"mean_tpot_ms", "p99_e2el_ms"}

    def test_parts_of_the_explanation_add_up_to_the_change(self, comparison: dict[str, Any]) -> None:
        assert comparison["why"]
        explanations = [each for point in comparison["points"] for each in point["explanation"]]
        assert {each["metric"] for each in explanations} == {"mean_e2el_ms"}
        for each in explanations:
            parts = {part["name"]: part["change_ms"] for part in each["parts"]}
            assert max(parts, key=lambda name: abs(parts[name])) == "decode"
            assert sum(parts.values()) == pytest.approx(each["change_ms"], rel=0.05)

    def test_points_without_a_number_that_varies_have_no_curves(self, systems: Path) -> None:
        runs = read_runs(str(systems / "base"))
        few = Runs([run for run in runs.runs if run.qps == "8"], runs.kinds, scripts=runs.scripts)
        data = comparison_data(compare(few, few, thresholds=Thresholds()), "a", "b")
        assert data["curves"] == {"axis": None, "charts": []}


class TestSweep:
    def test_repeats_are_one_row_with_their_spread(self, sweep: dict[str, Any]) -> None:
        (table,) = sweep["tables"]
        assert table["settings"] == [{"key": "qps", "name": "qps"}]
        assert [row["settings"] for row in table["points"]] == [[rate] for rate in RATES]
        for row in table["points"]:
            assert (len(row["runs"]), row["usable"], row["verdict"]) == (3, 3, "VALID")
            middle, low, high = row["values"][0]
            assert row["spreads"][0] == pytest.approx((high - low) / 2 / middle, rel=1e-3)
            assert set(row["ranks"]) == {None}  # every load has but one system

    def test_power_energy_and_cost_are_drawn_against_the_load(self, sweep: dict[str, Any]) -> None:
        names = [curve["name"] for curve in sweep["curves"]]
        assert names[-3:] == ["mean_gpu_power_w", "gpu_j_per_output_token", "cost_per_1m_output_tokens"]

    def test_fronts_of_a_server_and_of_a_user_come_first(self, sweep: dict[str, Any]) -> None:
        assert [(pair["x"], pair["y"]) for pair in sweep["trade_offs"][:2]] == [
            ("output_throughput", "p99_e2el_ms"),
            ("output_throughput_per_user", "output_throughput_per_gpu"),
        ]
        assert sweep["trade_offs"][1]["front"] == [5, 4, 3, 2, 1, 0]

    def test_answers_of_searches_are_those_of_the_terminal(self, sweep: dict[str, Any]) -> None:
        answers = sweep["answers"]
        assert answers["columns"] == ["search", "answer", "interval", "limited by", "probes"]
        assert answers["rows"] == [["search=grid", "16.50 requests/s", "16 to 17", "p99_ttft_ms", "18"]]

    def test_systems_of_one_load_are_ranked(self, sweeps: dict[str, dict[str, Any]]) -> None:
        data = sweeps["both"]
        (table,) = data["tables"]
        assert [setting["name"] for setting in table["settings"]] == ["qps", "max_num_seqs"]
        at = table["metrics"].index("mean_tpot_ms")
        assert [row["ranks"][at] for row in table["points"]] == [0.0, 1.0] * len(RATES)
        assert {point["line"] for point in data["points"]} == {"max_num_seqs=64", "max_num_seqs=256"}


class TestAxis:
    def test_few_saturated_points_are_cut_off(self) -> None:
        axis = value_axis([10.0, 11.0, 12.0, 5000.0])
        assert (axis["above"], axis["max"] < 15, 9 < axis["min"] < 10) == (1, True, True)

    def test_axis_from_zero(self) -> None:
        assert value_axis([10.0, 20.0], from_zero=True)["min"] == 0
        assert value_axis([]) == {}
        assert value_axis([-3.0, -1.0])["min"] < -3


def test_keys_are_called_by_their_last_word_if_that_is_enough() -> None:
    keys = ["engine.args.max_num_seqs", "qps", "a.size", "b.size"]
    assert list(short_keys(keys).values()) == ["max_num_seqs", "qps", "a.size", "b.size"]
    assert settings_text({"qps": 8.0, "engine.args.max_num_seqs": 64}, keys[:2]) == "max_num_seqs=64 qps=8"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_run_itself_is_reported_and_not_a_copy_of_it(systems: Path, tmp_path: Path, order: tuple[int, int]) -> None:
    """Whatever comes first: the tracker's copies have no records, and figures of MLflow have no files at all."""
    own = read_runs(str(systems / "base"))
    copies = [run.__class__(**(as_fields(run) | {"source": "mlflow:exp"})) for run in own.runs]
    parts = [own, Runs(copies, own.kinds)]
    joined = Runs.joined([parts[i] for i in order])
    assert len(joined.runs) == len(own.runs)
    assert all(run.directory is not None for run in joined.runs)


def as_fields(run: Any) -> dict[str, Any]:
    return {name: getattr(run, name) for name in run.__struct_fields__}
