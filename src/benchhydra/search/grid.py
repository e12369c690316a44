"""No search: the planned points, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence

from benchhydra.points import Outcome, PlannedPoint
from benchhydra.registry import option
from benchhydra.search import Overrides, Search


@option("search", "grid")
class Grid(Search):
    """The points of the command line's axes, and nothing more."""

    adds_points = False

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        return ()
