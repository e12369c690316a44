"""From a command line to the points of its sweep: the product of all axes; zipped axes advance together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchhydra.errors import ConfigError


@dataclass(frozen=True)
class Axis:
    """One swept (or fixed) key, with an override for each of its values: ``Axis("qps", ("qps=1", "qps=5"))``."""

    key: str
    overrides: tuple[str, ...]


def parse_axes(arguments: Sequence[str], loader: ConfigLoader) -> list[Axis]:
    """The axes of a command line, in its order; if a key is given twice, the last one counts.

    Raises ConfigError for an interval such as ``interval(1,5)``, and what Hydra's parser raises.
    """
    axes: dict[str, Axis] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(arguments)):
        key = override.get_key_element()
        values: tuple[str, ...] = (str(override.input_line),)
        if override.is_sweep_override():
            if not override.is_discrete_sweep():
                raise ConfigError(f"{override.input_line}: an interval has no points", hint="range(1,10,2) or 1,3")
            values = tuple(f"{key}={value}" for value in override.sweep_string_iterator())
        axes[key.lstrip("+")] = Axis(key.lstrip("+"), values)
    return list(axes.values())


def expand(axes: Sequence[Axis], zips: Sequence[Sequence[str]] = ()) -> list[tuple[str, ...]]:
    """The overrides of every point. The last axis varies fastest; zipped axes vary at the position of their first one.

    Raises ConfigError if a zip names a key that is not swept, names one twice, or pairs axes of different lengths.
    """
    by_key = {axis.key: axis for axis in axes}
    partners = _partners(by_key, zips)
    factors: list[list[tuple[str, ...]]] = []
    for axis in axes:
        keys = partners.get(axis.key, (axis.key,))
        first = next(other.key for other in axes if other.key in keys)
        if axis.key == first:
            columns = [by_key[key].overrides for key in keys]
            factors.append(list(zip(*columns, strict=True)))
    return [tuple(itertools.chain.from_iterable(point)) for point in itertools.product(*factors)]


def _partners(by_key: dict[str, Axis], zips: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Each zipped key -> all keys of its zip."""
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
