"""How often the verdict calls a server overloaded, on simulated runs of which the truth is known.

``python benchmarks/overload_trials.py`` (ten minutes on one core) prints the tables of docs/validity.md: for each model
of a server and number of requests, the percentage of runs with a reason ``overloaded``. Loads are requests offered per
request that the server can finish: below 1 the server is steady, so that each reason is a false alarm. Each run begins
with an idle server. Times are in mean gaps between requests.

no queue     latencies independent of each other, of 0.5 to 500 mean gaps: any healthy server with free slots
N slots      requests wait for one of N slots, first come, first served: M/D/N, M/M/N, M/G/N
shared       N requests run at full speed; more share the speed of N: continuous batching without a limit of the batch

Services are even (3 % spread), exponential, or lognormal with a heavy tail (coefficient of variation 1.8).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.loads import relative_times
from benchhydra.validity import ValidityLimits
from benchhydra.validity.overload import backlog, queues_late

Floats = npt.NDArray[np.floating[Any]]
Server = Callable[[np.random.Generator, Floats, float, str], tuple[Floats, Floats]]

LOADS = (0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
COUNTS = (10, 20, 40, 100, 400)
#: TTFT of a request that does not wait, per mean service.
PREFILL = 0.02


def arrivals(rng: np.random.Generator, trials: int, count: int, kind: str) -> Floats:
    """Return send times at a mean rate of 1, shape (trials, count)."""
    if kind == "constant":
        return np.tile(np.arange(count, dtype=float), (trials, 1))
    if kind == "burst":
        return np.tile(np.arange(count) // 5 * 5.0, (trials, 1))
    gaps = rng.gamma({"poisson": 1.0, "clustered": 0.25}[kind], 1.0, (trials, count - 1))
    return relative_times(gaps) * (count - 1)


def services(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> Floats:
    """Return service times of mean 1."""
    if kind == "even":
        return rng.normal(1, 0.03, shape)
    return rng.exponential(1, shape) if kind == "exponential" else np.exp(rng.normal(-0.72, 1.2, shape))


def no_queue(rng: np.random.Generator, sent: Floats, mean: float, kind: str) -> tuple[Floats, Floats]:
    """Return TTFT and E2E latency of requests that do not wait."""
    latency = mean * services(rng, sent.shape, kind)
    return latency * PREFILL, latency


def slots(count: int, rng: np.random.Generator, sent: Floats, load: float, kind: str) -> tuple[Floats, Floats]:
    """Return TTFT and E2E latency of requests that wait for one of ``count`` slots."""
    trials = np.arange(len(sent))
    service = services(rng, sent.shape, kind) * load * count
    free, start = np.zeros((len(sent), count)), np.empty_like(sent)
    for i in range(sent.shape[1]):
        slot = free.argmin(axis=1)
        start[:, i] = np.maximum(sent[:, i], free[trials, slot])
        free[trials, slot] = start[:, i] + service[:, i]
    prefill = PREFILL * load * count * rng.uniform(0.8, 1.2, sent.shape)
    return start - sent + prefill, start - sent + service


def shared(full_speed: int, rng: np.random.Generator, sent: Floats, load: float, kind: str) -> tuple[Floats, Floats]:
    """Return TTFT and E2E latency of requests that share a server's speed."""
    service = services(rng, sent.shape, kind) * load * full_speed
    ends = np.array([_shared_run(full_speed, *run) for run in zip(sent, service, strict=True)])
    return PREFILL * load * full_speed * rng.uniform(0.8, 1.2, sent.shape), ends - sent


def _shared_run(full_speed: int, sent: Floats, service: Floats) -> Floats:
    left: dict[int, float] = {}
    ends, now, following = np.empty_like(sent), 0.0, 0
    while following < len(sent) or left:
        speed = min(1.0, full_speed / len(left)) if left else 1.0
        shortest = min(left, key=left.__getitem__) if left else -1
        ends_at = now + left[shortest] / speed if left else np.inf
        sent_at = sent[following] if following < len(sent) else np.inf
        step = min(ends_at, sent_at) - now
        left = {request: work - step * speed for request, work in left.items()}
        now += step
        if ends_at <= sent_at:
            ends[shortest] = now
            del left[shortest]
        else:
            left[following] = service[following]
            following += 1
    return ends


def alarms(server: Server, trials: int, count: int, kinds: tuple[str, str], load: float) -> float:
    """Return the fraction of runs that are called overloaded."""
    rng, limit = np.random.default_rng(count), ValidityLimits().reached_fraction
    sent = arrivals(rng, trials, count, kinds[0])
    ttft, latency = (values * 1e3 for values in server(rng, sent, load, kinds[1]))
    first = backlog(sent, ttft, limit)
    called = first.grows | backlog(sent, latency, limit).grows
    return float((called | ((first.finished_fraction < limit) & queues_late(sent, ttft))).mean())


def rows(trials: int) -> Iterator[tuple[str, int, list[float]]]:
    """Yield the rows of the table of servers: model, number of requests, fraction of alarms by load."""
    models: dict[str, tuple[Server, int]] = {
        "1 slot": (partial(slots, 1), 1),
        "4 slots": (partial(slots, 4), 1),
        "16 slots": (partial(slots, 16), 1),
        "shared by 4": (partial(shared, 4), 10),
    }
    cases = [(name, "poisson", kind) for name in models for kind in ("even", "exponential", "heavy")]
    cases += [("4 slots", kind, "exponential") for kind in ("constant", "burst", "clustered")]
    for name, sent, kind in cases:
        server, cost = models[name]
        for count in COUNTS:
            if cost > 1 and count > 100:
                continue
            fractions = [alarms(server, trials // cost, count, (sent, kind), load) for load in LOADS]
            yield f"{name}, {kind}, {sent}", count, fractions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    trials = parser.parse_args().trials
    for sent in ("poisson", "constant", "burst", "clustered"):
        for kind in ("even", "exponential", "heavy"):
            worst = max(
                alarms(no_queue, trials, count, (sent, kind), mean) for count in COUNTS for mean in (0.5, 5, 50, 500)
            )
            print(f"no queue, {kind}, {sent}: at most {worst:.2%}")
    print("| server, services, arrivals | requests | " + " | ".join(f"{load:g}" for load in LOADS) + " |")
    print("|---|--:|" + "--:|" * len(LOADS))
    for name, count, fractions in rows(trials):
        cells = " | ".join(f"{fraction * 100:.1f}" for fraction in fractions)
        print(f"| {name} | {count} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
