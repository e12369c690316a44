"""A comparison in a few lines: the headline and the matrix of points by main metrics."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from benchhydra.analysis.comparison import (
    ChangeVerdict,
    Comparison,
    GateOutcome,
    MetricChange,
    PointChange,
    Problem,
)
from benchhydra.analysis.runs import Run
from benchhydra.render import render, rendered
from benchhydra.render.figures import interval
from benchhydra.result import Better, Verdict

W, B, S, U = ChangeVerdict.WORSE, ChangeVerdict.BETTER, ChangeVerdict.SAME, ChangeVerdict.INCONCLUSIVE


def metric(name: str, change: ChangeVerdict, ratio: float, **more: Any) -> MetricChange:
    return MetricChange(
        metric=name,
        unit="ms",
        better=Better.SMALLER,
        base=100.0,
        candidate=100.0 * (1 + ratio),
        base_runs=3,
        candidate_runs=3,
        ratio=ratio,
        change=change,
        is_main=name != "p90_itl_ms",
        **more,
    )


def point(qps: int, *metrics: MetricChange, settings: dict[str, Any] | None = None, **more: Any) -> PointChange:
    run = Run(
        run_id=f"r{qps}",
        point_key=f"k{qps}",
        verdict=Verdict.VALID,
        status="ok",
        epoch_time=0.0,
        settings=settings or {},
    )
    label = f"serving llama synthetic qps={qps}"
    return PointChange(point_key=f"k{qps}", label=label, base=(run,), candidate=(run,), metrics=metrics, **more)


def six_points() -> Comparison:
    def at(qps: int) -> PointChange:
        return point(
            qps,
            metric("mean_tpot_ms", W if qps > 2 else U, 0.08 + qps / 1000, detectable=0.03),
            metric("mean_ttft_ms", S, 0.001, low=-0.011, high=0.013),
            metric("request_throughput", U, -0.01, detectable=0.041),
            metric("p90_itl_ms", W, 0.5),
            differences=("engine.args.max_num_seqs: 64 -> 128",),
            notes=("a note",) if qps == 1 else ("shared",),
        )

    return Comparison(points=tuple(map(at, (1, 2, 4, 8, 16, 32))))


def test_the_first_line_says_what_changed_where_and_by_how_much() -> None:
    lines = rendered("comparison", "matrix", six_points()).splitlines()
    headline = lines[0]
    assert headline.startswith(
        "WORSE: mean_tpot_ms +8.4 % to +11.2 % at 4 of 6 points; inconclusive: request_throughput"
    )
    assert "(could have detected 4.1 %); no difference above 1.3 %: mean_ttft_ms" in headline
    assert "p90_itl_ms" not in headline


def test_too_little_evidence_is_said_in_words() -> None:
    found = Comparison(points=(point(1, metric("mean_ttft_ms", U, 0.5, detectable=83.0)),))
    (headline, *_) = rendered("comparison", "matrix", found).splitlines()
    assert headline == "inconclusive: mean_ttft_ms (could not have detected a doubling)"


@pytest.mark.parametrize("form", ["matrix", "table", "markdown", "html"])
def test_definitions_of_two_engines_stand_below_the_headline(form: str) -> None:
    def at(qps: int) -> PointChange:
        definitions = (f"definition of a token: {60 + qps} prompt tokens", "alike in both: chunks")
        return point(qps, metric("mean_ttft_ms", S, 0.0), definitions=definitions if qps < 4 else definitions[1:])

    text = rendered("comparison", form, Comparison(points=tuple(map(at, (1, 2, 4)))))
    lines = [line for line in text.replace("\\", "").splitlines() if line]
    first = next(i for i, line in enumerate(lines) if "no difference" in line)
    assert "2 points (qps=1, qps=2): definition of a token: 61 to 62 prompt tokens" in lines[first + 1]
    assert "alike in both: chunks" in lines[first + 2]
    assert "point" not in lines[first + 2]  # it holds at all of them
    assert text.replace("\\", "").count("alike in both: chunks") == 1


def test_of_many_metrics_that_a_side_lacks_a_few_are_named() -> None:
    missing = tuple(f"server_{i}_ms" for i in range(9))
    text = rendered("comparison", "matrix", Comparison(points=(point(1, metric("a", S, 0.0), missing=missing),)))
    assert "server_3_ms, server_4_ms and 4 more" in text


def test_the_matrix_has_a_row_a_point_and_is_short() -> None:
    text = rendered("comparison", "matrix", six_points())
    lines = text.splitlines()
    assert len(lines) <= 25
    rows = {line.split()[0]: line.split() for line in lines if line.startswith("qps=") and ":" not in line}
    assert list(rows) == [f"qps={qps}" for qps in (1, 2, 4, 8, 16, 32)]
    assert rows["qps=4"][1:] == ["+8.4", "✗", "+0.1", "=", "-1.0", "?"]
    assert "change, %" in text
    assert "serving llama synthetic" in text
    assert text.count("engine.args.max_num_seqs: 64 -> 128") == 1
    assert "\n5 points (qps=2 to qps=32): shared" in text
    assert "\nqps=1: a note" in text


def test_every_metric_is_in_the_table() -> None:
    text = rendered("comparison", "table", six_points())
    assert text.startswith("WORSE: mean_tpot_ms")
    assert text.count("p90_itl_ms") == 6


def test_points_of_one_label_are_told_apart_by_their_settings() -> None:
    points = [point(1, metric("mean_ttft_ms", S, 0.0), settings={"engine.ttft_ms": ms, "qps": 1}) for ms in (5, 10)]
    text = rendered("comparison", "matrix", Comparison(points=tuple(points)))
    assert "\nttft_ms=5 " in text
    assert "\nttft_ms=10 " in text


def test_a_problem_is_the_headline() -> None:
    problem = Problem(outcome=GateOutcome.METRIC_MISSING, text="no TTFT", point="qps=1")
    broken = point(1, metric("mean_tpot_ms", W, 0.08), problems=(problem,))
    text = rendered("comparison", "matrix", Comparison(points=(broken,)))
    assert text.startswith("WORSE: mean_tpot_ms +8.0 % at 1 of 1 point; METRIC MISSING: qps=1: no TTFT\n")
    fine = replace(broken, metrics=(metric("mean_tpot_ms", S, 0.0),))
    text = rendered("comparison", "matrix", Comparison(points=(fine,)))
    assert text.startswith("METRIC MISSING: qps=1: no TTFT\n")
    gone = point(2, invalid="candidate", problems=(Problem(outcome=GateOutcome.INVALID, text="bad", point="qps=2"),))
    text = rendered("comparison", "matrix", Comparison(points=(fine, gone)))
    assert text.startswith("INVALID: qps=2: bad (and 1 more)\n")
    assert [line.split() for line in text.splitlines() if line.startswith("qps=2 ")] == [["qps=2", "INVALID"]]


def test_a_problem_of_points_of_one_label_names_all_of_them() -> None:
    def at(ttft_ms: int) -> PointChange:
        problem = Problem(outcome=GateOutcome.METRIC_MISSING, text=f"no TTFT in {ttft_ms} runs", point="serving qps=1")
        settings = {"engine.ttft_ms": ttft_ms}
        return replace(point(1, metric("mean_tpot_ms", S, 0.0), settings=settings), problems=(problem,))

    fine = point(1, metric("mean_tpot_ms", S, 0.0), settings={"engine.ttft_ms": 7})
    text = rendered("comparison", "matrix", Comparison(points=(at(5), fine, at(10))))
    where = "2 points (ttft_ms=5, ttft_ms=10)"
    assert text.startswith(f"METRIC MISSING at {where}: no TTFT in 5 to 10 runs\n")


def test_an_interval_that_excludes_nothing_has_no_endless_figure() -> None:
    assert interval(-0.02, 0.31) == "-2.0 % to +31.0 %"
    assert interval(-1.0, 1e304) == "-100.0 % to over +1000.0 %"


def test_without_main_metrics_all_are_shown_and_nothing_is_said() -> None:
    only = point(1, metric("p90_itl_ms", B, -0.2))
    assert rendered("comparison", "matrix", Comparison(points=(only,))).startswith(
        "BETTER: p90_itl_ms -20.0 % at 1 of 1"
    )
    assert rendered("comparison", "matrix", Comparison(points=())) == "No point is in both.\n"


def test_no_line_is_folded_in_a_pipe_however_many_metrics_there_are() -> None:
    names = [f"p99_{name}_ms" for name in ("a" * 30, "b" * 30, "c" * 30, "d" * 30, "e" * 30, "f" * 30)]
    points = tuple(point(qps, *(metric(name, S, 0.0) for name in names)) for qps in (1, 2))
    rows = [line for line in rendered("comparison", "matrix", Comparison(points=points)).splitlines() if "qps=" in line]
    assert [len(row.split()) for row in rows] == [13, 13]
    assert len(rows[0]) > 180


def test_one_cause_of_many_points_is_one_line_with_its_range() -> None:
    def broken(qps: int, percent: int) -> PointChange:
        text = f"the candidate has no usable run: got the CPU only {percent} % of the time (limit 80 %)"
        problem = Problem(outcome=GateOutcome.INVALID, text=text, point=f"serving llama synthetic qps={qps}")
        return point(qps, invalid="candidate", problems=(problem,))

    fine = [point(qps, metric("mean_tpot_ms", S, 0.0)) for qps in (1, 2)]
    text = rendered("comparison", "matrix", Comparison(points=(*fine, broken(4, 57), broken(8, 72), broken(16, 60))))
    cause = "the candidate has no usable run: got the CPU only 57 to 72 % of the time (limit 80 %)"
    assert text.startswith(f"INVALID at 3 points (qps=4 to qps=16): {cause}\n")
    assert text.count("got the CPU only") == 1


def test_many_different_remarks_are_cut_and_counted() -> None:
    points = tuple(point(at, metric("mean_tpot_ms", S, 0.0), notes=(f"note {'x' * at}",)) for at in range(1, 13))
    lines = rendered("comparison", "matrix", Comparison(points=points)).splitlines()
    assert len(lines) <= 25
    assert lines[-1] == "7 more remarks: compare --all shows them"


def test_metrics_equal_by_construction_are_shown_once() -> None:
    def at(qps: int, same_as: str = "request_throughput") -> PointChange:
        rates = metric("request_throughput", W, -0.08), metric("output_throughput", W, -0.08, same_as=same_as)
        return point(qps, *rates, metric("mean_ttft_ms", S, 0.0))

    text = rendered("comparison", "matrix", Comparison(points=(at(1), at(2))))
    assert text.startswith("WORSE: request_throughput -8.0 % at 2 of 2 points; no difference: mean_ttft_ms\n")
    assert [len(line.split()) for line in text.splitlines() if line.startswith("qps=")] == [5, 5]
    assert "request_throughput stands for output_throughput: equal by construction in these runs" in text
    text = rendered("comparison", "matrix", Comparison(points=(at(1), at(2, same_as=""))))
    assert text.startswith("WORSE: request_throughput -8.0 %, output_throughput -8.0 % at 2 of 2 points; ")


@pytest.mark.parametrize("format", ["table", "markdown", "html"])
def test_tables_show_equal_metrics_once_too(format: str) -> None:
    rates = metric("request_throughput", W, -0.08), metric("output_throughput", W, -0.08, same_as="request_throughput")
    text = rendered("comparison", format, Comparison(points=(point(1, *rates),)))
    assert text.count("output_throughput") == 1
    assert "request_throughput stands for output_throughput: equal by construction in these runs" in text


def test_probable_changes_have_a_mark_and_say_what_settles_them() -> None:
    P = ChangeVerdict.PROBABLY_WORSE
    text = rendered("comparison", "matrix", Comparison(points=(point(1, metric("a_ms", P, 0.06, repeats_needed=12)),)))
    assert text.startswith("probably worse: a_ms +6.0 % (repeats=12 or ab would settle it) at 1 of 1 point\n")
    assert "+6.0 (✗)" in text


class Terminal(StringIO):
    """A terminal of some width, whose colours are off."""

    def isatty(self) -> bool:
        return True


def test_on_a_narrow_terminal_the_matrix_has_parts_and_no_cell_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "34")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    render("comparison", "matrix", six_points(), stream)
    plain = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue())
    rows = [line.split() for line in plain.splitlines() if line.startswith("qps=8 ")]
    assert rows == [["qps=8", "+8.8", "✗", "+0.1", "="], ["qps=8", "-1.0", "?"]]


def test_verdicts_have_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    render("comparison", "matrix", six_points(), stream)
    row = next(line for line in stream.getvalue().splitlines() if line.startswith("qps=8 "))
    assert re.search("\x1b\\[1;31m *\\+8.8 ✗", row)
    assert re.search("\x1b\\[33m *-1.0 \\?", row)
