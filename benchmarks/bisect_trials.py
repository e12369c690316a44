"""Simulate bisections with a known first bad build: how often the answer is wrong, and how many runs it takes.

Prints a table of docs/bisect.md: ``python benchmarks/bisect_trials.py [bisections]``. 63 builds between a good and a
bad one, which 6 tests decide; one of them, drawn at random, makes the metric worse. Runs have independent noise,
unless the table says otherwise. Only the steps are simulated: the test of good against bad before them, and that of the
last good against the first bad build after them, can only refuse an answer.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.bisection import Bisection, BuildVerdict
from benchhydra.analysis.build_test import BuildTest
from benchhydra.commands.bisect import MOST_ROUNDS

BUILDS, ERROR, SEED = 65, 0.05, 2026
#: (slowdown, noise of a run, kind of noise, fraction of builds that cannot be made)
SCENARIOS = (
    (0.05, 0.02, "independent", 0.0),
    (0.05, 0.02, "heavy tails", 0.0),
    (0.05, 0.02, "outlier runs", 0.0),
    (0.05, 0.02, "independent", 0.2),
    (0.03, 0.02, "independent", 0.0),
    (0.10, 0.02, "independent", 0.0),
    (0.02, 0.02, "independent", 0.0),
)


class Trial(NamedTuple):
    """One bisection: whether its answer excludes the truth, whether it names one build, and what it took."""

    wrong: bool
    is_range: bool
    steps: int
    runs: int


def noise_of_runs(rng: np.random.Generator, kind: str, noise: float) -> tuple[float, float, float]:
    """The deviations of the three runs of a round, as logs."""
    z = rng.standard_normal(3)
    if kind == "heavy tails":
        z = z / np.sqrt(rng.chisquare(4, 3) / 2)
    if kind == "outlier runs":
        z = z + (rng.random(3) < 0.05) * rng.uniform(3, 10, 3)
    good, tested, bad = z * noise
    return float(good), float(tested), float(bad)


def bisect(rng: np.random.Generator, slowdown: float, noise: float, kind: str, unusable: float) -> Trial:
    """Bisect once."""
    truth = int(rng.integers(1, BUILDS))
    cannot_be_made = rng.random(BUILDS) < unusable
    bisection, runs, steps = Bisection(builds=BUILDS, error=ERROR), 0, 0
    while (build := bisection.next_build()) is not None:
        if cannot_be_made[build]:
            bisection.decide(build, BuildVerdict.SKIPPED)
            continue
        test = BuildTest(error=bisection.next_error(), bad_is_larger=True)
        level = math.log1p(slowdown)
        steps += 1
        while test.verdict() is None and len(test.rounds) < MOST_ROUNDS:
            good, tested, bad = noise_of_runs(rng, kind, noise)
            test.add(good, tested + level * (build >= truth), bad + level)
        runs += 3 * len(test.rounds)
        bisection.decide(build, test.verdict() or BuildVerdict.SKIPPED)
    suspects = bisection.suspects
    return Trial(truth not in suspects, len(suspects) > 1, steps, runs)


def row(number: int, trials: int) -> str:
    """A row of the table."""
    slowdown, noise, kind, unusable = SCENARIOS[number]
    rng = np.random.default_rng([SEED, number])
    results = [bisect(rng, slowdown, noise, kind, unusable) for _ in range(trials)]
    wrong = float(np.mean([trial.wrong for trial in results]))
    is_range = float(np.mean([trial.is_range for trial in results]))
    steps = float(np.median([trial.steps for trial in results]))
    runs = np.quantile([trial.runs for trial in results], [0.5, 0.9])
    return (
        f"| {slowdown:.0%} | {noise:.0%}, {kind} | {unusable:.0%} | {wrong:.1%} | {is_range:.1%} "
        f"| {steps:.0f} | {runs[0]:.0f} ({runs[1]:.0f}) |"
    )


def main(trials: int) -> None:
    """Print the table."""
    print("| slowdown | noise of a run | builds skipped | wrong | a range of builds | tests | runs, median (90 %) |")
    print("|--:|---|--:|--:|--:|--:|--:|")
    for number in range(len(SCENARIOS)):
        print(row(number, trials), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
