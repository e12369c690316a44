"""From overrides to planned points: compose and check every point before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchhydra.config import BenchConfig, Sweep
from benchhydra.engines import ServerSpec
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.points import Identity, PlannedPoint, override_key, point_identity
from benchhydra.result import flatten
from benchhydra.search import Search
from benchhydra.sweep.plan.point_names import directory_name

#: Composes a point: its config object, and the same as plain data.
Compose = Callable[[Sequence[str]], tuple[BenchConfig, dict[str, Any]]]
SpecOf = Callable[[BenchConfig], ServerSpec | None]


@dataclass(frozen=True, kw_only=True)
class CheckedPoints:
    """The points of a sweep, in the order of the arguments, with their configs and servers.

    sweep, search and seed are those of the first point.
    """

    points: tuple[PlannedPoint, ...]
    configs: Mapping[Identity, BenchConfig]
    specs: Mapping[Identity, ServerSpec | None]
    sweep: Sweep
    search: Search
    seed: int


def check_points(
    points: Iterable[Sequence[str]], compose: Compose, spec_of: SpecOf, directory: Path, swept: Sequence[str] = ()
) -> CheckedPoints:
    """Compose and check every point, repeats included. ``swept``: the keys that come first in a directory's name.

    Raises BenchhydraError, naming the first bad point.
    """
    planned: dict[Identity, PlannedPoint] = {}
    configs: dict[Identity, BenchConfig] = {}
    specs: dict[Identity, ServerSpec | None] = {}
    first: BenchConfig | None = None
    for overrides in points:
        config, resolved = compose(overrides)
        spec = _checked_spec(config, overrides, spec_of)
        first = first or config
        for all_overrides, identity in _repeats(overrides, config, resolved):
            own = str(directory / directory_name(all_overrides, swept))
            planned.setdefault(identity, PlannedPoint(overrides=all_overrides, directory=own, identity=identity))
            configs.setdefault(identity, config)
            specs.setdefault(identity, spec)
    if first is None:
        raise ConfigError("the sweep has no points")
    return CheckedPoints(
        points=tuple(planned.values()),
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
