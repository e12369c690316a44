"""Why a latency changed: the sum of the parts, and the causes, on given figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchhydra.analysis.attribution import Explanation, explain
from benchhydra.analysis.attribution_causes import CAUSES
from benchhydra.analysis.attribution_evidence import OBSERVED
from benchhydra.analysis.comparison import (
    Basis,
    ChangeVerdict,
    Comparison,
    GateOutcome,
    MetricChange,
    PointChange,
    Problem,
)
from benchhydra.analysis.gate import Decision
from benchhydra.analysis.runs import Run
from benchhydra.render import rendered
from benchhydra.render.attribution_json import explanation_objects
from benchhydra.render.attribution_lines import MOST_LINES, point_why_lines, why_lines
from benchhydra.result import Better, Verdict

#: Milliseconds of a request in each place, and what else is observed, on a quiet server.
QUIET = {
    "queue": 2.0,
    "prefill": 40.0,
    "decode": 500.0,
    "frontend": 1.0,
    "outside": 2.0,
    "server_running": 6.0,
    "server_waiting": 0.0,
    "server_max_kv_cache_usage": 0.71,
    "server_preemptions_per_minute": 0.0,
    "server_prefix_hit_fraction": 0.0,
    "mean_input_tokens": 512.0,
    "mean_output_tokens": 100.0,
    "achieved_rps": 8.0,
    "mean_itl_ms": 5.0,
    "median_itl_ms": 4.9,
    "client_wait_fraction": 0.01,
    "other_cpu_fraction": 0.02,
    "server_cpu_wait_fraction": 0.01,
    "server_answer_ms": 1.0,
}
#: Each planted cause with the figures that it changes.
PLANTED = {
    "limited_at_once": {"queue": 80.0, "server_waiting": 4.0, "server_running": 2.0, "server_max_kv_cache_usage": 0.3},
    "kv_cache_full": {
        "queue": 33.0,
        "prefill": 46.0,
        "decode": 520.0,
        "server_waiting": 9.0,
        "server_running": 5.0,
        "server_max_kv_cache_usage": 0.99,
        "server_preemptions_per_minute": 14.0,
    },
    "server_lacks_cpu": {
        "queue": 8.0,
        "prefill": 80.0,
        "decode": 1000.0,
        "frontend": 4.0,
        "server_cpu_wait_fraction": 0.5,
        "other_cpu_fraction": 0.4,
        "server_running": 11.0,
        "mean_itl_ms": 10.0,
        "median_itl_ms": 8.0,
    },
    "network_slow": {"outside": 42.0, "server_answer_ms": 41.0},
    "prefills_stall_decoding": {"queue": 5.0, "decode": 900.0, "mean_itl_ms": 9.0, "median_itl_ms": 5.0},
    "speculation_off": {"decode": 1200.0, "mean_itl_ms": 12.0, "median_itl_ms": 11.9},
    "longer_prompts": {
        "queue": 12.0,
        "prefill": 85.0,
        "decode": 560.0,
        "mean_input_tokens": 1024.0,
        "server_max_kv_cache_usage": 0.94,
        "server_running": 8.0,
        "server_waiting": 0.5,
    },
    "client_slow": {"outside": 30.0, "client_wait_fraction": 0.5, "server_answer_ms": 1.2},
    "acceptance_fell": {"decode": 700.0, "server_accepted_length": 1.8},
    "prefix_hits_fell": {"prefill": 60.0},
    "gpu_throttled": {"prefill": 60.0, "decode": 800.0, "gpu_throttled_fraction": 0.6, "mean_gpu_sm_clock_mhz": 1200.0},
    "gpu_clocks_fell": {"prefill": 52.0, "decode": 650.0, "mean_gpu_sm_clock_mhz": 1500.0},
    "higher_rate": {"queue": 20.0, "decode": 560.0, "achieved_rps": 10.0, "server_running": 8.0},
    "longer_answers": {"decode": 1000.0, "mean_output_tokens": 200.0, "server_running": 10.0},
    "larger_batches": {"decode": 700.0, "server_running": 10.0},
}
#: What the fast side has beside QUIET, where a cause is something that it lacks.
BEFORE = {
    "speculation_off": {"server_accepted_length": 3.0, "server_acceptance_fraction": 0.7},
    "acceptance_fell": {"server_accepted_length": 3.0},
    "prefix_hits_fell": {"prefill": 20.0, "server_prefix_hit_fraction": 0.5},
    "gpu_throttled": {"mean_gpu_sm_clock_mhz": 1900.0, "gpu_throttled_fraction": 0.0},
    "gpu_clocks_fell": {"mean_gpu_sm_clock_mhz": 1900.0},
}


def metrics(figures: dict[str, float], unaccounted_ms: float = 0.0) -> dict[str, float]:
    """The metrics of a run in which a request spends this time in each place."""
    queue, prefill, decode, frontend, outside = (
        figures[name] for name in ("queue", "prefill", "decode", "frontend", "outside")
    )
    server_ttft = queue + prefill + frontend
    return {
        **figures,
        "server_queue_ms": queue,
        "server_prefill_ms": prefill,
        "server_decode_ms": decode,
        "server_ttft_ms": server_ttft,
        "server_e2el_ms": server_ttft + decode,
        "outside_server_ttft_ms": outside,
        "outside_server_e2el_ms": outside,
        "mean_ttft_ms": server_ttft + outside + unaccounted_ms,
        "mean_e2el_ms": server_ttft + decode + outside + unaccounted_ms,
    }


def run(figures: dict[str, float], number: int = 0) -> Run:
    return Run(
        run_id=f"r{number}",
        point_key="k",
        verdict=Verdict.VALID,
        status="ok",
        epoch_time=1.0,
        script="serving",
        metrics=figures,
    )


def point(
    base: list[dict[str, float]],
    candidate: list[dict[str, float]],
    *,
    change: ChangeVerdict = ChangeVerdict.WORSE,
    names: tuple[str, ...] = ("mean_ttft_ms", "mean_e2el_ms"),
    label: str = "serving qps=8",
) -> PointChange:
    """A point whose latencies have this verdict, with these runs."""
    changes = [
        MetricChange(
            metric=name,
            unit="ms",
            better=Better.SMALLER,
            base=base[0][name],
            candidate=candidate[0][name],
            base_runs=len(base),
            candidate_runs=len(candidate),
            ratio=candidate[0][name] / base[0][name] - 1,
            change=change,
        )
        for name in names
    ]
    return PointChange(
        point_key="k",
        label=label,
        base=tuple(map(run, base)),
        candidate=tuple(map(run, candidate)),
        metrics=tuple(changes),
    )


def planted(cause: str, **more: object) -> PointChange:
    """A point with one cause, one run a side."""
    base = QUIET | BEFORE.get(cause, {})
    return point([metrics(base)], [metrics(QUIET | PLANTED[cause])], **more)  # type: ignore[arg-type]


def first_causes(point: PointChange) -> list[str]:
    return [explanation.causes[0].cause.name if explanation.causes else "" for explanation in explain(point)]


@pytest.mark.parametrize("cause", PLANTED)
def test_the_planted_cause_is_named_first(cause: str) -> None:
    explanation = explain(planted(cause))[-1]
    assert explanation.causes[0].cause.name == cause, explanation.causes
    assert explanation.causes[0].fraction > 0.3


@pytest.mark.parametrize("cause", PLANTED)
def test_a_cause_that_is_gone_is_named_too(cause: str) -> None:
    forth = planted(cause)
    back = point(
        [forth.candidate[0].metrics], [forth.base[0].metrics], change=ChangeVerdict.BETTER, names=("mean_e2el_ms",)
    )
    (explanation,) = explain(back)
    assert explanation.change_ms < 0
    assert explanation.causes[0].cause.name == cause
    assert explanation.causes[0].text == explanation.causes[0].cause.better


def test_the_change_is_the_sum_of_the_parts() -> None:
    ttft, e2el = explain(planted("kv_cache_full"))
    assert {part.name: part.change_ms for part in ttft.parts} == {
        "queue": 31.0,
        "prefill": 6.0,
        "frontend": 0.0,
        "outside": 0.0,
    }
    assert ttft.change_ms == sum(part.change_ms for part in ttft.parts) == 37.0
    assert {part.name: part.change_ms for part in e2el.parts}["decode"] == 20.0
    assert ttft.adds_up and e2el.adds_up


def test_the_lines_say_where_the_time_went_and_what_moved() -> None:
    assert point_why_lines(planted("kv_cache_full", names=("mean_ttft_ms",))) == [
        "Why: the KV cache is full (+37 of +37 ms TTFT)",
        "TTFT +37 ms: queue +31, prefill +6, outside +0; "
        "KV cache 71 % -> 99 %, preemptions 0 -> 14 a minute, waiting 0 -> 9, running 6 -> 5",
    ]


def test_parts_that_do_not_add_up_are_said() -> None:
    base, candidate = metrics(QUIET), metrics(QUIET | PLANTED["kv_cache_full"], unaccounted_ms=4.0)
    (explanation,) = explain(point([base], [candidate], names=("mean_ttft_ms",)))
    assert explanation.unaccounted_ms == pytest.approx(4.0)
    assert not explanation.adds_up
    assert (
        "the parts do not add up: +37 of +41" in point_why_lines(point([base], [candidate], names=("mean_ttft_ms",)))[1]
    )
    nearly = metrics(QUIET | PLANTED["kv_cache_full"], unaccounted_ms=1.5)
    assert explain(point([base], [nearly], names=("mean_ttft_ms",)))[0].adds_up


def noisy(figures: dict[str, float], seed: int, runs: int = 5) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [
        metrics({name: value * float(np.exp(rng.normal(0, 0.03))) for name, value in figures.items()})
        for _ in range(runs)
    ]


def test_repeats_give_intervals() -> None:
    covered = 0
    for seed in range(40):
        base, candidate = noisy(QUIET, 2 * seed), noisy(QUIET | {"decode": 600.0}, 2 * seed + 1)
        (explanation,) = explain(point(base, candidate, names=("mean_e2el_ms",)))
        decode = next(part for part in explanation.parts if part.name == "decode")
        assert decode.low_ms is not None and decode.high_ms is not None
        covered += decode.low_ms <= 100.0 <= decode.high_ms
    assert covered >= 34  # 95 % of 40 are 38; below 34 has a chance of 0.3 %
    assert "decode +" in point_why_lines(point(base, candidate))[-1]
    assert " ± " in point_why_lines(point(base, candidate))[-1]


def test_a_single_run_has_no_interval() -> None:
    (explanation, _) = explain(planted("kv_cache_full"))
    assert explanation.low_ms is explanation.parts[0].high_ms is None
    assert "±" not in " ".join(point_why_lines(planted("kv_cache_full")))


def test_waits_are_judged_by_how_much_longer_the_work_takes() -> None:
    """A server that had 15 % of the time that it wants and now has 5 % takes three times as long."""
    figures = {"decode": 500.0, "server_cpu_wait_fraction": 0.85}, {"decode": 1500.0, "server_cpu_wait_fraction": 0.95}
    base, candidate = (metrics(QUIET | side) for side in figures)
    (explanation,) = explain(point([base], [candidate | {"server_running": 16.0}], names=("mean_e2el_ms",)))
    assert explanation.causes[0].cause.name == "server_lacks_cpu"
    assert explanation.causes[0].fraction > 0.9


def test_a_figure_that_varies_between_runs_is_no_evidence() -> None:
    waits = [0.0, 0.6, 0.05, 0.5], [0.55, 0.0, 0.6, 0.3]
    base, candidate = (
        [metrics(QUIET | {"decode": decode, "server_cpu_wait_fraction": wait}) for wait in side]
        for decode, side in zip((500.0, 600.0), waits, strict=True)
    )
    (explanation,) = explain(point(base, candidate, names=("mean_e2el_ms",)))
    assert explanation.causes == ()
    assert "server_cpu_wait_fraction" not in [move.metric for move in explanation.moved]


def test_without_evidence_no_cause_is_claimed() -> None:
    slower = point([metrics(QUIET)], [metrics(QUIET | {"decode": 600.0})], names=("mean_e2el_ms",))
    assert first_causes(slower) == [""]
    assert point_why_lines(slower) == [
        "Why: +100 ms E2E latency: nothing that was observed accounts for it; its largest part: decode +100",
        "E2E latency +100 ms: queue +0, prefill +0, decode +100, outside +0",
    ]


def test_only_real_changes_are_explained() -> None:
    for verdict in (ChangeVerdict.SAME, ChangeVerdict.INCONCLUSIVE):
        assert explain(planted("kv_cache_full", change=verdict)) == ()
        assert point_why_lines(planted("kv_cache_full", change=verdict)) == []
    assert explanation_objects(planted("kv_cache_full", change=ChangeVerdict.SAME)) == []


def test_different_work_is_explained_though_it_is_not_judged() -> None:
    unjudged = planted("longer_prompts", change=ChangeVerdict.INCONCLUSIVE)
    problem = Problem(outcome=GateOutcome.DIFFERENT_WORK, text="mean_input_tokens differs")
    sure = tuple(replace(metric, p_worse=1e-5, p_better=1.0) for metric in unjudged.metrics)
    assert first_causes(replace(unjudged, metrics=sure, problems=(problem,))) == ["longer_prompts"] * 2
    unsure = tuple(replace(metric, p_worse=0.01, p_better=0.99) for metric in unjudged.metrics)
    assert explain(replace(unjudged, metrics=unsure, problems=(problem,))) == ()
    impossible = Problem(outcome=GateOutcome.IMPOSSIBLE, text="TTFT is 0")
    assert explain(replace(unjudged, metrics=sure, problems=(problem, impossible))) == ()


def test_a_server_without_times_leaves_the_clients_parts() -> None:
    sides = [
        {name: value for name, value in metrics(figures).items() if not name.startswith(("server_", "outside_"))}
        for figures in (QUIET, QUIET | PLANTED["longer_prompts"])
    ]
    lines = point_why_lines(point([sides[0]], [sides[1]]))
    assert lines[0].startswith("Why: the prompts are longer")
    assert "TTFT +55 ms: the server does not say in which part" in lines[1]
    assert "E2E latency +115 ms: first token +55, other tokens +60" in lines[2]


def test_a_side_without_server_times_gives_no_false_parts() -> None:
    """None of the parts is the whole time of the other side."""
    base = metrics(QUIET)
    candidate = {name: value for name, value in metrics(QUIET | {"decode": 700.0}).items() if "server" not in name}
    (explanation,) = explain(point([base], [candidate], names=("mean_e2el_ms",)))
    assert {part.name: part.change_ms for part in explanation.parts} == {"first token": 0.0, "other tokens": 200.0}


def test_an_excluded_outlier_run_takes_no_part() -> None:
    whole = point([metrics(QUIET)] * 3, [metrics(QUIET | {"decode": 600.0})] * 3, names=("mean_e2el_ms",))
    outlier = run(metrics(QUIET | {"decode": 9000.0}))
    spoiled = replace(whole, candidate=(*whole.candidate, outlier), used_runs=(whole.base, whole.candidate))
    assert explain(spoiled)[0].change_ms == pytest.approx(100.0)


def test_of_a_history_the_newest_level_is_explained() -> None:
    """Older runs, from before a step, are no base: the metric was not judged against them."""
    newest = point([metrics(QUIET)] * 3, [metrics(QUIET | {"decode": 600.0})] * 3, names=("mean_e2el_ms",))
    older = tuple(run(metrics(QUIET | {"decode": 9000.0})) for _ in range(4))
    changes = tuple(replace(change, basis=Basis.HISTORY, base_runs=3) for change in newest.metrics)
    whole = replace(newest, metrics=changes, used_runs=((*older, *newest.base), newest.candidate))
    assert explain(whole)[0].change_ms == pytest.approx(100.0)


def test_a_comparison_is_explained_in_six_lines_at_most() -> None:
    points = [planted("kv_cache_full", label=f"serving qps={qps}") for qps in (2, 4, 8)] + [
        planted(cause, label=cause) for cause in ("limited_at_once", "network_slow", "client_slow")
    ]
    lines = why_lines(Comparison(points=tuple(points)))
    assert len(lines) <= MOST_LINES
    assert lines[0].startswith("Why, at ")
    assert lines[-1].startswith("Other causes at ")


def test_a_cause_that_points_share_is_said_once() -> None:
    points = tuple(planted("kv_cache_full", label=f"serving qps={qps}") for qps in (2, 4, 8))
    lines = why_lines(Comparison(points=points))
    assert lines[0].startswith("Why, at 3 of 3 points: the KV cache is full")
    assert lines[1].startswith("qps=2: TTFT +37 ms")
    assert len(lines) == 3


def test_json_has_what_the_lines_say() -> None:
    ttft, _ = explanation_objects(planted("kv_cache_full"))
    assert ttft["metric"] == "mean_ttft_ms"
    assert ttft["parts"][0] == {"name": "queue", "change_ms": 31.0}
    assert ttft["causes"][0]["name"] == "kv_cache_full"
    assert {"name": "waiting", "metric": "requests_waiting", "unit": "requests", "base": 0.0, "candidate": 9.0} in ttft[
        "moved"
    ]
    assert ttft["lines"][0].startswith("Why: the KV cache is full")


def test_what_a_cause_accounts_for_is_at_most_the_change() -> None:
    for cause in PLANTED:
        explanations: tuple[Explanation, ...] = explain(planted(cause))
        for explanation in explanations:
            for likely in explanation.causes:
                assert 0.1 <= likely.fraction <= 1


def test_every_cause_is_tried_here_and_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "explaining.md").read_text("utf-8")
    assert {cause.name for cause in CAUSES} == PLANTED.keys()
    assert [cause.name for cause in CAUSES if f"`{cause.name}`" not in page] == []


def test_the_evidence_of_every_cause_is_observed() -> None:
    observed = {figure.metric for figure in OBSERVED}
    assert {metric for cause in CAUSES for metric in cause.metrics} <= observed


def test_an_unknown_time_outside_the_server_is_what_does_not_add_up() -> None:
    """The server and the client counted different requests: only the server's own parts are known."""
    sides = [
        {name: value for name, value in metrics(figures).items() if not name.startswith("outside_")}
        for figures in (QUIET, QUIET | {"prefill": 60.0, "outside": 12.0})
    ]
    (explanation,) = explain(point([sides[0]], [sides[1]], names=("mean_ttft_ms",)))
    assert {part.name: part.change_ms for part in explanation.parts} == {"queue": 0, "prefill": 20, "frontend": 0}
    assert explanation.unaccounted_ms == 10
    assert not explanation.adds_up


