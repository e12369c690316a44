"""Whether ``search=knee`` finds a knee and a throughput at saturation that are known, on simulated servers.

``python benchmarks/knee_trials.py`` (20 minutes on one core) prints the table of docs/search.md: for each kind of
server and latency, how often the 95 % intervals hold the truth, the median errors and half widths, the number of points
and of requests. The servers are those of ``search_trials.py``. The true knee is the rate at which the mean latency of a
million requests is ``factor`` times that of one request at a time; the true throughput is that between bursts of 50,000
and 200,000 requests. What is behind the simulated times is the program's own.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from search_trials import Server, Times, _early_decision, simulate, window_of

from benchhydra import registry
from benchhydra.metrics import summarize
from benchhydra.points import Identity, Outcome, PlannedPoint
from benchhydra.search.knee import Knee
from benchhydra.validity import RunEvidence, ValidityLimits
from benchhydra.validity.overload import overloaded

TRUTH_REQUESTS = 1_000_000
IDLE_RATE, BURST_RATE = 1e-3, 1e6
CASES: dict[str, tuple[Server, dict[str, Any]]] = {
    "16 slots, E2EL x 1.25": (Server(), {}),
    "4 slots, mixed lengths, E2EL x 1.25": (Server(slots=4, tokens_spread=0.5), {}),
    "1 slot, E2EL x 1.5": (Server(slots=1, tokens=16, tokens_spread=0.5), {"factor": 1.5}),
    "8 slots, mixed lengths, TTFT x 2": (
        Server(slots=8, tokens_spread=0.8, ttft_sigma=0.6),
        {"metric": "mean_ttft_ms", "factor": 2.0},
    ),
    "shared decoding, E2EL x 1.25": (Server(slots=64, itl_per_request_ms=1.5, itl_ms=10, tokens_spread=0.5), {}),
    "shared decoding, TPOT x 2": (
        Server(slots=16, itl_per_request_ms=1.5, itl_ms=10, tokens_spread=0.5),
        {"metric": "mean_tpot_ms", "factor": 2.0},
    ),
}


class Truth(NamedTuple):
    """The knee and the throughput at saturation of a case, in requests/s."""

    knee: float
    saturation: float


class Found(NamedTuple):
    """One search, relative to the truth: errors, whether intervals hold it, half widths; points and requests."""

    error: float
    covers: bool
    half_width: float
    saturation_error: float
    saturation_covers: bool
    saturation_half_width: float
    points: int
    requests: int


def latencies(times: Times, metric: str) -> np.ndarray:
    """Return the latencies of a metric in ms, one a request."""
    columns = {
        "mean_ttft_ms": times.ttft_ms,
        "mean_e2el_ms": times.e2el_ms,
        "mean_tpot_ms": (times.e2el_ms - times.ttft_ms) / (times.tokens - 1),
    }
    return columns[metric]


def truth_of(name: str) -> Truth:
    """Return the truth of a case, from very long runs."""
    server, settings = CASES[name]
    search = Knee(**settings)

    def mean(rate: float, count: int = TRUTH_REQUESTS) -> float:
        times = simulate(server, rate, count, np.random.default_rng(7))
        return float(latencies(times, search.metric)[count // 20 :].mean())

    def span_s(count: int) -> float:
        times = simulate(server, BURST_RATE, count, np.random.default_rng(8))
        return float((times.sent_s + times.e2el_ms / 1e3).max())

    saturation = 150_000 / (span_s(200_000) - span_s(50_000))
    bound = search.factor * mean(IDLE_RATE)
    low, high = saturation * 0.02, saturation
    for _ in range(16):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if mean(middle) > bound else (middle, high)
    return Truth(math.sqrt(low * high), saturation)


def measure(server: Server, point: PlannedPoint, rng: np.random.Generator) -> Outcome:
    """Return the outcome of a point, as if it had been measured."""
    outcome = Outcome.of_point(point, status="ok")
    rate, count = float(outcome.override("qps") or 1), int(outcome.override("num_prompts") or 100)
    is_idle = outcome.override("load.max_in_flight") == "1"
    slo = {
        override.removeprefix("slo.").partition("=")[0]: float(override.partition("=")[2])
        for override in point.overrides
        if override.startswith("slo.")
    }
    times = simulate(server, IDLE_RATE if is_idle else min(rate, BURST_RATE), count, rng)
    ends_early = outcome.override("load.stop_when_decided") == "true"
    decided = _early_decision(times, slo) if ends_early else None
    if decided is not None:
        times = Times(*(column[: decided[0]] for column in times))
    window = window_of(times, slo)
    values = {metric.key: metric.value for metric in summarize(window, {"requests"}, ())}
    values["completed"] = float(len(window))
    span_s = float((times.sent_s + times.e2el_ms / 1e3).max() - times.sent_s[0])
    values["request_throughput"] = count / (times.e2el_ms.sum() / 1e3 if is_idle else span_s)
    if decided is not None:
        values["slo_decision"] = float(decided[1] == "met")
    reasons = list(overloaded(RunEvidence(window=window, limits=ValidityLimits()))) if math.isfinite(rate) else []
    verdict, checks = ("INVALID", ("overloaded",)) if reasons else ("VALID", ())
    return replace(outcome, verdict=verdict, metrics=values, invalid_checks=checks)


def search_once(name: str, truth: Truth, seed: int, more: Mapping[str, Any]) -> Found:
    """Run one search; a third of them begin with a rate on the command line, anywhere near the knee."""
    server, settings = CASES[name]
    search = Knee(**{**settings, **more})
    rng = np.random.default_rng([seed, *name.encode()])
    typed = (f"qps={truth.knee * math.exp(rng.uniform(-1, 1)):.4g}", "num_prompts=300") if seed % 3 == 0 else ()
    points = [_point((*typed, *search.first_point({"qps"} if typed else set())))]
    outcomes = [measure(server, points[0], rng)]
    while asked := search.next(points, outcomes):
        outcomes += [measure(server, _point(tuple(overrides)), rng) for overrides in asked]
    requests = int(sum(outcome.metrics["completed"] for outcome in outcomes))
    answer = search.answer(outcomes)
    if answer is None or answer.low is None or answer.high is None or not answer.figures:
        return Found(math.nan, False, math.inf, math.nan, False, math.inf, len(outcomes), requests)
    saturation = answer.figures[0]
    assert saturation.low is not None and saturation.high is not None
    return Found(
        answer.value / truth.knee - 1,
        answer.low <= truth.knee <= answer.high,
        (answer.high - answer.low) / 2 / answer.value,
        saturation.value / truth.saturation - 1,
        saturation.low <= truth.saturation <= saturation.high,
        (saturation.high - saturation.low) / 2 / saturation.value,
        len(outcomes),
        requests,
    )


def _point(overrides: Sequence[str]) -> PlannedPoint:
    return PlannedPoint(overrides=tuple(overrides), directory="", identity=Identity(" ".join(overrides), "", 0))


def truths(cache: Path | None) -> dict[str, Truth]:
    """Return the truth of every case; read from and written to ``cache``, because they take minutes."""
    stored = json.loads(cache.read_text()) if cache and cache.exists() else {}
    by_name = {name: Truth(*stored[name]) if name in stored else truth_of(name) for name in CASES}
    if cache:
        cache.write_text(json.dumps(by_name, indent=1))
    return by_name


def _search(task: tuple[str, Truth, int, dict[str, Any]]) -> Found:
    registry.discover()
    return search_once(*task)


def table(found: Mapping[str, Sequence[Found]]) -> str:
    """Return a Markdown table with a row for each case and one for all."""
    lines = [
        "| server and latency | searches | knee covered | median error | half width, median and largest "
        "| saturation covered | median error | half width | points | requests |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    everything = [each for group in found.values() for each in group]
    for name, group in [*found.items(), ("all", everything)]:
        error, covers, half, error_s, covers_s, half_s, points, requests = np.array(group, dtype=np.float64).T
        lines.append(
            f"| {name} | {len(group)} | {covers.mean() * 100:.1f} % | {np.nanmedian(error) * 100:+.2f} % "
            f"| {np.median(half) * 100:.1f} %, {half.max() * 100:.1f} % | {covers_s.mean() * 100:.1f} % "
            f"| {np.nanmedian(error_s) * 100:+.2f} % | {np.median(half_s) * 100:.1f} % | {np.median(points):.0f} "
            f"| {np.median(requests):,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=300, help="number of searches")
    parser.add_argument("--precision", type=float, default=0.05, help="search.precision")
    parser.add_argument("--seed", type=int, default=1, help="of the first search")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--truths", type=Path, help="file that keeps the truths")
    args = parser.parse_args()
    registry.discover()
    truth = truths(args.truths)
    names = list(CASES)
    settings = {"precision": args.precision, "max_probe_s": 1e9}
    tasks = [
        (name, truth[name], args.seed + trial // len(names), settings)
        for trial, name in zip(range(args.trials), names * args.trials, strict=False)
    ]
    with get_context("spawn").Pool(args.processes) as pool:
        results = pool.map(_search, tasks, 4)
    found = {name: [each for task, each in zip(tasks, results, strict=True) if task[0] == name] for name in names}
    sys.stdout.write(table(found) + "\n")


if __name__ == "__main__":
    main()
