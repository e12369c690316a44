"""Searches: which points are measured after the planned ones, decided from the outcomes so far.

A search is one file: a dataclass with ``next``, which says which points come next, and, where it looks for something,
``answer``. Both are pure functions of the outcomes: a resumed sweep asks again with the outcomes that it already has,
gets the same points, and continues after them. The points are ordinary points: each has a result, a verdict and its
runs in the tracker, and they are measured on the group's running server.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint
from benchhydra.registry import knob

#: The overrides that a search gives a point, such as ``("qps=7.5",)``.
Overrides = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a search has found: a value, the interval in which it lies where that is known, and their unit.

    name: what the value is, where the unit does not say it. limited_by: what keeps the value from being better, in
    words. probes: how many measured points it is based on. Raises ConfigError for a number that is not finite: an
    unknown bound is None.
    """

    value: float
    unit: str
    name: str = ""
    low: float | None = None
    high: float | None = None
    limited_by: str = ""
    probes: int = 0

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ConfigError(f"the answer's {name} is {number}, which is not a finite number")


@dataclass(kw_only=True)
class Search:
    """Base of the ``search`` group.

    A search sees one *study* at a time: the planned points of one server that differ in nothing but the keys that the
    search ``varies`` (and in ``repeat``), with the points that it has asked for. A sweep over two datasets with a
    search that varies ``qps`` holds two studies for each server, and gets an answer to each.
    """

    max_points: int = knob(100, "most points that the search may add to one study; more is an error", unit="points")

    #: Keys that the search varies. Planned points get an override for each, so that every outcome says its value.
    varies: ClassVar[tuple[str, ...]] = ()
    #: Whether the search may add points at all.
    adds_points: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.max_points, int) and self.max_points < 1:
            raise ConfigError(f"search.max_points={self.max_points} must be at least 1")

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        """The points to measure next; empty when the search is done.

        points: the planned points of the study. outcomes: theirs, then those of the points that the search asked for,
        in the order in which they were measured. Each item of the answer is added to the overrides of ``points[0]``,
        and replaces overrides of the same keys. To measure a point once more, ask for another ``repeat=N``.
        """
        raise NotImplementedError

    def answer(self, outcomes: Sequence[Outcome]) -> Answer | None:
        """What was found, once ``next`` has returned nothing; None where there is nothing to tell."""
        return None
