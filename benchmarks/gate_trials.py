"""Simulate gates with a known difference: how often they are wrong. Prints a table of docs/statistics.md.

20 runs of history, 5 runs per side, up to three rounds of re-runs (5, 10, 20). False alarms: fraction of gates on
identical builds that report any metric. Found: fraction of gates that report a 5 % slowdown of one metric whose
run-to-run noise is 2 % (standard deviation), each metric in turn.

    python benchmarks/gate_trials.py [--gates 6000] [--seed 2028]    noise from distributions, 30 metrics of 0.5 to 8 %
    python benchmarks/gate_trials.py --runs DIR [--runs DIR ...]     noise resampled from recorded runs of one point
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.gate import LET_GO, SCREEN, SPENDING
from benchhydra.analysis.history_gate import SPENDING_AGAINST_HISTORY
from benchhydra.analysis.pairing import usable_runs
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.stats import Floats, outliers, robust, student_t
from benchhydra.analysis.thresholds import Thresholds, read_thresholds

METRICS, HISTORY, REPEATS, NOISE, SLOWDOWN = 30, 20, 5, 0.02, 0.05
ALPHA, SMALLEST = Thresholds().alpha, math.log1p(Thresholds().min_effect_percent / 100)
#: Runs of the candidate that each round adds: as in the gate, every round doubles them.
ROUNDS = [REPEATS * 2**i for i in range(len(SPENDING))]
#: Standard deviation of a unit normal with outlier runs (5 %, 3 to 10 sigma, in 70 % of metrics).
OUTLIER_SCALE = 1.57
KINDS = ("independent", "correlated", "heavy tails", "outlier runs", "correlated heavy outlier runs", "outliers on top")
#: Limits were chosen on seed 11; the table is made with this one.
SEED = 2028
BLOCK = 500

#: (gates, runs, generator) -> deviations of the log in standard deviations, shape (gates, metrics, runs)
Draw = Callable[[int, int, np.random.Generator], Floats]


class NoiseSource(NamedTuple):
    """A source of noise, and the standard deviation of each metric's log, shape (metrics,)."""

    draw: Draw
    scale: Floats


class Score(NamedTuple):
    """Fractions of gates: false alarms, slowdowns found, identical builds that needed re-runs. reruns: mean number of
    re-runs per gate of identical builds, those that needed none included."""

    false_alarms: float
    found: float
    to_confirm: float
    reruns: float


class GateLogs(NamedTuple):
    """Logs of many gates: history, base, and the candidate's runs round by round; each (gates, metrics, runs)."""

    history: Floats
    base: Floats
    rounds: list[Floats]


def simulated(kind: str, rng: np.random.Generator) -> NoiseSource:
    """Noise from distributions, with a standard deviation between 0.5 and 8 % for each metric."""
    scale = np.exp(rng.uniform(math.log(0.005), math.log(0.08), METRICS))
    return NoiseSource(lambda gates, runs, rng: noise(kind, gates, runs, rng), scale)


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
        z = z if kind == "outliers on top" else z / OUTLIER_SCALE
    return np.asarray(z)


def recorded(directory: str, *, whole: bool, invalid_too: bool = False) -> NoiseSource:
    """Noise resampled from runs of one point: whole runs, which keeps correlations, or each metric independently."""
    source, thresholds = read_runs(directory), read_thresholds()
    runs = [run for run in source.runs if run.status == "ok"] if invalid_too else usable_runs(source.runs)
    keys = [
        key
        for key, kind in source.kinds.items()
        if thresholds.judges(key, kind.better) and all(run.metrics.get(key, 0) > 0 for run in runs)
    ]
    logs = np.log([[run.metrics[key] for run in runs] for key in keys])
    logs = logs[logs.std(axis=1) > robust.SMALLEST_SCALE]
    scale = logs.std(axis=1, ddof=1)
    units = (logs - np.median(logs, axis=1, keepdims=True)) / scale[:, None]

    def draw(gates: int, count: int, rng: np.random.Generator) -> Floats:
        shape = (gates, 1 if whole else len(units), count)
        which = np.broadcast_to(rng.integers(0, units.shape[1], shape), (gates, len(units), count))
        return np.asarray(units[np.arange(len(units))[:, None], which])

    print(f"{directory}: {len(runs)} of {len(source.runs)} runs, {len(units)} metrics", flush=True)
    return NoiseSource(draw, scale)


def evidence(base: Floats, candidate: Floats, others: list[Floats]) -> tuple[Floats, Floats]:
    """Differences and one-sided p, shape (gates, metrics), without outlier runs, as ``analysis.compare`` does it."""
    groups = [base, candidate, *others]
    scales = outliers.outlier_scales(groups)
    outlier_flags = [outliers.outlier_runs(group, scales) for group in groups]
    outliers_last = [np.argsort(flags, axis=-1, kind="stable")[:, None] for flags in outlier_flags]
    groups = [np.take_along_axis(group, order, axis=-1) for group, order in zip(groups, outliers_last, strict=True)]
    counts = np.stack([(~flags).sum(axis=-1) for flags in outlier_flags], axis=1)
    difference, p = np.empty(base.shape[:2]), np.empty(base.shape[:2])
    for runs_left in np.unique(counts, axis=0):
        gates = (counts == runs_left).all(axis=1)
        left, right, *more = [group[gates, :, :n] for group, n in zip(groups, runs_left, strict=True)]
        change = robust.compare_samples(left, right, more)
        difference[gates], p[gates] = change.difference, student_t.upper_tail(change.t, change.freedom)
    return difference, p


