"""Distributions of lengths in tokens and of think times, from which datasets of made prompts draw."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
SHAPES = ("fixed", "uniform", "exponential", "normal", "lognormal", "zipf")
#: Shapes that are given by their bounds instead of a mean.
BOUNDED = ("uniform", "zipf")
#: A standard deviation that is not given is this part of the mean.
DEFAULT_SPREAD = 0.25


def draw_lengths(
    shape: str,
    mean: int,
    count: int,
    rng: np.random.Generator,
    *,
    std: float | None = None,
    low: int | None = None,
    high: int | None = None,
    exponent: float = 1.0,
) -> Ints:
    """Return ``count`` lengths of at least ``low`` (1) and at most ``high`` (None: no limit), shape (count,).

    std: None is mean / 4. The lognormal distribution has this mean and standard deviation. exponent: of "zipf", whose
    lengths k from ``low`` to ``high`` are drawn in proportion to 1 / (k - low + 1) ** exponent.
    """
    low, std = low or 1, std or mean * DEFAULT_SPREAD
    if shape == "fixed":
        return np.full(count, mean, dtype=np.int64)
    if shape == "uniform":
        return rng.integers(low, high, count, endpoint=True)
    if shape == "zipf":
        assert high is not None
        weights = 1.0 / np.arange(1, high - low + 2, dtype=np.float64) ** exponent
        return low + rng.choice(len(weights), size=count, p=weights / weights.sum()).astype(np.int64)
    return np.clip(np.rint(draw_values(shape, mean, count, rng, std=std)), low, high).astype(np.int64)


def draw_values(shape: str, mean: float, count: int, rng: np.random.Generator, *, std: float) -> Floats:
    """Return values of at least 0 with this mean, shape (count,). std: standard deviation of the two normal shapes.

    "uniform" is from 0 to 2 * mean. Negative values of "normal" become 0.
    """
    if shape == "uniform":
        return rng.uniform(0, 2 * mean, count)
    if shape == "exponential":
        return rng.exponential(mean, count)
    if shape == "normal":
        return np.maximum(rng.normal(mean, std, count), 0.0)
    if shape == "lognormal" and mean:
        variance = math.log1p((std / mean) ** 2)
        return rng.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), count)
    return np.full(count, mean, dtype=np.float64)
