"""No search: only the planned points are measured."""

from __future__ import annotations

from collections.abc import Sequence

from benchhydra.points import Outcome, PlannedPoint
from benchhydra.registry import option
from benchhydra.search import Overrides, Search


@option("search", "grid")
class Grid(Search):
    """Only the points of the command line's axes."""

    adds_points = False

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        return ()
