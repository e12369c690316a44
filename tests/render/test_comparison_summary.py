"""A comparison in a few lines: the headline and the matrix of points by main metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchhydra.analysis.comparison import (
    ChangeVerdict,
    Comparison,
    GateOutcome,
    MetricChange,
    PointChange,
    Problem,
)
from benchhydra.analysis.runs import Run
from benchhydra.render import rendered
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
            metric("mean_ttft_ms", S, 0.001),
            metric("request_throughput", U, -0.01, detectable=0.041),
            metric("p90_itl_ms", W, 0.5),
            differences=("engine.args.max_num_seqs: 64 -> 128",),
            notes=("a note",) if qps == 1 else ("shared",),
        )

    return Comparison(points=tuple(map(at, (1, 2, 4, 8, 16, 32))))


def test_the_first_line_says_what_changed_where_and_by_how_much() -> None:
    lines = rendered("comparison", "matrix", six_points()).splitlines()
    headline = " ".join(line.strip() for line in lines[:2])
    assert headline.startswith(
        "WORSE: mean_tpot_ms +8.4 % to +11.2 % at 4 of 6 points; inconclusive: request_throughput"
    )
    assert "(could detect 4.1 %); no difference: mean_ttft_ms" in headline
    assert "p90_itl_ms" not in headline


def test_the_matrix_has_a_row_a_point_and_is_short() -> None:
    text = rendered("comparison", "matrix", six_points())
    lines = text.splitlines()
    assert len(lines) <= 25
    rows = {line.split()[0]: line.split() for line in lines if line.startswith("qps=")}
    assert list(rows) == [f"qps={qps}" for qps in (1, 2, 4, 8, 16, 32)]
    assert rows["qps=4"][1:] == ["+8.4", "%", "✗", "+0.1", "%", "=", "-1.0", "%", "?"]
    assert "serving llama synthetic" in text
    assert text.count("engine.args.max_num_seqs: 64 -> 128") == 1
    assert "5 points: shared" in text
    assert "serving llama synthetic qps=1: a note" in text


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
    assert "qps=2" in text and "INVALID" in text.splitlines()[3]


def test_without_main_metrics_all_are_shown_and_nothing_is_said() -> None:
    only = point(1, metric("p90_itl_ms", B, -0.2))
    assert rendered("comparison", "matrix", Comparison(points=(only,))).startswith(
        "BETTER: p90_itl_ms -20.0 % at 1 of 1"
    )
    assert rendered("comparison", "matrix", Comparison(points=())) == "No point is in both.\n"
