"""The report on a suite: how its experiments ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ExperimentOutcome:
    """How an experiment ended. counts: the number of results of each verdict, and of failed ones."""

    name: str
    directory: Path
    exit_code: int
    wall_s: float
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """The outcomes of the experiments that have ended. planned: the number of all experiments."""

    outcomes: Sequence[ExperimentOutcome]
    planned: int
