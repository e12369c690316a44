"""search=optimize without servers: proposals, early stops, infeasible trials, ranking, front and answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.search.outcomes import measured, planned

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.points import Outcome
from benchhydra.result import Better
from benchhydra.search import Answer, ProbeFinding
from benchhydra.search.cut import Cut
from benchhydra.search.optimization import Optimization, trial_of
from benchhydra.search.optimize import Optimize
from benchhydra.search.proposals import Proposer, Space, is_ordered
from benchhydra.search.repeats import Repeats
from benchhydra.search.trials import CAPACITY, Estimate, Objective, Trial

registry.discover()
SPACE = Space(values={"seqs": [32, 64, 128, 256], "tokens": [2048, 8192], "gpus": ["tp2", "tp4"]})
THROUGHPUT = Objective(name="output_throughput", unit="tokens/s", better=Better.BIGGER)
TTFT = Objective(name="mean_ttft_ms", unit="ms", better=Better.SMALLER)
CAPACITY_OBJECTIVE = Objective(name=CAPACITY, unit="requests/s", better=Better.BIGGER)
REPEATS = Repeats(ci="output_throughput:1%", max_repeats=3)


def value_of(settings: dict[str, Any]) -> float:
    """A response surface: the best is seqs=128 tokens=8192 gpus=tp4."""
    seqs = {32: 1.0, 64: 1.3, 128: 1.6, 256: 1.4}[settings["seqs"]]
    return 100 * seqs * (1.2 if settings["tokens"] == 8192 else 1.0) * (1.5 if settings["gpus"] == "tp4" else 1.0)


def trial(number: int, settings: dict[str, Any], *values: float, status: str = "ok", violation: float = 0.0) -> Trial:
    estimates = (Estimate(value=math.exp(sum(map(math.log, values)) / len(values))),) if values else ()
    return Trial(
        number=number,
        settings=settings,
        status=status,
        estimates=estimates,
        values=(values,) if values else (),
        violation=violation,
    )


def outcomes_of(*values: float, metric: str = "output_throughput") -> list[Outcome]:
    return [measured(planned("x", f"repeat={i}", repeat=i), **{metric: value}) for i, value in enumerate(values)]


@pytest.mark.parametrize("objectives", [[THROUGHPUT], [THROUGHPUT, TTFT]])
def test_every_configuration_is_proposed_once_and_the_order_depends_on_the_seed_alone(
    objectives: list[Objective],
) -> None:
    def proposals(seed: int) -> list[dict[str, Any]]:
        proposer, asked = Proposer(space=SPACE, objectives=objectives, seed=seed), list[dict[str, Any]]()
        while (settings := proposer.ask()) is not None:
            asked.append(settings)
            estimates = tuple(Estimate(value=value_of(settings)) for _ in objectives)
            proposer.tell(Trial(number=len(asked), settings=settings, status="ok", estimates=estimates))
        return asked

    first = proposals(1)
    assert len({tuple(settings.items()) for settings in first}) == len(first) == SPACE.size == 16
    assert proposals(1) == first
    assert proposals(2) != first


def test_trials_at_the_same_time_get_different_configurations() -> None:
    proposer = Proposer(space=SPACE, objectives=[THROUGHPUT])
    asked = [proposer.ask() for _ in range(16)]
    assert proposer.ask() is None
    assert len({str(settings) for settings in asked}) == 16


def test_the_keys_that_matter_are_named() -> None:
    proposer = Proposer(space=SPACE, objectives=[THROUGHPUT])
    while (settings := proposer.ask()) is not None:
        value = 100.0 * settings["seqs"]
        proposer.tell(Trial(number=0, settings=settings, status="ok", estimates=(Estimate(value=value),)))
    importance = proposer.importance()
    assert max(importance, key=lambda key: importance[key]) == "seqs"
    assert sum(importance.values()) == pytest.approx(1)


def test_infeasible_trials_are_told_and_never_the_best() -> None:
    optimization = Optimization(objectives=[THROUGHPUT], space=SPACE)
    for number in range(16):
        settings = optimization.ask()
        assert settings is not None
        value = [value_of(settings)] if settings["gpus"] == "tp2" else []
        optimization.add(trial(number, settings, *value, status="ok" if value else "infeasible"))
    best = optimization.best()
    assert best is not None
    assert dict(best.settings) == {"seqs": 128, "tokens": 8192, "gpus": "tp2"}
    assert [ranked.status for ranked in optimization.ranked()] == ["ok"] * 8 + ["infeasible"] * 8


@pytest.mark.parametrize(
    ("values", "ordered"),
    [([1, 2, 8], True), ([2, 1], False), ([True, False], False), (["a"], False), ([1, "a"], False)],
)
def test_numbers_in_ascending_order_are_near_to_each_other(values: list[Any], ordered: bool) -> None:
    assert is_ordered(values) is ordered


def test_half_of_the_space_is_enough_to_find_the_best() -> None:
    """``benchmarks/optimize_trials.py`` does this with six flags and noise."""
    optimization = Optimization(objectives=[THROUGHPUT], space=SPACE, seed=4)
    for number in range(11):
        settings = optimization.ask()
        assert settings is not None
        optimization.add(trial(number, settings, value_of(settings), value_of(settings) * 1.01))
    best = optimization.best()
    assert best is not None
    assert value_of(dict(best.settings)) >= 0.95 * 288


# Early stops


def with_default(*values: float) -> Optimization:
    optimization = Optimization(objectives=[THROUGHPUT], space=SPACE)
    optimization.add(trial(0, {}, *values))
    return optimization


def test_nothing_stops_the_first_trial() -> None:
    assert Optimization(objectives=[THROUGHPUT], space=SPACE).cut() is None


def test_a_trial_stops_once_it_cannot_beat_the_best_within_its_interval() -> None:
    cut = with_default(100.0, 101.0, 99.0).cut()
    assert cut is not None
    assert "output_throughput is at most" in cut.reason(REPEATS, outcomes_of(90.0))
    assert cut.reason(REPEATS, outcomes_of(99.0)) == ""
    assert cut.reason(REPEATS, outcomes_of(150.0)) == ""


def test_without_known_noise_measurements_decide_nothing() -> None:
    assert with_default(100.0).cut() is None


def test_for_smaller_is_better_the_other_end_counts() -> None:
    optimization = Optimization(objectives=[TTFT], space=SPACE)
    optimization.add(trial(0, {}, 50.0, 50.5, 49.5))
    cut = optimization.cut()
    assert cut is not None
    assert "mean_ttft_ms is at least" in cut.reason(REPEATS, outcomes_of(80.0, metric="mean_ttft_ms"))
    assert cut.reason(REPEATS, outcomes_of(40.0, metric="mean_ttft_ms")) == ""


class Answering:
    """A search that knows a bound so far."""

    def __init__(self, high: float | None, bound: str = "") -> None:
        self.high, self.bound = high, bound

    def answer(self, outcomes: object) -> Answer | None:
        return Answer(value=9.0, low=8.0, high=self.high, unit="requests/s", bound=self.bound)


@pytest.mark.parametrize(
    ("search", "stops"),
    [
        (Answering(10.0), True),
        (Answering(12.0), True),
        (Answering(12.5), False),
        (Answering(None), False),
        (Answering(10.0, "at least"), False),
    ],
)
def test_a_search_for_the_capacity_stops_when_its_upper_bound_is_below_the_best(search: Answering, stops: bool) -> None:
    cut = Cut(names=(CAPACITY,), signs=(1,), rivals=((12.0,),))
    assert bool(cut.reason(search, [])) is stops
    assert Cut.from_json(cut.to_json()) == cut


# Trials


def test_a_server_that_runs_out_of_memory_is_an_infeasible_trial() -> None:
    failed = Outcome.of_point(planned("x"), status="failed", error="the server exited with code 1\nmore")
    failed = Outcome.from_json({**failed.to_json(), "log_tail": "torch.OutOfMemoryError: CUDA out of memory"})
    result = trial_of(3, {"seqs": 256}, [THROUGHPUT], [failed], None)
    assert (result.status, result.reason) == ("infeasible", "out of memory: the server exited with code 1")
    assert Trial.from_json(result.to_json()) == result


def test_a_missed_limit_of_slo_makes_a_trial_infeasible() -> None:
    outcomes = [measured(planned("x"), output_throughput=500.0, slo_ratio_p99_ttft_ms=1.25)]
    result = trial_of(1, {}, [THROUGHPUT], outcomes, None)
    assert (result.status, result.reason) == ("infeasible", "slo.p99_ttft_ms is missed: 1.25 times what is allowed")
    assert result.violation == pytest.approx(math.log(1.25))
    met = [measured(planned("x"), output_throughput=500.0, slo_ratio_p99_ttft_ms=0.9)]
    assert trial_of(1, {}, [THROUGHPUT], met, None).status == "ok"


def test_the_second_objective_is_taken_at_the_capacity() -> None:
    points = [planned(f"qps={rate}") for rate in (8, 10, 12)]
    outcomes = [measured(point, mean_ttft_ms=ttft) for point, ttft in zip(points, (20.0, 30.0, 90.0), strict=True)]
    evidence = tuple(
        ProbeFinding(key_value=rate, decision=decision, point_key=f"qps={rate}")
        for rate, decision in ((8, "met"), (10, "met"), (12, "missed"))
    )
    answer = Answer(value=10.5, low=10.0, high=11.0, unit="requests/s", evidence=evidence)
    result = trial_of(1, {}, [CAPACITY_OBJECTIVE, TTFT], outcomes, answer)
    assert [estimate.value for estimate in result.estimates] == [10.5, pytest.approx(30.0)]


def test_no_rate_that_keeps_the_limits_is_infeasible() -> None:
    answer = Answer(value=0.5, unit="requests/s", bound="at most", note="no load that was tried met all limits: 1 to 4")
    result = trial_of(1, {}, [CAPACITY_OBJECTIVE], outcomes_of(1.0), answer)
    assert (result.status, result.reason) == ("infeasible", "no load that was tried met all limits: 1 to 4")


def test_a_best_capacity_that_no_load_exceeded_is_a_lower_bound() -> None:
    optimization = Optimization(objectives=[CAPACITY_OBJECTIVE], space=SPACE)
    answer = Answer(value=40.0, low=40.0, unit="requests/s", bound="at least")
    optimization.add(trial_of(0, {}, [CAPACITY_OBJECTIVE], outcomes_of(1.0), answer))
    best = optimization.answer()
    assert best is not None
    assert (best.value, best.bound) == (40.0, "at least")


def test_a_trial_that_was_cut_before_it_had_a_value_is_cut_and_not_infeasible() -> None:
    result = trial_of(1, {}, [CAPACITY_OBJECTIVE], outcomes_of(1.0), None, cut="capacity is at most 9")
    assert (result.status, result.reason, result.estimates) == ("cut", "capacity is at most 9", ())
    optimization = Optimization(objectives=[CAPACITY_OBJECTIVE], space=SPACE)
    optimization.add(result)
    assert optimization.best() is None
    assert [ranked.status for ranked in optimization.ranked()] == ["cut"]


def test_trials_are_ranked_and_their_intervals_share_the_noise() -> None:
    optimization = with_default(100.0, 102.0)
    optimization.add(trial(1, SPACE.settings((0, 0, 0)), 120.0))
    optimization.add(trial(2, SPACE.settings((1, 0, 0)), status="infeasible"))
    optimization.add(trial(3, SPACE.settings((2, 0, 0)), 90.0, status="cut"))
    assert [ranked.number for ranked in optimization.ranked()] == [1, 0, 3, 2]
    best = optimization.ranked()[0].estimates[0]
    assert best.low is not None and best.high is not None and best.low < 120 < best.high
    answer = optimization.answer()
    assert answer is not None and answer.optimum is not None
    assert answer.value == pytest.approx(120.0)
    assert answer.optimum["best"] == 1
    assert answer.optimum["effects"]["seqs"] == {"32": pytest.approx(120.0), "128": pytest.approx(90.0)}
    assert Answer.from_json(answer.to_json()) == answer


def test_two_objectives_have_a_front() -> None:
    optimization = Optimization(objectives=[THROUGHPUT, TTFT], space=SPACE)
    for number, (throughput, ttft) in enumerate(((100.0, 20.0), (150.0, 40.0), (90.0, 30.0), (150.0, 50.0))):
        estimates = (Estimate(value=throughput), Estimate(value=ttft))
        settings = SPACE.settings((number, 0, 0))
        optimization.add(Trial(number=number, settings=settings, status="ok", estimates=estimates))
    assert [member.number for member in optimization.front()] == [0, 1]
    answer = optimization.answer()
    assert answer is not None and answer.optimum is not None
    assert [t["number"] for t in answer.optimum["trials"] if t["front"]] == [1, 0]


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": None}, "needs an objective"),
        ({"space": {}}, "needs search.space"),
        ({"space": {"a": 1}}, "a has no list of values"),
        ({"space": {"a": [1, 1]}}, "a has a value twice"),
        ({"space": {"a": [[1]]}}, "neither a number, a text"),
        ({"trials": 0}, r"search\.trials=0 must be at least 1"),
        ({"budget_s": 0.0}, r"search\.budget_s=0 must be above 0"),
        ({"second_objective": "output_throughput"}, "both objectives are output_throughput"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"objective": "output_throughput", "space": {"a": [1, 2]}}
    with pytest.raises(ConfigError, match=message):
        Optimize(**{**good, **settings})


def test_objectives_have_a_direction() -> None:
    assert Optimize(objective="mean_ttft_ms", space={"a": [1]}).objectives() == [TTFT]
    with pytest.raises(ConfigError, match="no such metric: mean_tttft_ms"):
        Optimize(objective="mean_tttft_ms", space={"a": [1]}).objectives()