def two_stage(
    base: Floats, rounds: list[Floats], others: list[Floats], spending: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Alarms (gates, metrics) and re-runs (gates,) of the two-stage gate; rounds[0] are the candidate's own runs."""
    gates, metrics = base.shape[:2]
    alarms, reruns = np.zeros((gates, metrics), dtype=bool), np.zeros(gates)
    difference, p = evidence(base, rounds[0], others)
    suspects = (p < SCREEN) & (difference > SMALLEST)
    for i, fraction in enumerate(spending, start=1):
        rerun = np.flatnonzero(suspects.any(axis=1))
        if not len(rerun):
            break
        reruns[rerun] += rounds[i].shape[-1]
        candidate = np.concatenate([more[rerun] for more in rounds[: i + 1]], axis=-1)
        difference, p = evidence(base[rerun], candidate, [other[rerun] for other in others])
        slower = suspects[rerun] & (difference > SMALLEST)
        sure = slower & (p < fraction * ALPHA / metrics)
        alarms[rerun] |= sure
        suspects[rerun] = slower & (p < LET_GO) & ~sure
    return alarms, reruns


def blocks(
    make: Callable[[np.random.Generator], NoiseSource], gates: int, seed: list[int]
) -> Iterator[tuple[GateLogs, Floats]]:
    """Identical builds, a block of gates at a time, and each metric's standard deviation."""
    rng = np.random.default_rng(seed)
    for start in range(0, gates, BLOCK):
        count = min(BLOCK, gates - start)
        source = make(rng)
        sizes = (HISTORY, REPEATS, REPEATS, *ROUNDS)
        history, base, *rounds = (source.draw(count, n, rng) * source.scale[:, None] for n in sizes)
        yield GateLogs(history, base, rounds), source.scale


def slow_down(logs: GateLogs, scale: Floats) -> Floats:
    """Slow the candidate's metric number (gate modulo metrics) of each gate, and set its noise to ``NOISE``.

    Changes the arrays; returns the number of each gate's metric.
    """
    gates = np.arange(len(logs.base))
    slowed = gates % len(scale)
    for group in (logs.history, logs.base, *logs.rounds):
        group[gates, slowed] *= (NOISE / scale[slowed])[:, None]
    for group in logs.rounds:
        group[gates, slowed] += math.log1p(SLOWDOWN)
    return slowed


def trial(
    make: Callable[[np.random.Generator], NoiseSource], gates: int, seed: list[int], *, against_history: bool
) -> Score:
    """The two-stage gate on ``gates`` pairs of identical builds, and on as many with one metric slowed."""
    false_alarms, found, confirmed, reruns = 0, 0, 0, 0.0
    for logs, scale in blocks(make, gates, seed):
        base, others = (logs.history, []) if against_history else (logs.base, [logs.history])
        spending = SPENDING_AGAINST_HISTORY if against_history else SPENDING
        alarms, reruns_of_gate = two_stage(base, logs.rounds, others, spending)
        false_alarms += int(alarms.any(axis=1).sum())
        confirmed += int((reruns_of_gate > 0).sum())
        reruns += float(reruns_of_gate.sum())
        slowed = slow_down(logs, scale)
        alarms, _ = two_stage(base, logs.rounds, others, spending)
        found += int(alarms[np.arange(len(alarms)), slowed].sum())
    return Score(false_alarms / gates, found / gates, confirmed / gates, reruns / gates)


def one_against_one(make: Callable[[np.random.Generator], NoiseSource], gates: int, seed: list[int]) -> Score:
    """The rule "one run against the previous one, alarm above 110 %"."""
    limit, false_alarms, found = math.log(1.1), 0, 0
    for logs, scale in blocks(make, gates, seed):
        false_alarms += int((logs.rounds[0][..., 0] - logs.base[..., 0] > limit).any(axis=1).sum())
        slowed = slow_down(logs, scale)
        first_runs = (np.arange(len(slowed)), slowed, 0)
        found += int((logs.rounds[0][first_runs] - logs.base[first_runs] > limit).sum())
    return Score(false_alarms / gates, found / gates, 0.0, 0.0)


def rows(name: str, make: Callable[[np.random.Generator], NoiseSource], gates: int, seed: list[int]) -> None:
    """Print the rows of one kind of noise."""
    scores = {
        "5 against 5": trial(make, gates, seed, against_history=False),
        "5 against history": trial(make, gates, seed, against_history=True),
        "1 against 1 at 110 %": one_against_one(make, gates, seed),
    }
    for rule, s in scores.items():
        cells = f"{s.false_alarms:.2%} | {s.found:.1%} | {s.to_confirm:.0%} | {s.reruns:.1f}"
        print(f"| {name} | {rule} | {cells} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gates", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--runs", action="append", default=[], metavar="DIR", help="recorded runs of one point")
    parser.add_argument("--invalid-too", action="store_true", help="use INVALID runs too")
    args = parser.parse_args()
    makers: dict[str, Callable[[np.random.Generator], NoiseSource]] = {}
    for directory in args.runs:
        for name, whole in (("as correlated as they are", True), ("each metric on its own", False)):
            source = recorded(directory, whole=whole, invalid_too=args.invalid_too)
            makers[f"{directory}, {name}"] = lambda _, source=source: source
    if not args.runs:
        makers = {kind: lambda rng, kind=kind: simulated(kind, rng) for kind in KINDS}
    print(
        "| noise | rule | false alarms | 5 % found | identical builds measured again | re-runs a gate of them, mean |"
    )
    print("|---|---|--:|--:|--:|--:|")
    for number, (name, make) in enumerate(makers.items()):
        rows(name, make, args.gates, [args.seed, number])


if __name__ == "__main__":
    main()
