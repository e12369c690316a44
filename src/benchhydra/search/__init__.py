"""Searches: decide from the outcomes so far which points are measured after the planned ones.

A search is one file: a dataclass with ``next``, which returns the points to measure next, and, if it looks for a value,
``answer``. Both are pure functions of the outcomes: a resumed sweep calls them with the outcomes that it already has,
gets the same points, and continues after them. The points are ordinary points: each has a result, a verdict and a run
in the tracker, and is measured on the group's running server.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import ClassVar

from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint
from benchhydra.registry import knob
from benchhydra.search.answer import Answer, Figure, Fit, ProbeFinding

__all__ = ["Answer", "Figure", "Fit", "Overrides", "ProbeFinding", "Search"]

#: The overrides that a search gives a point, such as ``("qps=7.5",)``.
Overrides = Sequence[str]


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

    history: bool = knob(True, "a search for a limit begins where earlier sweeps found it, in the same tree of outputs")

    #: Whether the search reads ratios to the limits of ``slo`` that have samples; without one nothing is started.
    needs_slo: ClassVar[bool] = False
    #: Whether the search needs a load of single requests at a rate: sessions are none.
    needs_open_loop: ClassVar[bool] = False
    #: Whether the search may add points at all.
    adds_points: ClassVar[bool] = True
    #: Whether the points that the search asks for need other servers: then the sweep runs its trials, a group each.
    spans_servers: ClassVar[bool] = False
    #: Whether the search looks for a limit of the server. An INVALID point is then no failure of the sweep: an overload
    #: is a finding, and a point that the load generator disturbed is measured again. ``search/probe_faults.py``.
    finds_limits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.max_points, int) and self.max_points < 1:
            raise ConfigError(f"search.max_points={self.max_points} must be at least 1")
        if isinstance(self.disturbed_repeats, int) and self.disturbed_repeats < 0:
            raise ConfigError(f"search.disturbed_repeats={self.disturbed_repeats} must be at least 0")

    @property
    def varies(self) -> tuple[str, ...]:
        """Keys that the search varies. Planned points get an override for each, so that every outcome has its value."""
        return ()

    def first_point(self, keys: Set[str]) -> Overrides:
        """Further overrides of the planned points, so that a search can begin with a point of its own choice.

        keys: those that the overrides of the point set already.
        """
        return ()

    def metrics_read(self) -> dict[str, str | None]:
        """The metrics that the search reads, by the key that names them (None: not set): ``search.ci``."""
        return {}

    def use_history(self, answers: Sequence[Answer]) -> None:
        """Take earlier answers to the same question, the newest first: a place to begin. Called before ``next``."""

    def progress_words(self, outcomes: Sequence[Outcome]) -> str:
        """What is known so far, for the progress line of the next point: ``between 12 and 16 requests/s``."""
        return ""

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
