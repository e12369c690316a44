"""Which point comes when: grouped by server whatever the order of the arguments, repeats as ``sweep.order`` says."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Sequence

from benchhydra.sweep import PlannedPoint, ServerGroup


def group_by_server(points: Iterable[PlannedPoint]) -> list[ServerGroup]:
    """Points of equal server specs together, in order of first appearance."""
    groups: dict[Hashable, list[PlannedPoint]] = {}
    for point in points:
        groups.setdefault(point.spec, []).append(point)
    return [ServerGroup(spec=members[0].spec, points=tuple(members)) for members in groups.values()]


def arrange_repeats(points: Sequence[PlannedPoint], order: str, seed: int) -> list[PlannedPoint]:
    """One group's points: "blocked" (all repeats of a point, then the next point), "interleaved" (all points once,
    then again: slow drift of the machine hits all points alike), "shuffled" (at random, from the seed)."""
    if order == "shuffled":
        return random.Random(seed).sample(list(points), len(points))
    if order == "interleaved":
        return sorted(points, key=lambda point: point.identity.repeat)
    places = {point.identity[:2]: place for place, point in reversed(list(enumerate(points)))}
    return sorted(points, key=lambda point: (places[point.identity[:2]], point.identity.repeat))
