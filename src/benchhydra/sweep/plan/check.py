"""From overrides to checked points: compose and check every point before anything is started or written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchhydra.config import BenchConfig, Sweep
from benchhydra.engines import ServerSpec
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.points import Identity, override_key, point_identity
from benchhydra.result import flatten
from benchhydra.search import Search

#: Composes a point: its config object, and the same as plain data.
Compose = Callable[[Sequence[str]], tuple[BenchConfig, dict[str, Any]]]
SpecOf = Callable[[BenchConfig], ServerSpec | None]


class CheckedPoint(NamedTuple):
    """A point that may run. It has no directory yet: that depends on whether an earlier sweep is resumed."""

    overrides: tuple[str, ...]
    identity: Identity


@dataclass(frozen=True, kw_only=True)
class CheckedPoints:
    """The points of a sweep, in the order of the arguments, with their configs and servers.

    sweep, search and seed are those of the first point.
    """

    points: tuple[CheckedPoint, ...]
    configs: Mapping[Identity, BenchConfig]
    specs: Mapping[Identity, ServerSpec | None]
    sweep: Sweep
    search: Search
    seed: int


def check_points(points: Iterable[Sequence[str]], compose: Compose, spec_of: SpecOf) -> CheckedPoints:
    """Compose and check every point, repeats included. Raises BenchhydraError, naming the first bad point."""
    checked: dict[Identity, CheckedPoint] = {}
    configs: dict[Identity, BenchConfig] = {}
    specs: dict[Identity, ServerSpec | None] = {}
    first: BenchConfig | None = None
    for overrides in points:
        config, resolved = compose(overrides)
        first_point = config.search.first_point({override_key(override) for override in overrides})
        if first_point:
            overrides = (*overrides, *first_point)
            config, resolved = compose(overrides)
        spec = _checked_spec(config, overrides, spec_of)
        first = first or config
        for all_overrides, identity in _repeats(overrides, config, resolved):
            checked.setdefault(identity, CheckedPoint(all_overrides, identity))
            configs.setdefault(identity, config)
            specs.setdefault(identity, spec)
    if first is None:
        raise ConfigError("the sweep has no points")
    return CheckedPoints(
        points=tuple(checked.values()),
        configs=configs,
        specs=specs,
        sweep=first.sweep,
        search=first.search,
        seed=first.seed,
    )


def _checked_spec(config: BenchConfig, overrides: Sequence[str], spec_of: SpecOf) -> ServerSpec | None:
    try:
        return spec_of(config)
    except BenchhydraError as error:
        raise type(error)(f"{error.message} (point: {' '.join(overrides)})", hint=error.hint) from error


def _repeats(
    overrides: Sequence[str], config: BenchConfig, resolved: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Identity]]:
    """(overrides, identity) of each repeat of a point."""
    identity = point_identity(resolved)
    overrides = (*overrides, *_varied_overrides(overrides, config.search, resolved))
    if config.repeats == 1 and "repeat" not in config.search.varies:
        yield overrides, identity
        return
    for repeat in range(config.repeats):
        yield (*overrides, f"repeat={repeat}"), identity._replace(repeat=repeat)


def _varied_overrides(overrides: Sequence[str], search: Search, resolved: Mapping[str, Any]) -> Iterator[str]:
    """Overrides for the numeric keys that a search varies and the point does not set, so that tables can show them."""
    own_keys = {override_key(override) for override in overrides}
    flat = flatten(resolved)
    for key in search.varies:
        if key != "repeat" and key not in own_keys and isinstance(flat.get(key), int | float):
            yield f"{key}={flat[key]}"
