"""From axes to points: the product of all axes, where zipped axes go in step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from benchhydra.errors import ConfigError


@dataclass(frozen=True)
class Axis:
    """One swept (or fixed) key: its overrides, one a value: ``Axis("qps", ("qps=1", "qps=5"))``."""

    key: str
    overrides: tuple[str, ...]


def expand(axes: Sequence[Axis], zips: Sequence[Sequence[str]] = ()) -> list[tuple[str, ...]]:
    """The overrides of every point; the last axis varies fastest, and zipped axes vary at the first one's place.

    Raises ConfigError where a zip names a key that is not swept, names one twice, or pairs different lengths.
    """
    by_key = {axis.key: axis for axis in axes}
    partners = _partners(by_key, zips)
    factors: list[list[tuple[str, ...]]] = []
    for axis in axes:
        keys = partners.get(axis.key, (axis.key,))
        first = next(known.key for known in axes if known.key in keys)
        if axis.key == first:
            columns = [by_key[key].overrides for key in keys]
            factors.append(list(zip(*columns, strict=True)))
    return [tuple(itertools.chain.from_iterable(point)) for point in itertools.product(*factors)]


def _partners(by_key: dict[str, Axis], zips: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    partners: dict[str, tuple[str, ...]] = {}
    for keys in zips:
        for key in keys:
            if key not in by_key:
                raise ConfigError(f"sweep.zip names {key!r}, which is not swept", hint=f"{key}=VALUE,VALUE")
            if key in partners or list(keys).count(key) > 1:
                raise ConfigError(f"sweep.zip names {key!r} twice")
            partners[key] = tuple(keys)
        counts = {key: len(by_key[key].overrides) for key in keys}
        if len(set(counts.values())) > 1:
            lengths = ", ".join(f"{key} has {count} values" for key, count in counts.items())
            raise ConfigError(f"sweep.zip pairs axes of different lengths: {lengths}")
    return partners
