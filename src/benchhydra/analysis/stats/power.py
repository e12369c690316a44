"""What an A/B test will take: changes and the pairs they take, by the noise of history or of the first pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.stats import robust
from benchhydra.analysis.stats.change_points import NoiseModel
from benchhydra.analysis.stats.sequential import PAIR, pairs_needed
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.artifacts import RESULT_FILE

#: Changes that a plan speaks of, in percent: beyond the smallest that a main metric is judged by.
EFFECTS_PERCENT = (3, 5, 10)
#: So many newest runs say how long one takes; the longest has its server's start in it.
TIMED_RUNS = 5


def is_main(key: str, thresholds: Thresholds, wanted: Sequence[str]) -> bool:
    """Whether a metric is one of the main ones: ``wanted`` patterns, or those of the thresholds."""
    return any(fnmatchcase(key, pattern) for pattern in wanted or thresholds.main)


@dataclass
class PowerPlan:
    """What history says about two points on a kind of machine."""

    history: Runs
    machine: str
    point_keys: Sequence[str]

    @cached_property
    def floor(self) -> NoiseModel:
        return NoiseModel(self.history.runs)

    def noise(self, thresholds: Thresholds, wanted: Sequence[str]) -> dict[str, float]:
        """Run-to-run noise of the log of the main metrics: of the noisier point; empty where nothing is known."""
        keys = [
            key
            for key, kind in self.history.kinds.items()
            if is_main(key, thresholds, wanted) and thresholds.judges(key, kind.better)
        ]
        known = {key: [s for point in self.point_keys if (s := self._scale(point, key)) is not None] for key in keys}
        return {key: max(scales) for key, scales in known.items() if scales}

    def _scale(self, point_key: str, metric: str) -> float | None:
        groups = self.floor.groups(self.machine, point_key, metric)
        prior = self.floor.prior(self.machine, point_key, metric)
        if groups:
            return float(robust.scale(groups, prior))
        return prior.scale if prior else None

    def pair_s(self) -> float | None:
        """Time of a pair; None where a side has never run here."""
        runs = [self.floor.of_point(self.machine, key)[-TIMED_RUNS:] for key in self.point_keys]
        times = [[s for run in side if (s := _wall_s(run)) is not None] for side in runs]
        return sum(max(side) for side in times) if all(times) else None


def _wall_s(run: Run) -> float | None:
    try:
        data = json.loads((run.directory / RESULT_FILE).read_bytes()) if run.directory else {}
    except (OSError, json.JSONDecodeError):  # it is gone since it was read: its time is only for an estimate
        return None
    found = data.get("wall_s")
    return float(found) if isinstance(found, (int, float)) else None


def plan_lines(noise: Mapping[str, float], alpha: float, pair_s: float | None) -> list[str]:
    """A line a main metric: which change takes how many pairs, and how long, at a run-to-run noise of the log."""
    told = []
    for key, scale in noise.items():
        parts = [_takes(percent, scale, alpha / len(noise), pair_s) for percent in EFFECTS_PERCENT]
        told.append(f"{key} (noise {scale * 100:.1f} % a run): {', '.join(parts)}")
    return told


def _takes(percent: int, scale: float, alpha: float, pair_s: float | None) -> str:
    pairs = pairs_needed(PAIR * scale, math.log1p(percent / 100), alpha)
    if pairs is None:
        return f"{percent} % more than 1000 pairs"
    return f"{percent} % {pairs} pairs" + (f" ({_duration(pairs * pair_s)})" if pair_s else "")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
