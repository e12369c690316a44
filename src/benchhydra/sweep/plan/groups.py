"""Groups: the points that share a server, and their order on it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchhydra.engines import ServerSpec
from benchhydra.points import Identity, PlannedPoint


@dataclass(frozen=True, kw_only=True)
class ServerGroup:
    """The points measured on one server, in order; ``spec`` is None if each point starts its own engines."""

    spec: ServerSpec | None
    points: tuple[PlannedPoint, ...]


def ordered_groups(
    points: Iterable[PlannedPoint], specs: Mapping[Identity, ServerSpec | None], order: str, seed: int
) -> list[ServerGroup]:
    """Points grouped by server, each group in the order of ``sweep.order``."""
    groups = group_by_server(points, specs)
    return [replace(group, points=tuple(arrange_repeats(group.points, order, seed))) for group in groups]


def group_by_server(points: Iterable[PlannedPoint], specs: Mapping[Identity, ServerSpec | None]) -> list[ServerGroup]:
    """Points of equal server specs together, in order of first appearance."""
    groups: dict[ServerSpec | None, list[PlannedPoint]] = {}
    for point in points:
        groups.setdefault(specs[point.identity], []).append(point)
    return [ServerGroup(spec=spec, points=tuple(members)) for spec, members in groups.items()]


def arrange_repeats(points: Sequence[PlannedPoint], order: str, seed: int) -> list[PlannedPoint]:
    """One group's points in the order of ``sweep.order``.

    blocked: all repeats of a point, then the next point. interleaved: all points once, then all again, so that slow
    drift of the machine affects all points alike. shuffled: at random, from the seed.
    """
    if order == "shuffled":
        return random.Random(seed).sample(list(points), len(points))
    if order == "interleaved":
        return sorted(points, key=lambda point: point.identity.repeat)
    places = {point.identity[:2]: place for place, point in reversed(list(enumerate(points)))}
    return sorted(points, key=lambda point: (places[point.identity[:2]], point.identity.repeat))
