"""Simulate A/B tests with a known difference: how often they are wrong, and how many pairs they take.

Prints a table of docs/statistics.md: ``python benchmarks/ab_trials.py [tests]``. Four main metrics with 2 % run-to-run
noise, at most 40 pairs, 1 % chance of a false alarm. False alarms: fraction of tests of identical builds that ever call
a main metric better or worse (checked after every pair). Found: fraction of tests that call the slowed metric worse.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from benchhydra.analysis.stats import Floats, sequential
from benchhydra.analysis.stats.power import pairs_needed
from benchhydra.analysis.stats.sequential import PAIR_SCALE
from benchhydra.analysis.thresholds import Thresholds

METRICS, PAIRS, NOISE, SEED = 4, 40, 0.02, 2026
ALPHA, SMALLEST = Thresholds().alpha, math.log1p(Thresholds().min_effect_percent / 100)
KINDS = ("independent", "correlated", "heavy tails", "outlier runs", "drift")
SLOWDOWNS_PERCENT = (3, 5, 10)


def noise(kind: str, tests: int, rng: np.random.Generator) -> Floats:
    """Deviations of runs, shape (tests, METRICS, PAIRS)."""
    shape = (tests, METRICS, PAIRS)
    z = rng.standard_normal(shape)
    if kind == "correlated":
        z = 0.85 * rng.standard_normal((tests, 1, PAIRS)) + math.sqrt(1 - 0.85**2) * z
    if kind == "heavy tails":
        z = z / np.sqrt(rng.chisquare(4, shape) / 2)
    if kind == "outlier runs":
        z = z + (rng.random((tests, 1, PAIRS)) < 0.05) * rng.uniform(3, 10, (tests, 1, PAIRS))
    return np.asarray(z * NOISE)


def pairs_of(kind: str, tests: int, rng: np.random.Generator) -> Floats:
    """Differences B - A of identical builds; with "drift", the machine gets 10 % slower over the test."""
    a, b = noise(kind, tests, rng), noise(kind, tests, rng)
    if kind == "drift":
        a_first = rng.random((tests, 1, PAIRS)) < 0.5
        b = b + np.where(a_first, 1, -1) * math.log1p(0.1) / (2 * PAIRS)
    return b - a


def first_alarm(differences: Floats, *, both_directions: bool) -> Floats:
    """Number of pairs after which each test (first axis) first decides; inf: never. ``differences``: (tests, PAIRS)."""
    count = np.arange(1, PAIRS + 1)
    sums, squares = np.cumsum(differences, axis=-1), np.cumsum(differences**2, axis=-1)
    variance = np.maximum(squares - sums**2 / count, 1e-12) / np.maximum(count - 1, 1)
    above = np.cumsum(differences > 0, axis=-1)
    first_pairs = np.full(len(differences), math.inf)
    for i in range(2, PAIRS):
        t = sums[:, i] / np.sqrt(variance[:, i] * count[i])
        signs = np.array([sequential.log_sign_evidence(k, i + 1) for k in range(i + 2)])[above[:, i]]
        limit = ALPHA / METRICS / 2
        sure = (np.abs(t) > sequential.critical_t(i + 1, limit)) | (signs >= -math.log(limit))
        for test in np.flatnonzero(sure & np.isinf(first_pairs)):
            change = sequential.hodges_lehmann(differences[test, : i + 1])
            if (abs(change) if both_directions else change) > SMALLEST:
                first_pairs[test] = i + 1
    return first_pairs


def row(kind: str, tests: int) -> str:
    """A row of the table."""
    rng = np.random.default_rng([SEED, KINDS.index(kind)])
    identical = pairs_of(kind, tests, rng)
    alarms = [np.isfinite(first_alarm(identical[:, metric], both_directions=True)) for metric in range(METRICS)]
    cells = [f"{np.any(alarms, axis=0).mean():.2%}"]
    for percent in SLOWDOWNS_PERCENT:
        slowed = pairs_of(kind, tests, rng)[:, 0] + math.log1p(percent / 100)
        alarm = first_alarm(slowed, both_directions=False)
        pairs = np.minimum(alarm, PAIRS)
        cells.append(f"{np.isfinite(alarm).mean():.1%}, {np.median(pairs):.0f} ({np.quantile(pairs, 0.8):.0f})")
    return f"| {kind} | {' | '.join(cells)} |"


def main(tests: int) -> None:
    """Print the table, with the numbers of pairs that the planner predicts."""
    planned = [pairs_needed(PAIR_SCALE * NOISE, math.log1p(p / 100), ALPHA / METRICS) for p in SLOWDOWNS_PERCENT]
    print(f"| noise | false alarms | {' | '.join(f'{p} % found, pairs' for p in SLOWDOWNS_PERCENT)} |")
    print(f"|---|--:|{'--:|' * len(planned)}")
    print(f"| the plan says | | {' | '.join(f'{pairs}' for pairs in planned)} |")
    for kind in KINDS:
        print(row(kind, tests), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
