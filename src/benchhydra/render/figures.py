"""Formatting of numbers, shared by all formats: digits, units, percent, intervals, counts, durations."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from benchhydra.result import Better

LATENCY = re.compile(r"(mean|median|std|p\d+(?:\.\d+)?|max)_(.+)_ms")
#: The name of a statistic of a time in ms or s: latencies and start-up times.
TIME = re.compile(r"(mean|median|std|p\d+(?:\.\d+)?|max)_(.+)_m?s")
ACRONYMS = ("ttft", "tpot", "itl", "e2el")
ARROWS = {Better.BIGGER: " ↑", Better.SMALLER: " ↓", Better.OBSERVATION: ""}
#: An interval that ends above this ratio excludes nothing: the figure, of up to 300 digits, says no more.
LARGEST_END = 10.0
LEGEND = "↑ higher is better  ↓ lower is better"


def number(value: float) -> str:
    """A number with four significant digits (three below 0.1) and no exponent: 0.1234, 12.34, 1,234."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    digits = 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 1 else 4 if size >= 0.1 else _small_digits(size)
    return f"{value:.{digits}f}"


def _small_digits(size: float) -> int:
    """The number of decimals of a value below 0.1: three significant digits, so that it is not shown as zero."""
    return min(12, 2 - math.floor(math.log10(size)))


def quantity(value: float, unit: str) -> str:
    """A number and its unit: ``50.45 ms``."""
    return f"{number(value)} {unit}".strip()


def percent(ratio: float | None) -> str:
    """``0.031`` -> ``+3.1 %``; empty for None."""
    return "" if ratio is None else f"{ratio * 100:+.1f} %"


def percent_range(ratios: Sequence[float]) -> str:
    """``[0.03, 0.08, 0.05]`` -> ``+3.0 % to +8.0 %``; one figure if both ends look alike."""
    return " to ".join(dict.fromkeys((percent(min(ratios)), percent(max(ratios)))))


def interval(low: float | None, high: float | None) -> str:
    """``(0.01, 0.03)`` -> ``+1.0 % to +3.0 %``; empty if ``low`` is None."""
    if low is None:
        return ""
    is_open = high is not None and high > LARGEST_END
    return f"{percent(low)} to " + (f"over {percent(LARGEST_END)}" if is_open else percent(high))


def mean_and_half_width(mean: float, low: float, high: float) -> str:
    """``50.25 ± 1.500``: a mean and the half-width of its interval."""
    return f"{number(mean)} ± {number((high - low) / 2)}"


def count(number: int, noun: str) -> str:
    """``1 point``, ``2 points``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min 5 s``, ``3 h 20 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def rough_duration(seconds: float) -> str:
    """An estimated time with two digits or so: ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def latency_name(latency: str) -> str:
    """``scheduled_ttft`` -> ``TTFT scheduled``, ``client_lag`` -> ``client lag``."""
    words = latency.split("_")
    words.sort(key=lambda word: word not in ACRONYMS)
    return " ".join(word.upper() if word in ACRONYMS else word for word in words)


def leaf_names(keys: Sequence[str]) -> list[str]:
    """The last part of each key, ``ttft_ms`` of ``engine.ttft_ms``; the whole key where two keys end alike."""
    leaves = [key.rpartition(".")[2] for key in keys]
    return [leaf if leaves.count(leaf) == 1 else key for key, leaf in zip(keys, leaves, strict=True)]


def setting_text(value: object) -> str:
    """A setting's value: ``8`` for 8.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)