def test_waiting_and_running_follow_from_rate_and_times_where_these_are_known() -> None:
    """Samples of /metrics may all have missed the running requests."""
    missed = {"server_running": 0.0, "server_waiting": 0.0}
    base, candidate = (
        metrics(QUIET | missed | {"request_throughput": 8.0, "queue": queue, "decode": 460.0}) for queue in (0.0, 500.0)
    )
    (explanation,) = explain(point([base], [candidate], names=("mean_e2el_ms",)))
    assert explanation.causes[0].cause.name == "limited_at_once"
    (waiting,) = (move for move in explanation.moved if move.metric == "requests_waiting")
    assert (waiting.base, waiting.candidate) == (0.0, 4.0)


def test_comparison_and_gate_say_why_in_every_format() -> None:
    comparison = Comparison(points=(planted("kv_cache_full"),))
    decision = Decision(outcome=GateOutcome.REGRESSION, comparison=comparison)
    why, ttft, _ = why_lines(comparison)
    assert {why, ttft} <= {*rendered("comparison", "matrix", comparison).splitlines()}
    for kind, document in (("comparison", comparison), ("gate", decision)):
        assert "the KV cache is full" in rendered(kind, "markdown", document)
        (of_point,) = json.loads(rendered(kind, "json", document))["points"]
        assert [each["metric"] for each in of_point["explanation"]] == ["mean_ttft_ms", "mean_e2el_ms"]


def test_a_server_that_waits_for_a_core_does_not_explain_time_outside_of_it() -> None:
    waits = {"client_wait_fraction": 0.4, "server_cpu_wait_fraction": 0.5}
    slower = point([metrics(QUIET)], [metrics(QUIET | waits | {"outside": 100.0, "prefill": 43.0})])
    assert first_causes(slower) == ["client_slow", "client_slow"]


def test_the_cause_of_the_largest_change_comes_first() -> None:
    both = QUIET | PLANTED["speculation_off"] | {"outside": 12.0, "server_answer_ms": 11.0}
    (why, *_) = point_why_lines(point([metrics(QUIET | BEFORE["speculation_off"])], [metrics(both)]))
    assert why.startswith("Why: speculative decoding is off (+700 of +710 ms E2E latency); the way between")
