"""The test of one build against a good and a bad one: rounds of three runs until it differs surely from one of them.

A build is taken to be as fast as the good one or as the bad one. It is bad once it differs surely from the good one,
and good once it differs surely from the bad one. Both use the interval of an A/B test (stats/sequential.py), which
holds after every round; so each verdict is wrong with a chance of at most ``error``. A round has its runs close in
time and in random order, so that slow drift affects all three alike, and noise is as likely above as below: a wrong
verdict needs the interval's one end, which is passed half as often as either of the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from benchhydra.analysis.bisection import BuildVerdict
from benchhydra.analysis.stats import Floats
from benchhydra.analysis.stats.sequential import ConfidenceInterval, confidence_interval, hodges_lehmann


@dataclass(kw_only=True)
class BuildTest:
    """The rounds of one build. error: the chance of a wrong verdict. bad_is_larger: whether bad builds have the larger
    values.

    rounds: the logs of the metric in each round: of the good build, of the tested one, of the bad one.
    """

    error: float
    bad_is_larger: bool
    rounds: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, good: float, tested: float, bad: float) -> None:
        """Add a round: the logs of the metric."""
        self.rounds.append((good, tested, bad))

    def verdict(self) -> BuildVerdict | None:
        """GOOD or BAD; None as long as the build may be either."""
        if not self.rounds:
            return None
        to_good, to_bad = self.distances()
        differs_from_good = self.to_good().low > 0
        differs_from_bad = self.to_bad().low > 0
        if not differs_from_good and not differs_from_bad:
            return None
        if differs_from_good and differs_from_bad:  # between the two: it is called what it is nearer to
            return BuildVerdict.BAD if to_bad < to_good else BuildVerdict.GOOD
        return BuildVerdict.BAD if differs_from_good else BuildVerdict.GOOD

    def to_good(self) -> ConfidenceInterval:
        """How much worse the build is than the good one: a difference of logs, above 0 for worse."""
        return confidence_interval(self._worse(1, 0), 2 * self.error)

    def to_bad(self) -> ConfidenceInterval:
        """How much better the build is than the bad one: a difference of logs, above 0 for better."""
        return confidence_interval(self._worse(2, 1), 2 * self.error)

    def distances(self) -> tuple[float, float]:
        """The middles of ``to_good`` and ``to_bad``."""
        return hodges_lehmann(self._worse(1, 0)), hodges_lehmann(self._worse(2, 1))

    def ratios(self) -> tuple[float, float]:
        """How much worse than the good, and how much better than the bad build, in the metric's own direction: 0.05
        for 5 %.
        """
        to_good, to_bad = self.distances()
        return math.expm1(to_good), math.expm1(to_bad)

    def _worse(self, column: int, than: int) -> Floats:
        logs = np.array(self.rounds)
        differences: Floats = logs[:, column] - logs[:, than]
        return differences if self.bad_is_larger else -differences
