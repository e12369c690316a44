"""Which series of a run are drawn, and the rates that charts show instead of counters."""

from __future__ import annotations

import numpy as np
import pytest

from benchhydra.series import Series, as_rate, drawn_series, is_counter


def series(name: str, unit: str, values: list[float], times_s: list[float] | None = None) -> Series:
    times_ns = np.array(times_s or range(len(values)), dtype=np.float64) * 1e9
    return Series(
        name=name, unit=unit, times_ns=times_ns.astype(np.int64), values=np.array(values), labels={"gpu": "0"}
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plugin.words_total", True),
        ("server.generation_tokens", True),
        ("gpu.energy_j", True),
        ("server.requests_running", False),
        ("client.generation_tokens", False),
    ],
)
def test_counters_are_known_by_their_names(name: str, expected: bool) -> None:
    assert is_counter(series(name, "tokens", [1.0])) is expected


def test_rate_is_the_increase_per_second() -> None:
    rate = as_rate(series("plugin.words_total", "tokens", [0, 10, 10, 40], [0, 0.5, 1.5, 2]))
    assert (rate.name, rate.unit, rate.labels) == ("plugin.words", "tokens/s", {"gpu": "0"})
    assert rate.times_ns.tolist() == [500_000_000, 1_500_000_000, 2_000_000_000]
    assert rate.values.tolist() == [20, 0, 60]


def test_fall_of_a_counter_is_left_out() -> None:
    assert as_rate(series("server.x_total", "", [5, 9, 1, 3])).values.tolist() == [4, 2]
    assert as_rate(series("server.x_total", "", [5])).values.tolist() == []


def test_energy_per_second_is_power() -> None:
    rate = as_rate(series("gpu.energy_j", "J", [0, 300]))
    assert (rate.unit, rate.values.tolist()) == ("W", [300])
    assert as_rate(series("server.x_total", "", [0, 1])).unit == "1/s"


def test_what_another_series_shows_is_not_drawn() -> None:
    power, energy = series("gpu.power_w", "W", [1, 2]), series("gpu.energy_j", "J", [0, 2])
    sums = series("server.queue_sum_ms", "ms", [0, 2])
    assert [(each.name, each.unit) for each in drawn_series([power, energy, sums])] == [("gpu.power_w", "W")]
    assert [(each.name, each.unit) for each in drawn_series([energy])] == [("gpu.energy_j", "W")]
