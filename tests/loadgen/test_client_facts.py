"""What several client processes know of themselves becomes the facts of one load."""

from __future__ import annotations

from array import array

import pytest

from benchhydra.facts import Facts
from benchhydra.loadgen.client_facts import loop_lag_series, merge_facts
from benchhydra.loadgen.ray.clock_sync import NodeClock, OffsetEstimate
from benchhydra.loadgen.shards import ShardResult
from benchhydra.records import Recorder


def result(
    facts: dict[str, float],
    stalls_ms: list[float],
    lags_ms: list[float],
    interrupted: bool = False,
    start_ns: int = 0,
) -> ShardResult:
    return ShardResult(
        records=Recorder(0).records(),
        interrupted=interrupted,
        facts=facts,
        start_ns=start_ns,
        stalls_ns=array("f", [ms * 1e6 for ms in stalls_ms]),
        lags_ns=array("f", [ms * 1e6 for ms in lags_ms]),
    )


def test_facts_are_those_of_the_worst_process() -> None:
    first = result({"client_cpu_fraction": 0.5}, [1.0, 2.0], [0.1] * 99)
    second = result({"client_cpu_fraction": 0.75}, [9.0], [50.0], interrupted=True)
    facts = merge_facts([first, second], 2, ["one is gone"], [])
    assert facts["client_cpu_fraction"] == 0.75
    assert facts["client_loop_stall_max_ms"] == 9.0
    assert facts["client_lag_p99_ms"] == pytest.approx(0.1 + 0.01 * 49.9, rel=0.01)  # of all requests together
    assert facts["interrupted"] is True
    assert facts["client_processes"] == 2
    assert facts["lost_client_processes"] == ("one is gone",)
    assert Facts(facts).metadata().keys() == {
        "client_cpu_fraction",
        "client_loop_stall_p99_ms",
        "client_loop_stall_max_ms",
        "client_processes",
    }


def test_unknown_facts_are_absent() -> None:
    facts = merge_facts([result({}, [], [])], 1, [], [])
    assert facts == {"interrupted": False, "client_processes": 1, "lost_client_processes": ()}


def test_the_largest_clock_uncertainty_counts() -> None:
    clocks = [
        NodeClock(host=host, before=OffsetEstimate(5_000_000, uncertainty_ns, 0), after=None)
        for host, uncertainty_ns in {"a": 100_000, "b": 400_000}.items()
    ]
    facts = merge_facts([result({}, [], [])], 2, [], clocks)
    assert facts["clock_uncertainty_ms"] == 0.4
    assert [clock["host"] for clock in facts["client_clocks"]] == ["a", "b"]


def test_the_loops_lateness_over_time_is_the_highest_of_all_processes() -> None:
    """Beats come every 20 ms: 12 of them are in the first 0.25 s of a process, and 25 in 0.5 s."""
    first = result({}, [0.0] * 11 + [3.0] + [0.5] * 13, [], start_ns=1_000_000_000)
    second = result({}, [0.25] * 12, [], start_ns=1_250_000_000)  # it began one interval later
    (series,) = loop_lag_series([first, second, result({}, [], [])])
    assert (series.name, series.unit) == ("client.loop_lag_ms", "ms")
    assert series.times_ns.tolist() == [1_250_000_000, 1_500_000_000, 1_750_000_000]
    assert series.values.tolist() == [3.0, 0.5, 0.5]
    assert loop_lag_series([result({}, [], [])]) == ()
