"""Columns of Apache Arrow, and Parquet files of them. It is imported at the end of a run: pyarrow takes time to start.

pyarrow gets the allocator of the system. Its own one, mimalloc, takes 15 MB more in a process that writes one file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.artifacts import atomic_path

_POOL = "ARROW_DEFAULT_MEMORY_POOL"


@contextlib.contextmanager
def _system_allocator() -> Iterator[None]:
    """Let pyarrow choose the allocator of the system when it is imported, unless the user has chosen one.

    Later is too late: by then it has taken memory for its own. Servers that are started do not get the variable.
    """
    is_chosen = _POOL in os.environ
    os.environ.setdefault(_POOL, "system")
    try:
        yield
    finally:
        if not is_chosen:
            del os.environ[_POOL]


with _system_allocator():
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["number_array", "pa", "pq", "text_array", "write_parquet"]


def write_parquet(
    columns: dict[str, Any], path: Path, *, metadata: dict[bytes, bytes] | None = None, **options: Any
) -> None:
    """Write Arrow columns as Parquet, atomically. ``options`` are those of ``pyarrow.parquet.write_table``."""
    table = pa.table(columns)
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, temporary, **options)


def number_array(values: npt.NDArray[Any]) -> Any:
    """Return a numpy array as an Arrow array without a copy; NaN becomes null. (``pa.array`` would import pandas.)"""
    kinds = {"int64": pa.int64(), "int32": pa.int32(), "float32": pa.float32(), "float64": pa.float64()}
    missing = np.isnan(values)
    valid_bits = pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes()) if missing.any() else None
    return pa.Array.from_buffers(
        kinds[values.dtype.name], len(values), [valid_bits, pa.py_buffer(np.ascontiguousarray(values))]
    )


def text_array(values: Sequence[str]) -> Any:
    """Return texts as an Arrow array; like ``number_array``, without importing pandas."""
    encoded = [text.encode() for text in values]
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(encoded)))
