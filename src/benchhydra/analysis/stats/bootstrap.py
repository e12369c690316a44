"""The circular block bootstrap (Politis and Romano, 1992): blocks of neighbours are drawn with replacement.

What neighbours share, a queue for one, stays together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def block_indices(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Indices of a resample of ``count`` rows, in blocks of about 2 * count ** (1/3) rows."""
    length = max(1, round(2 * count ** (1 / 3)))
    starts = rng.integers(0, count, size=-(-count // length))
    return np.asarray(((starts[:, None] + np.arange(length)) % count).ravel()[:count])
