"""Whether ``search=capacity`` finds a capacity that is known, on simulated servers.

``python benchmarks/search_trials.py`` (some 10 minutes on two cores) prints the table of docs/search.md: for each kind
of server and limit, how often the 95 % interval holds the truth, the median error, the half width, and the number of
probes and requests. Each search begins at another place, and its probes have arrivals and services of their own.

The servers are those of ``engine=fake``: requests wait for one of N slots, first come, first served; a first chunk and
further chunks have lognormal times; decoding may slow down with the number of running requests. Some servers differ in
speed from run to run, some are engines that work in steps, and one is two such engines, which take requests in turn: no
model of the program describes it. The truth is the rate at which four runs of a million requests just meet the limit.

Everything behind the simulated times is the program's own: ratios and independent samples (``metrics/slo.py``), the
rule on overload, the search and its answer.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchhydra import registry
from benchhydra.facts import Facts
from benchhydra.loadgen.early_stop import Decision, EarlyStop
from benchhydra.loads import relative_times
from benchhydra.metrics import summarize
from benchhydra.metrics.slo import slo_limits
from benchhydra.points import Identity, Outcome, PlannedPoint
from benchhydra.records import Records
from benchhydra.search.capacity import Capacity
from benchhydra.validity import RunEvidence, ValidityLimits
from benchhydra.validity.overload import overloaded
from benchhydra.window import Window

Floats = npt.NDArray[np.float64]
#: The truth comes from so many runs of so many requests, at so much below and above it, in log(rate).
TRUTH_RUNS, TRUTH_REQUESTS, TRUTH_STEP = 4, 1_000_000, 0.015


@dataclass(frozen=True)
class Steps:
    """An engine that works in steps, as vLLM does: no queue with slots and times of requests describes it well.

    A step takes ``step_ms``, and more for each token of prompts and for each answer that goes on. Prompts come first,
    in the order of arrival, in pieces of at most ``token_budget`` tokens a step.
    """

    step_ms: float = 8.0
    prompt_token_ms: float = 0.06
    answer_ms: float = 0.4
    token_budget: int = 512
    prompt_tokens: int = 400
    prompt_sigma: float = 0.6


@dataclass(frozen=True)
class Server:
    """A server, as ``engine=fake`` simulates it. tokens_spread: answers have tokens * (1 +- this) tokens.

    run_noise: standard deviation of log(speed) from run to run. steps: another kind of engine, with the same slots and
    tokens. engines: so many of that kind take requests in turn.
    """

    slots: int = 16
    ttft_ms: float = 50.0
    itl_ms: float = 20.0
    ttft_sigma: float = 0.3
    itl_sigma: float = 0.3
    tokens: int = 64
    tokens_spread: float = 0.0
    itl_per_request_ms: float = 0.0
    run_noise: float = 0.0
    steps: Steps | None = None
    engines: int = 1


class Times(NamedTuple):
    """Times of requests: sent in s; TTFT and E2E latency in ms; tokens of each answer and of each prompt."""

    sent_s: Floats
    ttft_ms: Floats
    e2el_ms: Floats
    tokens: npt.NDArray[np.int64]
    prompt_tokens: npt.NDArray[np.int64]


CASES: dict[str, tuple[Server, Mapping[str, float]]] = {
    "16 slots, p99 TTFT": (Server(), {"p99_ttft_ms": 500}),
    "4 slots, p99 TTFT": (Server(slots=4), {"p99_ttft_ms": 1000}),
    "32 slots, mixed lengths, p99 TTFT": (Server(slots=32, tokens_spread=0.8), {"p99_ttft_ms": 300}),
    "8 slots, mixed lengths, p95 E2EL": (
        Server(slots=8, tokens_spread=0.8, ttft_sigma=0.6),
        {"p95_e2el_ms": 4000},
    ),
    "8 slots, mean TTFT": (Server(slots=8, tokens_spread=0.5), {"mean_ttft_ms": 200}),
    "1 slot, p99 TTFT": (Server(slots=1, tokens=16, tokens_spread=0.5), {"p99_ttft_ms": 3000}),
    "shared decoding, p99 TPOT": (
        Server(slots=64, itl_per_request_ms=1.5, itl_ms=10, tokens_spread=0.5),
        {"p99_tpot_ms": 50},
    ),
    "shared decoding, p99 TTFT and TPOT": (
        Server(slots=16, itl_per_request_ms=1.5, itl_ms=10, tokens_spread=0.5),
        {"p99_ttft_ms": 500, "p99_tpot_ms": 45},
    ),
    "16 slots, 1 % noise, p90 TTFT": (Server(tokens_spread=0.5, run_noise=0.01), {"p90_ttft_ms": 300}),
    "8 slots, 1 % noise, share 0.98": (
        Server(slots=8, tokens_spread=0.5, run_noise=0.01),
        {"share": 0.98, "ttft_ms": 800, "tpot_ms": 30},
    ),
    "engine steps, p95 TTFT": (Server(slots=48, tokens_spread=0.5, steps=Steps()), {"p95_ttft_ms": 500}),
    "engine steps, p99 TPOT": (Server(slots=48, tokens_spread=0.5, steps=Steps()), {"p99_tpot_ms": 40}),
    "two engines in turn, p95 TTFT": (
        Server(slots=12, tokens_spread=0.5, steps=Steps(), engines=2),
        {"p95_ttft_ms": 500},
    ),
}


def simulate(server: Server, rate: float, count: int, rng: np.random.Generator) -> Times:
    """Return the times of a Poisson load of ``count`` requests at exactly this rate."""
    sent_s = relative_times(rng.exponential(1, count - 1)) * (count - 1) / rate
    speed = math.exp(server.run_noise * rng.standard_normal())
    spread = server.tokens_spread * rng.uniform(-1, 1, count)
    tokens = np.maximum(2, np.rint(server.tokens * (1 + spread))).astype(np.int64)
    if server.steps:
        times = Times(sent_s, np.zeros(count), np.zeros(count), tokens, np.zeros(count, np.int64))
        for rows in (slice(first, None, server.engines) for first in range(server.engines)):
            of_engine = _stepped(server, server.steps, sent_s[rows], tokens[rows], rng, speed)
            for column, values in zip(times, of_engine, strict=True):
                column[rows] = values
        return times
    sigma = server.ttft_sigma
    first_s = server.ttft_ms / 1e3 * speed * np.exp(sigma * rng.standard_normal(count) - sigma**2 / 2)
    deviation_ms = server.itl_ms * math.sqrt(math.expm1(server.itl_sigma**2))
    itl_s = (server.itl_ms + deviation_ms * rng.standard_normal(count) / np.sqrt(tokens - 1)) / 1e3 * speed
    if server.itl_per_request_ms:
        return _shared(server, sent_s, tokens, first_s, itl_s, speed)
    start_s = _slots(sent_s.tolist(), (first_s + itl_s * (tokens - 1)).tolist(), server.slots)
    ttft_ms = (start_s - sent_s + first_s) * 1e3
    return Times(sent_s, ttft_ms, ttft_ms + itl_s * (tokens - 1) * 1e3, tokens, np.ones_like(tokens))


def _slots(sent_s: list[float], service_s: list[float], slots: int) -> Floats:
    """Return when each request starts: at once, or when a slot is free (Kiefer and Wolfowitz's recursion)."""
    free, start = [0.0] * slots, sent_s[:]
    for i, at in enumerate(sent_s):
        begin = max(at, free[0])
        start[i] = begin
        heapq.heapreplace(free, begin + service_s[i])
    return np.array(start)


def _shared(
    server: Server, sent_s: Floats, tokens: npt.NDArray[np.int64], first_s: Floats, itl_s: Floats, speed: float
) -> Times:
    """Return the times of requests whose gaps grow with the number of running requests.

    All running requests generate at the same speed, so an answer ends when a clock that runs at this speed has counted
    its tokens.
    """
    base_s, each_s = server.itl_ms / 1e3 * speed, server.itl_per_request_ms / 1e3 * speed
    work = (tokens - 1) * itl_s / base_s
    arrivals, firsts, count = sent_s.tolist(), first_s.tolist(), len(sent_s)
    first_at, end_at = [0.0] * count, [0.0] * count
    decoding: list[tuple[float, int]] = []
    prefilling: list[tuple[float, int]] = []
    waiting: deque[int] = deque()
    now = clock = 0.0
    running = arrived = 0
    while True:
        speed_now = 1 / (base_s + each_s * max(running - 1, 0))
        next_arrival = arrivals[arrived] if arrived < count else math.inf
        next_first = prefilling[0][0] if prefilling else math.inf
        next_end = now + (decoding[0][0] - clock) / speed_now if decoding else math.inf
        at = min(next_arrival, next_first, next_end)
        if at == math.inf:
            break
        clock += (at - now) * speed_now
        now = at
        if at == next_end:
            end_at[heapq.heappop(decoding)[1]] = at
            running -= 1
            if waiting:
                row = waiting.popleft()
                running += 1
                heapq.heappush(prefilling, (at + firsts[row], row))
        elif at == next_first:
            row = heapq.heappop(prefilling)[1]
            first_at[row] = at
            heapq.heappush(decoding, (clock + work[row], row))
        else:
            if running < server.slots:
                running += 1
                heapq.heappush(prefilling, (at + firsts[arrived], arrived))
            else:
                waiting.append(arrived)
            arrived += 1
    return Times(
        sent_s, (np.array(first_at) - sent_s) * 1e3, (np.array(end_at) - sent_s) * 1e3, tokens, np.ones_like(tokens)
    )


def _stepped(
    server: Server, steps: Steps, sent_s: Floats, tokens: npt.NDArray[np.int64], rng: np.random.Generator, speed: float
) -> Times:
    """Return the times of requests to an engine that works in steps."""
    count = len(sent_s)
    prompts = np.maximum(1, steps.prompt_tokens * np.exp(steps.prompt_sigma * rng.standard_normal(count))).astype(int)
    arrivals, first_at, end_at = sent_s.tolist(), [0.0] * count, [0.0] * count
    left, answers = prompts.tolist(), tokens.tolist()
    waiting: deque[int] = deque()
    reading: deque[int] = deque()
    ends: list[tuple[int, int]] = []  # the step after which an answer is complete
    now, step, arrived, ended = 0.0, 0, 0, 0
    while ended < count:
        if not (waiting or reading or ends):
            now = max(now, arrivals[arrived])
        while arrived < count and arrivals[arrived] <= now:
            waiting.append(arrived)
            arrived += 1
        while waiting and len(reading) + len(ends) < server.slots:
            reading.append(waiting.popleft())
        budget, decoding, read = steps.token_budget - len(ends), len(ends), []
        while reading and budget > 0:
            piece = min(budget, left[reading[0]])
            budget, left[reading[0]] = budget - piece, left[reading[0]] - piece
            if not left[reading[0]]:
                read.append(reading.popleft())
        prompt_tokens = steps.token_budget - decoding - budget
        duration_ms = steps.step_ms + steps.prompt_token_ms * prompt_tokens + steps.answer_ms * decoding
        now, step = now + duration_ms * speed / 1e3, step + 1
        while ends and ends[0][0] <= step:
            end_at[heapq.heappop(ends)[1]] = now
            ended += 1
        for row in read:
            first_at[row] = now
            heapq.heappush(ends, (step + answers[row] - 1, row))
    return Times(sent_s, (np.array(first_at) - sent_s) * 1e3, (np.array(end_at) - sent_s) * 1e3, tokens, prompts)


def window_of(times: Times, slo: Mapping[str, float], at_once: bool = False) -> Window:
    """Return the window that a run with these times would have, without the gaps between chunks."""
    count = len(times.sent_s)
    sent_ns = (times.sent_s * 1e9).astype(np.int64)
    first_ns = sent_ns + (times.ttft_ms * 1e6).astype(np.int64)
    last_ns = sent_ns + (times.e2el_ms * 1e6).astype(np.int64)
    zeros = np.zeros(count, np.int32)
    tokens = times.tokens.astype(np.int32)
    records = Records(
        scheduled_ns=sent_ns,
        sent_ns=sent_ns,
        first_byte_ns=first_ns,
        first_ns=first_ns,
        last_ns=last_ns,
        done_ns=last_ns,
        asked_prompt_tokens=times.prompt_tokens.astype(np.int32),
        asked_output_tokens=tokens,
        prompt_tokens=times.prompt_tokens.astype(np.int32),
        output_tokens=tokens,
        status=zeros,
        error=zeros - 1,
        phase=zeros,
        anomalies=zeros,
        gaps_ns=np.ones(count, np.float32),  # two chunks each: TPOT needs them
        gap_offsets=np.arange(count + 1, dtype=np.int64),
    )
    requests = {name: value for name, value in slo.items() if name in ("ttft_ms", "tpot_ms", "e2el_ms")}
    span_s = times.sent_s[-1] - times.sent_s[0]
    rate = None if at_once else (count - 1) / span_s
    facts = Facts({"stationary": not at_once, "offered_rps": rate, "gap_variation": 1.0})
    return Window.of(records, slo=requests, limits=slo_limits(slo), facts=facts)


def probe(server: Server, slo: Mapping[str, float], point: PlannedPoint, rng: np.random.Generator) -> Outcome:
    """Return the outcome of a point, as if it had been measured."""
    outcome = Outcome.of_point(point, status="ok")
    rate, count = float(outcome.override("qps") or 1), int(outcome.override("num_prompts") or 100)
    if math.isinf(rate):
        times = simulate(server, 1e6, count, rng)
        throughput = count / (float((times.sent_s + times.e2el_ms / 1e3).max()) - times.sent_s[0])
        values = {
            metric.key: metric.value for metric in summarize(window_of(times, slo, at_once=True), {"requests"}, ())
        }
        values |= {"request_throughput": throughput, "completed": float(count)}
        return replace(outcome, verdict="VALID", metrics=values)
    times = simulate(server, rate, count, rng)
    decided = _early_decision(times, slo)
    if decided is not None:
        sent, decision = decided
        times = Times(*(column[:sent] for column in times))
    window = window_of(times, slo)
    values = {metric.key: metric.value for metric in summarize(window, {"requests"}, ())}
    reasons = list(overloaded(RunEvidence(window=window, limits=ValidityLimits())))
    values["completed"] = float(len(window))
    if decided is not None:
        values["slo_decision"] = float(decision == "met")
    verdict, checks = ("INVALID", ("overloaded",)) if reasons else ("VALID", ())
    return replace(outcome, verdict=verdict, metrics=values, invalid_checks=checks)


def _early_decision(times: Times, slo: Mapping[str, float]) -> tuple[int, Decision] | None:
    """Return (requests sent until then, decision) if the load would have been ended early; None if not.

    The load is looked at when the first n requests have ended, for as many n as ``EarlyStop`` looks at.
    """
    window = window_of(times, slo)
    early_stop = EarlyStop(request_limits=window.slo, limits=window.limits, has_rate=True)
    ended_s = np.maximum.accumulate(times.sent_s + times.e2el_ms / 1e3)
    while early_stop.next_count <= len(window):
        count = early_stop.next_count
        decision = early_stop.decide(window.every.where(np.arange(len(window)) < count))
        if decision is not None:
            return int(np.searchsorted(times.sent_s, ended_s[count - 1])), decision
    return None


class Found(NamedTuple):
    """One search: the answer relative to the truth (0: equal), its interval, half width, probes and requests.

    load_s: how long requests were sent, in all probes together.
    """

    error: float
    covers: bool
    half_width: float
    probes: int
    requests: int
    load_s: float


def search_once(name: str, truth: float, start: float | None, seed: int, search: Capacity) -> Found:
    """Run one search. start: rate of the planned point; None: a burst, as without ``qps=`` on the command line."""
    server, slo = CASES[name]
    rng = np.random.default_rng([seed, *name.encode()])
    overrides = ("qps=inf", "num_prompts=100") if start is None else (f"qps={start:.4g}", "num_prompts=300")
    points = [_point(overrides)]
    outcomes = [probe(server, slo, points[0], rng)]
    while asked := search.next(points, outcomes):
        for each in asked:
            point = _point(tuple(each))
            outcomes.append(probe(server, slo, point, rng))
    sent = [int(outcome.metrics["completed"]) for outcome in outcomes]
    load_s = sum(count / float(outcome.override("qps") or 1) for count, outcome in zip(sent, outcomes, strict=True))
    answer = search.answer(outcomes)
    if answer is None or answer.low is None or answer.high is None:
        return Found(math.nan, False, math.inf, len(outcomes), sum(sent), load_s)
    half_width = (answer.high - answer.low) / 2 / answer.value
    covers = answer.low <= truth <= answer.high
    return Found(answer.value / truth - 1, covers, half_width, len(outcomes), sum(sent), load_s)


def _point(overrides: Sequence[str]) -> PlannedPoint:
    return PlannedPoint(overrides=tuple(overrides), directory="", identity=Identity(" ".join(overrides), "", 0))


def truth_of(name: str) -> float:
    """Return the rate at which the first limit of a case is just met: bisection, then a line between two long runs."""
    server, slo = CASES[name]
    server = replace(server, run_noise=0.0)
    low, high = 0.1, 200.0
    for _ in range(14):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _worst_ratio(server, slo, middle, TRUTH_REQUESTS // 10, 1) > 1 else (middle, high)
    x = math.log(low * high) / 2 + np.array([-TRUTH_STEP, TRUTH_STEP])
    ratios = [_worst_ratio(server, slo, rate, TRUTH_REQUESTS, TRUTH_RUNS) for rate in np.exp(x)]
    slope = math.log(ratios[1] / ratios[0]) / (2 * TRUTH_STEP)
    return float(np.exp(x[0] - math.log(ratios[0]) / slope))


def _worst_ratio(server: Server, slo: Mapping[str, float], rate: float, count: int, runs: int) -> float:
    """Return the largest of the ratios to the limits, each the mean of several runs."""
    times = (simulate(server, rate, count, np.random.default_rng(7 + run)) for run in range(runs))
    return float(np.mean([_ratios(each, slo) for each in times], axis=0).max())


def _ratios(times: Times, slo: Mapping[str, float]) -> list[float]:
    """Return the ratios to the limits, over all requests but the first twentieth."""
    columns = {
        "ttft_ms": times.ttft_ms,
        "e2el_ms": times.e2el_ms,
        "tpot_ms": (times.e2el_ms - times.ttft_ms) / (times.tokens - 1),
    }
    columns = {name: values[len(values) // 20 :] for name, values in columns.items()}
    ratios = []
    for limit in slo_limits(slo):
        if limit.name == "share":
            beyond = np.any([values > slo[name] for name, values in columns.items() if name in slo], axis=0)
            ratios.append(beyond.mean() / (limit.allowed or 1))
        elif limit.allowed is None:
            ratios.append(columns[limit.column or ""].mean() / limit.bound)
        else:
            ratios.append((columns[limit.column or ""] > limit.bound).mean() / limit.allowed)
    return ratios


def truths(cache: Path | None) -> dict[str, float]:
    """Return the truth of every case; read from and written to ``cache``, because they take minutes."""
    known: dict[str, float] = json.loads(cache.read_text()) if cache and cache.exists() else {}
    missing = [name for name in CASES if name not in known]
    with get_context("spawn").Pool(2) as pool:
        known |= dict(zip(missing, pool.map(truth_of, missing, 1), strict=True))
    if cache:
        cache.write_text(json.dumps(known, indent=1))
    return known


def _search(task: tuple[str, float, float | None, int, dict[str, Any]]) -> Found:
    name, truth, start, seed, settings = task
    registry.discover()
    return search_once(name, truth, start, seed, Capacity(**settings))


def starts(trial: int, truth: float) -> float | None:
    """Return where a trial begins: a third with a burst, the others anywhere between a third and three times."""
    factor = math.exp(np.random.default_rng([trial, 1]).uniform(-math.log(3), math.log(3)))
    return None if trial % 3 == 0 else truth * factor


def table(found: Mapping[str, Sequence[Found]]) -> str:
    """Return a Markdown table with a row for each case and one for all."""
    lines = [
        "| server and limit | searches | covered | median error | half width, median and largest | probes | requests |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    everything = [each for group in found.values() for each in group]
    for name, group in [*found.items(), ("all", everything)]:
        rows = np.array([[each.error, each.covers, each.half_width, each.probes, each.requests] for each in group])
        error, covers, half, probes, requests = rows.T
        lines.append(
            f"| {name} | {len(group)} | {covers.mean() * 100:.1f} % | {np.nanmedian(error) * 100:+.2f} % "
            f"| {np.median(half) * 100:.1f} %, {half.max() * 100:.1f} % | {np.median(probes):.0f} "
            f"| {np.median(requests):,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=312, help="number of searches")
    parser.add_argument("--precision", type=float, default=0.05, help="search.precision")
    parser.add_argument("--seed", type=int, default=1, help="of the first search")
    parser.add_argument("--truths", type=Path, help="file that keeps the true capacities")
    args = parser.parse_args()
    truth = truths(args.truths)
    names = list(CASES)
    settings = {"precision": args.precision, "max_probe_s": 1e9}
    tasks = []
    for trial in range(args.trials):
        name = names[trial % len(names)]
        tasks.append((name, truth[name], starts(trial // len(names), truth[name]), args.seed + trial, settings))
    with get_context("spawn").Pool(2) as pool:
        results = pool.map(_search, tasks, 4)
    found = {name: [each for task, each in zip(tasks, results, strict=True) if task[0] == name] for name in names}
    sys.stdout.write(table(found) + "\n")


if __name__ == "__main__":
    main()
