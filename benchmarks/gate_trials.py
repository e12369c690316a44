"""Gates on simulated histories whose truth is known: how often they are wrong. Writes the table of docs/statistics.md.

30 metrics, 20 runs of history, 5 runs a side, up to three rounds of 5 re-runs; the noise of the slowed metric is 2 %
(standard deviation over runs), of the others 0.5 to 8 %. One slowdown of 5 %. ``python benchmarks/gate_trials.py``.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np

from benchhydra.analysis import stats
from benchhydra.analysis.gate import LET_GO, SCREEN, SPENDING
from benchhydra.analysis.stats import Floats

METRICS, HISTORY, REPEATS, NOISE, SLOWDOWN, SMALLEST, ALPHA = 30, 20, 5, 0.02, 0.05, 0.02, 0.01
#: Standard deviation of a unit normal with outlier runs (5 %, 3 to 10 sigma, in 70 % of metrics).
OUTLIER_SPREAD = 1.57
KINDS = ("independent", "correlated", "heavy tails", "outlier runs", "correlated heavy outlier runs", "outliers on top")


class Score(NamedTuple):
    """Shares of gates: false alarms, slowdowns found, identical builds that needed re-runs; re-runs a gate of
    identical builds, those that needed none among them."""

    false_alarms: float
    found: float
    to_confirm: float
    reruns: float


def noise(kind: str, gates: int, runs: int, rng: np.random.Generator) -> Floats:
    """Deviations in standard deviations, shape (gates, METRICS, runs)."""
    shape = (gates, METRICS, runs)
    z = rng.standard_normal(shape)
    if "correlated" in kind:
        shared = rng.standard_normal((gates, 3, runs))[:, np.arange(METRICS) % 3]
        z = 0.85 * shared + math.sqrt(1 - 0.85**2) * z
    if "heavy" in kind:
        z = z / np.sqrt(rng.chisquare(4, shape) / 2)
    if "outlier" in kind:
        hit = (rng.random((gates, 1, runs)) < 0.05) & (rng.random((gates, METRICS, 1)) < 0.7)
        z = z + hit * rng.uniform(3, 10, (gates, 1, runs))
        z = z if kind == "outliers on top" else z / OUTLIER_SPREAD
    return np.asarray(z)


def two_stage(base: Floats, rounds: list[Floats], others: list[Floats]) -> tuple[Floats, Floats]:
    """Alarms (gates, METRICS) and re-runs (gates,) of the two-stage gate; rounds[0] are the candidate's own runs."""
    smallest, candidate = math.log1p(SMALLEST), rounds[0]
    first = stats.compare(base, candidate, others)
    open_ = (stats.upper_tail(first.t, first.freedom) < SCREEN) & (first.difference > smallest)
    alarms, reruns = np.zeros_like(open_), np.zeros(len(base))
    for share, more in zip(SPENDING, rounds[1:], strict=True):
        reruns += more.shape[-1] * open_.any(axis=1)
        candidate = np.concatenate([candidate, more], axis=-1)
        found = stats.compare(base, candidate, others)
        p, big = stats.upper_tail(found.t, found.freedom), found.difference > smallest
        sure = open_ & big & (p < share * ALPHA / METRICS)
        alarms |= sure
        open_ &= big & (p < LET_GO) & ~sure
    return alarms, reruns


def trial(kind: str, gates: int, *, against_history: bool = False, seed: int = 1) -> Score:
    """The two-stage gate on ``gates`` pairs of identical builds, and on as many with one metric slowed."""
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.uniform(math.log(0.005), math.log(0.08), METRICS))
    spread[0] = NOISE
    draws = [noise(kind, gates, n, rng) * spread[:, None] for n in (HISTORY, REPEATS, *[REPEATS] * (1 + len(SPENDING)))]
    base, others, rounds = (draws[0], [], draws[2:]) if against_history else (draws[1], [draws[0]], draws[2:])
    same, reruns = two_stage(base, rounds, others)
    for runs in rounds:
        runs[:, 0] += math.log1p(SLOWDOWN)
    slowed, _ = two_stage(base, rounds, others)
    return Score(same.any(axis=1).mean(), slowed[:, 0].mean(), (reruns > 0).mean(), reruns.mean())


def one_against_one(kind: str, gates: int, seed: int = 1) -> Score:
    """The rule "one run against the previous one, alarm above 110 %"."""
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.uniform(math.log(0.005), math.log(0.08), METRICS))
    spread[0] = NOISE
    difference = (noise(kind, gates, 1, rng) - noise(kind, gates, 1, rng))[..., 0] * spread
    limit = math.log(1.1)
    found = difference[:, 0] + math.log1p(SLOWDOWN) > limit
    return Score((difference > limit).any(axis=1).mean(), found.mean(), 0.0, 0.0)


def main(gates: int) -> None:
    """Print the table."""
    columns = ("noise", "rule", "false alarms", "5 % found", "identical builds measured again")
    print(f"| {' | '.join(columns)} | re-runs a gate of identical builds, mean |")
    print("|---|---|--:|--:|--:|--:|")
    for kind in KINDS:
        rows = {
            "5 against 5": trial(kind, gates),
            "5 against history": trial(kind, gates, against_history=True),
            "1 against 1 at 110 %": one_against_one(kind, gates),
        }
        for rule, s in rows.items():
            shares = f"{s.false_alarms:.2%} | {s.found:.1%} | {s.to_confirm:.0%} | {s.reruns:.1f}"
            print(f"| {kind} | {rule} | {shares} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
