"""How often the verdict calls a server overloaded, on simulated runs of which the truth is known.

``python benchmarks/overload_trials.py`` (20 minutes on one core) prints the tables of docs/validity.md: for each model
of a server and number of requests, the percentage of runs with a reason ``overloaded``. Loads are requests offered per
request that the server can finish: below 1 the server is steady, so that each reason is a false alarm. Each run begins
with an idle server. Times are in mean gaps between requests.

no queue     latencies independent of each other, of 0.5 to 500 mean gaps: any healthy server with free slots
N slots      requests wait for one of N slots, first come, first served: M/D/N, M/M/N, M/G/N
shared       all requests are decoded together (continuous batching), in steps of a time a + b * requests in flight;
             a is 0.2 or 1 times b * 16. Answers of 64 tokens, or exponential with this mean

Services are even (3 % spread), exponential, or lognormal with a heavy tail (coefficient of variation 1.8).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra import registry
from benchhydra.facts import Facts
from benchhydra.loads import relative_times
from benchhydra.records import Records
from benchhydra.validity import RunEvidence, ValidityLimits
from benchhydra.validity.overload import backlog, overloaded, queues_late
from benchhydra.window import Window

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


def decoded(rng: np.random.Generator, sent: Floats, tokens: npt.NDArray[np.int64], base: float, each: float) -> Records:
    """Return the rows of one run on an engine whose steps take base + each * (requests in flight) seconds."""
    times: list[list[float]] = [[] for _ in sent]
    now, arrived, left = 0.0, 0, tokens.copy()
    while arrived < len(sent) or left[:arrived].any():
        active = np.flatnonzero(left[:arrived])
        if not len(active):
            now = max(now, sent[arrived])
        arrived = int(np.searchsorted(sent, now, side="right"))
        active = np.flatnonzero(left[:arrived])
        now += (base + each * len(active)) * max(0.1, rng.normal(1, 0.1))
        left[active] -= 1
        for request in active:
            times[request].append(now)
    sent_ns, first_ns, last_ns = (
        (np.array(column) * 1e9).astype(np.int64) for column in (sent, [t[0] for t in times], [t[-1] for t in times])
    )
    spans = Records.of_spans(sent_ns.tolist(), last_ns.tolist(), output_tokens=tokens.tolist())
    gaps_ns = np.concatenate([np.diff(arrivals) * 1e9 for arrivals in times]).astype(np.float32)
    offsets = np.concatenate(([0], np.cumsum(tokens - 1))).astype(np.int64)
    return dataclasses.replace(spans, first_ns=first_ns, last_ns=last_ns, gaps_ns=gaps_ns, gap_offsets=offsets)


def decode_alarms(trials: int, count: int, kind: str, idle_fraction: float, load: float) -> float:
    """Return the fraction of runs that are called overloaded. idle_fraction: see ``shared`` in the module's text."""
    rng, limits = np.random.default_rng(count), ValidityLimits()
    facts = Facts({"offered_rps": 1.0, "stationary": True})
    found = 0
    for sent in arrivals(rng, trials, count, "poisson"):
        tokens = np.full(count, 64) if kind == "even" else np.maximum(8, rng.exponential(64, count)).astype(np.int64)
        each = load / tokens.mean()
        run = decoded(rng, sent, tokens, idle_fraction * 16 * each, each)
        found += any(overloaded(RunEvidence(window=Window.of(run, facts=facts), limits=limits)))
    return found / trials


def alarms(server: Server, trials: int, count: int, kinds: tuple[str, str], load: float) -> float:
    """Return the fraction of runs that are called overloaded."""
    rng, limit = np.random.default_rng(count), ValidityLimits().reached_fraction
    sent = arrivals(rng, trials, count, kinds[0])
    ttft, latency = (values * 1e3 for values in server(rng, sent, load, kinds[1]))
    first = backlog(sent, ttft, limit, waits=True)
    called = first.grows | backlog(sent, latency, limit, waits=False).grows
    return float((called | ((first.finished_fraction < limit) & queues_late(sent, ttft))).mean())


def rows(trials: int) -> Iterator[tuple[str, int, list[float]]]:
    """Yield the rows of the table of servers: model, number of requests, fraction of alarms by load."""
    cases = [(count, "poisson", kind) for count in (1, 4, 16) for kind in ("even", "exponential", "heavy")]
    cases += [(4, sent, "exponential") for sent in ("constant", "burst", "clustered")]
    for number, sent, kind in cases:
        server = partial(slots, number)
        for count in COUNTS:
            fractions = [alarms(server, trials, count, (sent, kind), load) for load in LOADS]
            yield f"{number} slots, {kind}, {sent}", count, fractions
    for kind in ("even", "exponential"):
        for idle_fraction in (0.2, 1.0):
            for count in (10, 20, 40, 100):
                fractions = [decode_alarms(max(1, trials // 50), count, kind, idle_fraction, load) for load in LOADS]
                yield f"shared, {kind}, idle step {idle_fraction:g}", count, fractions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    trials = parser.parse_args().trials
    registry.discover()
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
