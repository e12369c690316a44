"""Series: quantities sampled over time, with a name and a unit, on the client's monotonic clock.

They are stored in ``series.parquet`` next to a result: one row per sample (time_ns, name, labels, value); the unit of
each name is in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.errors import ResultError
from benchhydra.records import Float64, Int64
from benchhydra.redaction import redact_value

UNITS_KEY = b"benchhydra.units"
#: The end of a counter's name as Prometheus has it.
COUNTER_END = "_total"
#: The counters of the built-in probes, which start at 0 with the load.
COUNTERS = frozenset(
    (
        "gpu.energy_j",
        "host.energy_j",
        "server.accepted_tokens",
        "server.accepted_tokens_by_position",
        "server.draft_tokens",
        "server.drafts",
        "server.generation_tokens",
        "server.preemptions",
        "server.prefix_cache_hits",
        "server.prefix_cache_queries",
        "server.prompt_tokens",
        "server.step_tokens",
        "server.steps",
    )
)

#: Series that are not drawn: sums and counts from which means are computed, and a bit mask.
NOT_DRAWN = frozenset(
    {
        "gpu.throttle_reasons",
        *(
            f"server.{part}_{end}"
            for part in ("queue", "prefill", "decode", "ttft", "itl", "e2el")
            for end in ("sum_ms", "count")
        ),
    }
)
#: Counters that are not drawn if the series that shows the same is there.
SHOWN_BY = {"gpu.energy_j": "gpu.power_w"}


@dataclass(frozen=True, kw_only=True)
class Series:
    """Samples of one quantity. times_ns and values: shape (n,), in order of time; no value is NaN.

    ``name`` is source and quantity (``server.requests_running``); ``labels`` distinguish several series of one name
    (``{"gpu": "0"}``).
    """

    name: str
    unit: str
    times_ns: Int64
    values: Float64
    labels: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times_ns)


def is_counter(series: Series) -> bool:
    """Whether the values are a running total, which a chart shows as a rate."""
    return series.name.endswith(COUNTER_END) or series.name in COUNTERS


def as_rate(counter: Series) -> Series:
    """The increase of a counter per second between two samples, at the time of the later one; n - 1 samples.

    A fall (the server was restarted) is left out. Joules per second are watts.
    """
    times_ns, elapsed_s = counter.times_ns[1:], np.diff(counter.times_ns) / 1e9
    increases = np.diff(counter.values)
    known = (elapsed_s > 0) & (increases >= 0)
    return Series(
        name=counter.name.removesuffix(COUNTER_END),
        unit="W" if counter.unit == "J" else f"{counter.unit or 1}/s",
        labels=counter.labels,
        times_ns=times_ns[known],
        values=increases[known] / elapsed_s[known],
    )


def drawn_series(series: Iterable[Series]) -> list[Series]:
    """The series that are shown to a reader, counters as rates."""
    measured = list(series)
    names = {each.name for each in measured}
    drawn = [each for each in measured if each.name not in NOT_DRAWN and SHOWN_BY.get(each.name) not in names]
    return [as_rate(each) if is_counter(each) else each for each in drawn]


def write_series(series: Sequence[Series], path: Path) -> None:
    """Write series as Parquet. Raises ValueError if one name has two units."""
    from benchhydra.arrow_columns import number_array, write_parquet  # start-up time

    units = _units(series)
    labels = [json.dumps(redact_value(single.labels), sort_keys=True) for single in series]
    lengths = [len(single) for single in series]
    columns = {
        "time_ns": number_array(_joined([single.times_ns for single in series], np.int64)),
        "name": _repeated([single.name for single in series], lengths),
        "labels": _repeated(labels, lengths),
        "value": number_array(_joined([single.values for single in series], np.float64)),
    }
    write_parquet(columns, path, metadata={UNITS_KEY: json.dumps(units).encode()})


def read_series(path: Path) -> list[Series]:
    """Return the series in a file, in the order in which they were written; [] if there is no file.

    Raises ResultError if the file cannot be read as series (version 0.1 used another format).
    """
    from benchhydra.arrow_columns import pa, pq  # start-up time

    if not path.exists():
        return []
    try:
        table = pq.read_table(path)
        units = json.loads((table.schema.metadata or {})[UNITS_KEY])
        names, labels = (table[column].to_pylist() for column in ("name", "labels"))
        times_ns = table["time_ns"].to_numpy()
        values = table["value"].to_numpy()
        rows_of: dict[tuple[str, str], list[int]] = {}
        for row, key in enumerate(zip(names, labels, strict=True)):
            rows_of.setdefault(key, []).append(row)
        return [
            Series(name=name, unit=units[name], labels=json.loads(text), times_ns=times_ns[rows], values=values[rows])
            for (name, text), rows in rows_of.items()
        ]
    except (OSError, KeyError, ValueError, TypeError, RecursionError, pa.ArrowException) as error:
        raise ResultError(f"{path} is not a file of series: {type(error).__name__}") from error


def _units(series: Iterable[Series]) -> dict[str, str]:
    units: dict[str, str] = {}
    for single in series:
        if units.setdefault(single.name, single.unit) != single.unit:
            raise ValueError(f"series {single.name} has two units: {units[single.name]} and {single.unit}")
    return units


def _joined(arrays: Sequence[npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    return np.concatenate([np.asarray(a, dtype=kind) for a in arrays]) if arrays else np.zeros(0, dtype=kind)


def _repeated(texts: Sequence[str], lengths: Sequence[int]) -> Any:
    """Return a dictionary column that repeats each text for every sample of its series."""
    from benchhydra.arrow_columns import number_array, pa, text_array  # start-up time

    indices = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
    return pa.DictionaryArray.from_arrays(number_array(indices), text_array(texts))
