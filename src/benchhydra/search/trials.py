"""The trials of ``search=optimize`` as plain values: what was set, what came out, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from benchhydra.result import Better

#: The objective that is not a metric: the answer of ``search=capacity`` in each trial.
CAPACITY = "capacity"
#: The status of a trial that the load generator disturbed every time: it says nothing about its configuration.
DISTURBED = "disturbed"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is optimized: a metric, or ``capacity``."""

    name: str
    unit: str
    better: Better

    @property
    def sign(self) -> int:
        """1 if larger values are better, -1 if smaller ones are."""
        return 1 if self.better is Better.BIGGER else -1


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The value of an objective in one trial, and the ends of its 95 % interval (None: unknown)."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration that was tried.

    status: ok; cut (stopped early, because it cannot beat a better trial); infeasible (it does not start, runs out of
    memory, or misses a limit); ``DISTURBED``. reason: of all but ok, in words. settings: value of each key of the
    space; empty for the default. estimates: one an objective; empty if nothing was measured. values: the measurements
    behind them, one tuple an objective. violation: by how much a limit is missed, as the log of the ratio; 0: none is.
    """

    number: int
    settings: Mapping[str, Any]
    status: str
    reason: str = ""
    estimates: tuple[Estimate, ...] = ()
    values: tuple[tuple[float, ...], ...] = ()
    violation: float = 0.0
    directory: str = ""
    points: int = 0

    def to_json(self) -> dict[str, Any]:
        """The trial as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        estimates = tuple(Estimate(**estimate) for estimate in data["estimates"])
        values = tuple(tuple(of_objective) for of_objective in data["values"])
        return cls(**{**data, "estimates": estimates, "values": values})
