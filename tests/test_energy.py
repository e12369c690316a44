"""Energy, cost, and what GPUs and host did in the window: figures worked out by hand, and what is unknown is absent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.facts import Facts
from benchhydra.gpu_prices import SERVER_PRICE_PER_HOUR, server_price_per_hour
from benchhydra.metrics import summarize
from benchhydra.records import Phase, Records
from benchhydra.result import Reason
from benchhydra.series import Series
from benchhydra.target import Gpus
from benchhydra.validity import ValidityLimits, judge
from benchhydra.window import Window
from benchhydra.window_series import growth, highest, mean, named, total_of_means

registry.discover()

S = 1_000_000_000
#: The window of ``run``: 10 s long.
BEGIN_NS, END_NS = 100 * S, 110 * S
SPAN = BEGIN_NS, END_NS
TOKENS = frozenset({"requests", "tokens", "generated"})


def run() -> Records:
    """20 requests of 100 prompt and 50 output tokens, one sent every 0.5 s, each answered 0.5 s later."""
    sent_ns = [BEGIN_NS + row * S // 2 for row in range(20)]
    done_ns = [time_ns + S // 2 for time_ns in sent_ns]
    return Records.of_spans(sent_ns, done_ns, prompt_tokens=[100] * 20, output_tokens=[50] * 20)


def series(
    name: str,
    values: Callable[[Any], Any],
    unit: str = "",
    first_s: float = 99.9,
    last_s: float = 110.2,
    **labels: str,
) -> Series:
    """Samples every 0.25 s; values: a function of the time in s."""
    times_s = np.arange(first_s, last_s, 0.25)
    return Series(
        name=name,
        unit=unit,
        times_ns=(times_s * 1e9).astype(np.int64),
        values=np.asarray(values(times_s) + 0.0 * times_s, dtype=np.float64),
        labels=labels,
    )


def energy(power_w: float, gpu: str = "0", first_s: float = 99.9, last_s: float = 110.2) -> Series:
    return series("gpu.energy_j", lambda times_s: power_w * (times_s - 99.9), "J", first_s, last_s, gpu=gpu)


def metrics(
    *all_series: Series, has: frozenset[str] = TOKENS, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    window = Window.of(run(), series=all_series, facts=Facts(facts))
    capabilities = has | {single.name for single in all_series} | ({"price"} if facts else set())
    return {metric.key: metric.value for metric in summarize(window, capabilities)}


def reasons(*all_series: Series, **facts: Any) -> dict[str, str]:
    window = Window.of(run(), series=all_series, facts=Facts(facts))
    found: tuple[Reason, ...] = judge(window, ValidityLimits())[1]
    return {reason.check: reason.text for reason in found}


def test_energy_is_that_of_the_window_over_all_gpus() -> None:
    values = metrics(energy(600.0), energy(400.0, "1"))
    assert values["gpu_energy_j"] == pytest.approx(10_000)
    assert values["mean_gpu_power_w"] == pytest.approx(1000)
    assert values["gpu_j_per_output_token"] == pytest.approx(10_000 / 1000)
    assert values["gpu_j_per_total_token"] == pytest.approx(10_000 / 3000)
    assert values["gpu_j_per_request"] == pytest.approx(500)
    assert values["output_tokens_per_s_per_w"] == pytest.approx(
        values["output_throughput"] / values["mean_gpu_power_w"]
    )


def test_energy_before_and_after_the_window_does_not_count() -> None:
    def joules(times_s: Any) -> Any:
        return np.interp(times_s, [99.9, 100, 110, 110.2], [0, 5_000, 8_000, 90_000])

    begins, ends = series("gpu.energy_j", joules, "J", first_s=99.75, gpu="0"), energy(0.0, "1")
    assert metrics(begins, ends)["gpu_energy_j"] == pytest.approx(3000)


@pytest.mark.parametrize(("first_s", "last_s"), [(99.9, 109.0), (101.0, 110.2)], ids=["lost at its end", "late"])
def test_energy_of_a_part_of_the_window_is_no_figure(first_s: float, last_s: float) -> None:
    values = metrics(energy(600.0, "0", first_s, last_s), energy(600.0, "1"))
    assert not [name for name in values if "gpu" in name or "per_w" in name]


def test_without_a_cards_energy_there_is_none() -> None:
    assert not [name for name in metrics() if "gpu" in name or "per_w" in name]


def test_tokens_that_the_server_did_not_count_have_no_energy_or_cost() -> None:
    window = Window.of(
        dataclasses.replace(run(), output_tokens=np.full(20, -1, np.int32)),
        series=(energy(600.0),),
        facts=Facts({SERVER_PRICE_PER_HOUR: 3.6}),
    )
    values = {metric.key: metric.value for metric in summarize(window, TOKENS | {"gpu.energy_j", "price"})}
    assert {"gpu_energy_j", "gpu_j_per_request", "cost_per_1k_requests"} <= values.keys()
    assert not {"gpu_j_per_output_token", "output_tokens_per_s_per_w", "cost_per_1m_output_tokens"} & values.keys()


def test_cpu_power_is_that_of_the_packages_alone() -> None:
    package = series("host.energy_j", lambda times_s: 150 * times_s, "J", domain="package-0")
    memory = series("host.energy_j", lambda times_s: 20 * times_s, "J", domain="package-0/dram")
    values = metrics(package, memory)
    assert values["mean_cpu_power_w"] == pytest.approx(150)
    assert values["cpu_j_per_output_token"] == pytest.approx(1.5)


def test_cost_is_the_price_of_the_windows_time() -> None:
    values = metrics(facts={SERVER_PRICE_PER_HOUR: 36.0})  # 0.1 USD in 10 s, for 1,000 output and 2,000 prompt tokens
    assert values["cost_per_1m_output_tokens"] == pytest.approx(100)
    assert values["cost_per_1m_total_tokens"] == pytest.approx(100 / 3)
    assert values["cost_per_1k_requests"] == pytest.approx(5)
    assert not [name for name in metrics() if name.startswith("cost")]


def test_what_gpus_did_is_a_mean_over_them_or_the_highest() -> None:
    values = metrics(
        series("gpu.utilization_fraction", lambda _: 0.9, gpu="0"),
        series("gpu.utilization_fraction", lambda _: 0.5, gpu="1"),
        series("gpu.memory_used_mib", lambda times_s: np.where(times_s < 105, 60_000, 70_000), gpu="0"),
        series("gpu.memory_used_mib", lambda _: 50_000, gpu="1"),
        series("gpu.throttled", lambda times_s: np.where(times_s < 105, 1, 0), gpu="0"),
        series("gpu.throttled", lambda _: 0, gpu="1"),
        series("gpu.temperature_c", lambda times_s: np.where(times_s > 110, 99, 71), gpu="0"),
    )
    assert values["mean_gpu_utilization_fraction"] == pytest.approx(0.7)
    assert values["max_gpu_memory_used_mib"] == 70_000
    assert values["gpu_throttled_fraction"] == pytest.approx(0.25, abs=0.02)
    assert values["max_gpu_temperature_c"] == 71  # the 99 was after the window


def test_what_the_host_did_is_a_mean_or_a_sum() -> None:
    values = metrics(
        series("host.cpu_fraction", lambda _: 0.6, group="server"),
        series("host.cpu_fraction", lambda _: 0.1, group="client"),
        series("host.pressure_fraction", lambda _: 0.3, resource="cpu", kind="some"),
        series("host.pressure_fraction", lambda _: 0.2, resource="io", kind="full"),
        series("host.page_faults_per_s", lambda _: 900.0, kind="all"),
        series("host.page_faults_per_s", lambda _: 4.0, kind="major"),
        series("host.swap_mib_per_s", lambda _: 1.5, direction="in"),
        series("host.swap_mib_per_s", lambda _: 0.5, direction="out"),
        series("client.loop_lag_ms", lambda _: 0.2),
    )
    assert values["mean_server_cpu_fraction"] == pytest.approx(0.6)
    assert values["mean_cpu_pressure_fraction"] == pytest.approx(0.3)
    assert "mean_io_pressure_fraction" not in values  # some, not full
    assert values["major_page_faults_per_s"] == pytest.approx(4)
    assert values["swap_mib_per_s"] == pytest.approx(2)
    assert values["mean_client_loop_lag_ms"] == pytest.approx(0.2)


def test_a_gauge_that_stops_in_the_window_has_no_summary() -> None:
    whole, late = series("x", lambda _: 1.0), series("x", lambda _: 1.0, first_s=100.25)
    short = series("x", lambda _: 1.0, last_s=108.0)
    assert mean([whole, late], SPAN) == 1.0  # rates begin one interval late
    for summary in (mean, highest, total_of_means):
        assert summary([whole, short], SPAN) is None
        assert summary([], SPAN) is None
        assert summary([whole], None) is None
        assert summary([series("x", lambda _: 1.0, last_s=100.0)], SPAN) is None
    assert growth([], SPAN) is None and growth([whole], None) is None
    assert named([whole, short], "y") == []


def test_heat_in_the_window_is_suspect_and_says_which_gpu_and_why() -> None:
    def hot(times_s: Any) -> Any:
        return np.where((times_s > 104) & (times_s < 108), 0x20 | 0x4, 0x4)

    masks = series("gpu.throttle_reasons", hot, gpu="0"), series("gpu.throttle_reasons", lambda _: 0x4, gpu="1")
    assert reasons(*masks)["gpu_throttled"] == (
        "gpu 0 had lowered clocks in 40 % of the window: temperature (software slowdown) (limit 5 %)"
    )
    assert "gpu_throttled" not in reasons(masks[1])
    before = series("gpu.throttle_reasons", lambda times_s: np.where(times_s < 100, 0x40, 0), gpu="0")
    assert "gpu_throttled" not in reasons(before)


def test_others_on_a_gpu_are_named_with_their_memory() -> None:
    assert reasons(other_gpu_pids=(7, 9), other_gpu_memory_mib=20_480.4)["other_gpu"] == (
        "other processes use the GPUs of this run: 7, 9; up to 20,480 MiB of a GPU are not the server's"
    )
    assert "other_gpu_memory" not in reasons(other_gpu_pids=(7,), other_gpu_memory_mib=20_480)


def test_memory_of_nobody_that_is_listed_is_suspect() -> None:
    assert reasons(other_gpu_pids=(), other_gpu_memory_mib=20_480)["other_gpu_memory"] == (
        "20,480 MiB of a GPU of this run are in use by no process that NVML lists (limit 1,024 MiB): "
        "less is left for the KV cache"
    )
    assert not {"other_gpu", "other_gpu_memory"} & reasons(other_gpu_pids=(), other_gpu_memory_mib=300).keys()
    assert not {"other_gpu", "other_gpu_memory"} & reasons().keys()


def test_a_machine_that_swaps_is_suspect() -> None:
    moved = [series("host.swap_mib_per_s", lambda _: 0.8, direction=way) for way in ("in", "out")]
    assert reasons(*moved)["machine_swapping"] == (
        "this machine moved 1.6 MiB/s to and from its swap space (limit 1 MiB/s): it has too little memory for what "
        "runs on it"
    )
    assert "machine_swapping" not in reasons(moved[0])


def test_warm_up_rows_do_not_move_the_window_of_energy() -> None:
    phase = np.where(np.arange(20) < 10, Phase.WARMUP, Phase.MEASURED).astype(np.int32)
    window = Window.of(dataclasses.replace(run(), phase=phase), series=(energy(600.0),))
    values = {metric.key: metric.value for metric in summarize(window, TOKENS | {"gpu.energy_j"})}
    assert values["gpu_energy_j"] == pytest.approx(3000) and values["mean_gpu_power_w"] == pytest.approx(600)


@pytest.mark.parametrize(
    ("config", "count", "names", "price"),
    [
        ({}, 2, ["NVIDIA H100 80GB HBM3"] * 2, None),
        ({"price_per_hour": 2.5}, 2, ["NVIDIA H100 80GB HBM3"] * 2, 5.0),
        ({"price_per_hour": 2.5}, 4, [], 10.0),  # an attached server, of which engine.gpus says how many
        ({"price_per_hour": 2.5}, None, [], None),  # on the CPU, or nobody knows
        ({"prices": {"h100": 2.0, "H100 NVL": 3.0}}, 2, ["NVIDIA H100 80GB HBM3", "NVIDIA H100 NVL"], 5.0),
        ({"prices": {"H100": 2.0}}, 2, ["NVIDIA H100 80GB HBM3", "NVIDIA L4"], None),
        ({"prices": {"H100": 2.0}}, 2, [], None),
        ({"prices": {"H100": 2.0}, "price_per_hour": 1.0}, 1, ["NVIDIA H100 NVL"], 1.0),
    ],
)
def test_a_price_is_known_or_absent(config: dict[str, Any], count: int | None, names: list[str], price: Any) -> None:
    assert server_price_per_hour(Gpus(**config), count, names) == price


@pytest.mark.parametrize("price", [0, -1, float("inf"), float("nan")])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(ConfigError, match=r"gpus\.price_per_hour="):
        Gpus(price_per_hour=price)
    with pytest.raises(ConfigError, match=r"gpus\.prices\.H100="):
        Gpus(prices={"H100": price})
