"""What an A/B test will take: changes and the pairs they take, by the noise of history or of the first pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.stats import robust
from benchhydra.analysis.stats.power import pairs_needed
from benchhydra.analysis.stats.sequential import PAIR_SCALE
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.artifacts import RESULT_FILE, read_json_or_none

#: Changes that a plan speaks of, in percent: beyond the smallest that a main metric is judged by.
EFFECTS_PERCENT = (3, 5, 10)
#: So many newest runs say how long one takes; the longest has its server's start in it.
TIMED_RUNS = 5


@dataclass
class PowerPlan:
    """What history says about the points of both sides on a kind of machine."""

    history: Runs
    machine: str
    point_keys: Sequence[str]

    @cached_property
    def noise_model(self) -> NoiseModel:
        """The noise of all of history."""
        return NoiseModel(self.history.runs)

    def noise(self, thresholds: Thresholds, main_patterns: Sequence[str]) -> dict[str, float]:
        """Run-to-run noise of the log of each main metric: that of the noisier point. Unknown ones are absent."""
        keys = [
            key
            for key, kind in self.history.kinds.items()
            if thresholds.is_main(key, main_patterns) and thresholds.judges(key, kind.better)
        ]
        scales = {key: [s for point_key in self.point_keys if (s := self._scale(point_key, key))] for key in keys}
        return {key: max(of_points) for key, of_points in scales.items() if of_points}

    def _scale(self, point_key: str, metric: str) -> float | None:
        groups = self.noise_model.groups(self.machine, [point_key], metric)
        prior = self.noise_model.prior(self.machine, [point_key], metric)
        if groups:
            return float(robust.scale(groups, robust.lent_by(prior, groups)))
        return float(prior.scale) if prior else None

    def pair_s(self) -> float | None:
        """Time of a pair; None where a side has never run here."""
        runs = [self.noise_model.of_point(self.machine, key)[-TIMED_RUNS:] for key in self.point_keys]
        times_s = [[wall_s for run in side if (wall_s := _wall_s(run)) is not None] for side in runs]
        return sum(max(side) for side in times_s) if all(times_s) else None


def _wall_s(run: Run) -> float | None:
    """How long a run took; None where its file is gone since it was read: the time is only for an estimate."""
    file = run.file(RESULT_FILE)
    result = read_json_or_none(file) if file else None
    wall_s = result.get("wall_s") if result else None
    return float(wall_s) if isinstance(wall_s, (int, float)) else None


def plan_lines(noise: Mapping[str, float], alpha: float, pair_s: float | None) -> list[str]:
    """A line a main metric: which change takes how many pairs, and how long, at a run-to-run noise of the log."""
    return [
        f"{key} (noise {scale * 100:.1f} % a run): "
        + ", ".join(_cost(percent, scale, alpha / len(noise), pair_s) for percent in EFFECTS_PERCENT)
        for key, scale in noise.items()
    ]


def _cost(percent: int, scale: float, alpha: float, pair_s: float | None) -> str:
    pairs = pairs_needed(PAIR_SCALE * scale, math.log1p(percent / 100), alpha)
    if pairs is None:
        return f"{percent} % more than 1000 pairs"
    return f"{percent} % {pairs} pairs" + (f" ({_duration(pairs * pair_s)})" if pair_s else "")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
