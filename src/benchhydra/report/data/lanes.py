"""The lanes of a run's time axis: series that are read together in one chart, one lane below the other.

``LANES`` are the lanes that explain most runs. All other series follow: those of one name or, without labels, of one
source and unit together. So whatever a probe or a plugin samples is on the page. Counters are drawn as rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchhydra.records import Int64
from benchhydra.report.data.benchmarks import column
from benchhydra.series import Series, drawn_series

#: Samples of a series; of more, this many are taken at even steps.
MAX_SAMPLES = 600
#: Decimals of seconds: a tenth of a millisecond.
TIME_DECIMALS = 4
#: Lane -> its series.
LANES = {
    "Rate": ("client.sent_rps", "client.done_rps"),
    "Requests in flight": ("client.in_flight", "server.requests_running", "server.requests_waiting"),
    "TTFT": ("client.mean_ttft_ms", "client.p99_ttft_ms", "server.ttft_ms"),
    "TPOT": ("client.mean_tpot_ms", "server.itl_ms"),
    "Server: parts of the latency": ("server.queue_ms", "server.prefill_ms", "server.decode_ms"),
    "Server: tokens": ("server.prompt_tokens", "server.generation_tokens"),
    "Server: cache and speculation": ("server.kv_cache_usage_fraction", "server.acceptance_fraction"),
    "GPU power": ("gpu.power_w",),
    "GPU": ("gpu.utilization_fraction", "gpu.throttled"),
    "Waiting for the CPU": ("client.wait_fraction", "host.server_wait_fraction"),
}


class Lane(NamedTuple):
    """Series with one unit. is_main: whether it is among ``LANES``."""

    title: str
    unit: str
    is_main: bool
    series: list[Series]


def lanes(series: Iterable[Series], start_ns: int) -> list[dict[str, Any]]:
    """The lanes as the page draws them, the main ones first. Times are seconds after ``start_ns``."""
    drawn = [each for each in drawn_series(series) if len(each)]
    grouped = [*_main_lanes(drawn), *_other_lanes(drawn)]
    return [_lane_data(lane, start_ns) for lane in grouped]


def _main_lanes(series: Sequence[Series]) -> Iterable[Lane]:
    for title, names in LANES.items():
        members = [each for name in names for each in series if each.name == name]
        if members:
            yield Lane(title, members[0].unit, True, members)


def _other_lanes(series: Sequence[Series]) -> list[Lane]:
    main = {name for names in LANES.values() for name in names}
    groups: dict[tuple[str, str], list[Series]] = {}
    for each in series:
        if each.name not in main:
            groups.setdefault((each.name if each.labels else _source(each), each.unit), []).append(each)
    return [Lane(_title(members), unit, False, members) for (_, unit), members in groups.items()]


def _source(series: Series) -> str:
    """The probe, or whatever else sampled it."""
    return series.name.partition(".")[0]


def _title(series: Sequence[Series]) -> str:
    """The name of the series if it is but one, else their source."""
    return series[0].name if len({each.name for each in series}) == 1 else _source(series[0])


def _lane_data(lane: Lane, start_ns: int) -> dict[str, Any]:
    sources = {_source(each) for each in lane.series}
    names = {each.name for each in lane.series}
    return {
        "title": lane.title,
        "unit": lane.unit,
        "is_main": lane.is_main,
        "lines": [
            {"label": _label(each, len(sources) > 1, len(names) > 1)} | _samples(each, start_ns) for each in lane.series
        ],
    }


def _label(series: Series, with_source: bool, with_name: bool) -> str:
    """What distinguishes a series from others of its lane: ``client.in_flight``, ``power_w gpu=0``, ``gpu=0``."""
    labels = _labels_text(series.labels)
    name = series.name if with_source else series.name.partition(".")[2]
    return " ".join(part for part in (name if with_name or not labels else "", labels) if part)


def _labels_text(labels: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in labels.items())


def _samples(series: Series, start_ns: int) -> dict[str, Any]:
    """Times in seconds after ``start_ns``, and values; samples before it have negative times."""
    rows = even_steps(len(series), MAX_SAMPLES)
    return {
        "seconds": [second_of(time_ns, start_ns) for time_ns in series.times_ns[rows].tolist()],
        "values": column(series.values[rows].tolist()),
    }


def second_of(time_ns: int, start_ns: int) -> float:
    """A time in seconds after the start."""
    return round((time_ns - start_ns) / 1e9, TIME_DECIMALS)


def even_steps(count: int, most: int) -> Int64:
    """Positions of at most ``most`` of ``count`` rows at even steps, the first and the last one among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
