"""Series: whatever is watched over time, as named samples with a unit, on the client's monotonic clock.

They lie in ``series.parquet`` beside a result: one row a sample (time_ns, name, labels, value), the unit of each name
in the file's schema.
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
from benchhydra.records import Float64, Int64, arrow, arrow_texts, write_parquet

UNITS_KEY = b"benchhydra.units"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Samples of one quantity. times_ns and values: shape (n,), in order of time; no value is NaN.

    ``name`` says where it comes from and what it is (``server.requests_running``), ``labels`` tell several of one name
    apart (``{"gpu": "0"}``).
    """

    name: str
    unit: str
    times_ns: Int64
    values: Float64
    labels: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times_ns)


def write_series(series: Sequence[Series], path: Path) -> None:
    """Write series as Parquet. Raises ValueError where one name has two units."""
    import pyarrow as pa  # at the end of a run, not at the program's start

    units = _units(series)
    labels = [json.dumps(dict(one.labels), sort_keys=True) for one in series]
    lengths = [len(one) for one in series]
    columns = {
        "time_ns": arrow(_joined([one.times_ns for one in series], np.int64)),
        "name": _repeated(pa, [one.name for one in series], lengths),
        "labels": _repeated(pa, labels, lengths),
        "value": arrow(_joined([one.values for one in series], np.float64)),
    }
    write_parquet(columns, path, metadata={UNITS_KEY: json.dumps(units).encode()})


def read_series(path: Path) -> list[Series]:
    """The series in a file, in the order in which they were written; [] where there is no file.

    Raises ResultError where the file cannot be read as series (results of version 0.1 had another form).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return []
    try:
        table = pq.read_table(path)
        units = json.loads((table.schema.metadata or {})[UNITS_KEY])
        names, labels = (table[column].to_pylist() for column in ("name", "labels"))
        times_ns = table["time_ns"].to_numpy()
        values = table["value"].to_numpy()
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise ResultError(f"{path} holds no series: {type(error).__name__}") from error
    rows_of: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(names, labels, strict=True)):
        rows_of.setdefault(key, []).append(row)
    return [
        Series(name=name, unit=units[name], labels=json.loads(text), times_ns=times_ns[rows], values=values[rows])
        for (name, text), rows in rows_of.items()
    ]


def _units(series: Iterable[Series]) -> dict[str, str]:
    units: dict[str, str] = {}
    for one in series:
        if units.setdefault(one.name, one.unit) != one.unit:
            raise ValueError(f"series {one.name} has two units: {units[one.name]} and {one.unit}")
    return units


def _joined(arrays: Sequence[npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    return np.concatenate([np.asarray(a, dtype=kind) for a in arrays]) if arrays else np.zeros(0, dtype=kind)


def _repeated(pa: Any, texts: Sequence[str], lengths: Sequence[int]) -> Any:
    """A dictionary column with each text as often as its series has samples."""
    indices = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
    return pa.DictionaryArray.from_arrays(arrow(indices), arrow_texts(texts))
