"""Simulate ``search=optimize`` on response surfaces: how near its answer is to the best configuration, at which cost.

Prints a table of docs/optimize.md: ``python benchmarks/optimize_trials.py [seeds]``. Six flags with 288 configurations.
Each seed has another surface: a main effect of every flag (numbers have an optimum somewhere along their values), an
effect of every pair of values of every two flags, a region that runs out of memory, and noise of each measurement. The
grid starts a server for every configuration and measures it ``REPEATS`` times. A start costs as much as a measurement
(40 s of start and 60 s of load would make it cheaper). ``Random`` measures configurations in random order, ``REPEATS``
times each, for the same cost.
"""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchhydra import registry
from benchhydra.points import Identity, Outcome, PlannedPoint
from benchhydra.result import Better
from benchhydra.search.optimization import Optimization, trial_of
from benchhydra.search.proposals import Space
from benchhydra.search.repeats import Repeats
from benchhydra.search.trials import Objective

SPACE = Space(
    values={
        "max_num_seqs": [32, 64, 128, 256],
        "max_num_batched_tokens": [2048, 4096, 8192],
        "tensor_parallel": [1, 2, 4],
        "chunked_prefill": [True, False],
        "kv_cache_dtype": ["auto", "fp8"],
        "block_size": [16, 32],
    }
)
REPEATS, START, NOISE, METRIC = 3, 1, 0.03, "output_throughput"
MAIN, PAIR = 0.25, 0.12
CONFIGURATIONS = list(itertools.product(*(range(len(values)) for values in SPACE.values.values())))
OBJECTIVE = Objective(name=METRIC, unit="tokens/s", better=Better.BIGGER)


class Surface:
    """A response surface: the value of each configuration (NaN: it does not start), and the best of them."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([2026, seed])
        sizes = [len(values) for values in SPACE.values.values()]
        main = [self._main_effect(rng, size) for size in sizes]
        pairs = {
            (a, b): rng.normal(0, PAIR, (sizes[a], sizes[b])) for a, b in itertools.combinations(range(len(sizes)), 2)
        }
        self.values = {
            index: 1000
            * math.exp(
                sum(main[flag][place] for flag, place in enumerate(index))
                + sum(float(effects[index[a], index[b]]) for (a, b), effects in pairs.items())
            )
            for index in CONFIGURATIONS
        }
        for index in CONFIGURATIONS:  # much at once needs memory that one GPU does not have
            if index[0] + index[1] >= 4 and index[2] == 0:
                self.values[index] = math.nan
        self.best = float(np.nanmax(list(self.values.values())))

    @staticmethod
    def _main_effect(rng: np.random.Generator, size: int) -> list[float]:
        if size == 2:
            return [0.0, float(rng.normal(0, MAIN))]
        optimum = rng.uniform(0, size - 1)
        return [-MAIN * abs(place - optimum) ** 1.5 for place in range(size)]


def run_trial(
    optimization: Optimization, number: int, settings: Mapping[str, Any], value: float, noise: random.Random
) -> int:
    """Measure one configuration as a trial does, with its early stop. Returns its cost."""
    search, cut = Repeats(ci=f"{METRIC}:1%", max_repeats=REPEATS), optimization.cut()
    outcomes, reason = list[Outcome](), ""
    overrides = tuple(f"{key}={value}" for key, value in settings.items())
    while not outcomes or (not reason and search.next(_POINTS, outcomes)):
        point = PlannedPoint(overrides=overrides, directory="", identity=Identity(str(settings), "", len(outcomes)))
        if math.isnan(value):
            outcomes.append(Outcome.of_point(point, status="failed", error="CUDA out of memory"))
            break
        outcome = Outcome.of_point(point, status="ok")
        outcome.metrics[METRIC] = value * math.exp(noise.gauss(0, NOISE))
        outcomes.append(outcome)
        reason = cut.reason(search, outcomes) if cut is not None else ""
    optimization.add(trial_of(number, settings, [OBJECTIVE], outcomes, None, cut=reason))
    return len(outcomes)


_POINTS = [PlannedPoint(overrides=(), directory="", identity=Identity("", "", 0))]


def optimize(surface: Surface, seed: int, budget: int) -> tuple[float, int, int]:
    """(fraction of the best value, trials, trials that were cut) of one optimization within this cost."""
    optimization, cost, number = Optimization(objectives=[OBJECTIVE], space=SPACE, seed=seed), 0, 0
    noise = random.Random(seed)
    while cost < budget and (settings := optimization.ask()) is not None:
        cost += START + run_trial(optimization, number, settings, surface.values[SPACE.index(settings)], noise)
        number += 1
    best = optimization.best()
    cut = sum(trial.status == "cut" for trial in optimization.trials)
    return (surface.values[SPACE.index(best.settings)] / surface.best if best else 0.0), number, cut


def search_at_random(surface: Surface, seed: int, budget: int) -> float:
    """The fraction of the best value that a random search reaches at the same cost."""
    noise = random.Random(seed)
    order = noise.sample(CONFIGURATIONS, len(CONFIGURATIONS))
    means: dict[tuple[int, ...], float] = {}
    for index in order:
        value = surface.values[index]
        budget -= START + (1 if math.isnan(value) else REPEATS)
        if budget < 0:
            break
        if not math.isnan(value):
            means[index] = value * math.exp(sum(noise.gauss(0, NOISE) for _ in range(REPEATS)) / REPEATS)
    return surface.values[max(means, key=lambda index: means[index])] / surface.best


def row(fraction: float, seeds: int) -> str:
    """A row of the table: a budget as a fraction of the grid's cost."""
    budget = round(fraction * len(CONFIGURATIONS) * (START + REPEATS))
    surfaces = [Surface(seed) for seed in range(seeds)]
    results = [optimize(surface, seed, budget) for seed, surface in enumerate(surfaces)]
    reached, trials, cut = (np.array(column) for column in zip(*results, strict=True))
    at_random = np.array([search_at_random(surface, seed, budget) for seed, surface in enumerate(surfaces)])
    return (
        f"| {fraction:.0%} | {np.median(trials):.0f} | {np.median(cut):.0f} "
        f"| {np.median(reached):.1%} | {reached.min():.1%} | {np.mean(reached >= 0.95):.0%} "
        f"| {np.median(at_random):.1%} | {np.mean(at_random >= 0.95):.0%} |"
    )


def main(seeds: int) -> None:
    """Print the table."""
    registry.discover()
    print("| cost, of the grid's | trials | cut | of the best value, median | worst | seeds with 95 % ", end="")
    print("| random, median | seeds with 95 % |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for fraction in (0.05, 0.1, 0.2):
        print(row(fraction, seeds), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
