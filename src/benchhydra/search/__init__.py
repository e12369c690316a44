"""Searches: decide from the outcomes so far which points are measured after the planned ones.

A search is one file: a dataclass with ``next``, which returns the points to measure next, and, if it looks for a value,
``answer``. Both are pure functions of the outcomes: a resumed sweep calls them with the outcomes that it already has,
gets the same points, and continues after them. The points are ordinary points: each has a result, a verdict and a run
in the tracker, and is measured on the group's running server.
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
    """The answer of a search: a value, the bounds of its interval (None: unknown), and their unit.

    name: what the value is, if the unit does not tell. limited_by: the limit that keeps the value from being better,
    as text. probes: the number of measured points behind it. Raises ConfigError for a number that is not finite.
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

    A search gets one *study* at a time: the planned points of one server that differ only in the keys that the search
    ``varies`` (and in ``repeat``), and the points that it has asked for. A sweep over two datasets with a search that
    varies ``qps`` has two studies on each server, and an answer to each.
    """

    max_points: int = knob(100, "most points that the search may add to one study; more is an error", unit="points")
    disturbed_repeats: int = knob(
        2, "how often a probe that the load generator disturbed is measured again, in a search for a limit"
    )

    #: Keys that the search varies. Planned points get an override for each, so that every outcome has its value.
    varies: ClassVar[tuple[str, ...]] = ()
    #: Whether the search may add points at all.
    adds_points: ClassVar[bool] = True
    #: Whether the search looks for a limit of the server. An INVALID point is then no failure of the sweep: an overload
    #: is a finding, and a point that the load generator disturbed is measured again. ``search/probe_faults.py``.
    finds_limits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.max_points, int) and self.max_points < 1:
            raise ConfigError(f"search.max_points={self.max_points} must be at least 1")
        if isinstance(self.disturbed_repeats, int) and self.disturbed_repeats < 0:
            raise ConfigError(f"search.disturbed_repeats={self.disturbed_repeats} must be at least 0")

    def metrics_read(self) -> dict[str, str | None]:
        """The metrics that the search reads, by the key that names them (None: not set): ``search.ci``."""
        return {}

    def use_history(self, answers: Sequence[Answer]) -> None:
        """Take earlier answers to the same question, the newest first: a place to begin. Called before ``next``."""

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        """The points to measure next; empty when the search is done.

        points: the planned points of the study. outcomes: theirs, then those of the points that the search asked for,
        in the order in which they were measured. Each returned item is a list of overrides: they are added to those of
        ``points[0]`` and replace overrides of the same keys. To measure a point again, ask for another ``repeat=N``.
        """
        raise NotImplementedError

    def answer(self, outcomes: Sequence[Outcome]) -> Answer | None:
        """The answer, once ``next`` has returned nothing; None if the search has none."""
        return None
