"""The experiments of a suite as they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ExperimentOutcome:
    """How an experiment ended: its exit code, and its results counted by verdict."""

    name: str
    directory: Path
    exit_code: int
    wall_s: float
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """The experiments that have ended, of so many."""

    outcomes: Sequence[ExperimentOutcome]
    planned: int
