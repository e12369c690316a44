"""How often the verdict says that streams arrive in bursts, on simulated runs of which the truth is known.

``python benchmarks/burst_trials.py`` (a minute) prints the table of docs/validity.md: for each kind of server, network
or client the percentage of runs of 24 streams with a reason ``bursts``, for answers of 16, 64 and 256 tokens. In the
first part of the table each reason is a false alarm.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra import registry
from benchhydra.facts import Facts
from benchhydra.records import Records
from benchhydra.validity import RunEvidence, ValidityLimits
from benchhydra.validity.streams import bursts
from benchhydra.window import Window

Floats = npt.NDArray[np.floating[Any]]
Arrivals = Callable[[np.random.Generator, int], Floats]

STREAMS = 24
TOKENS = (16, 64, 256)
TTFT_MS = 50.0
STEP_MS = 5.0


def even(rng: np.random.Generator, count: int, *, jitter: float = 0.1, tail: bool = False) -> Floats:
    """Return arrival times in ms of chunks from an engine with steps of 5 ms, shape (count,)."""
    spread = rng.lognormal(0, jitter, count) if tail else rng.normal(1, jitter, count)
    return TTFT_MS + np.cumsum(STEP_MS * np.maximum(spread, 0))


def exponential(rng: np.random.Generator, count: int) -> Floats:
    """Return arrival times with the most irregular gaps that have no memory."""
    return TTFT_MS + np.cumsum(rng.exponential(STEP_MS, count))


def stalled(rng: np.random.Generator, count: int, *, stall_ms: float, often: float) -> Floats:
    """Return arrival times of an engine whose decoding stops while it prefills other prompts."""
    gaps = rng.normal(STEP_MS, 0.3, count) + stall_ms * (rng.random(count) < often)
    return np.asarray(TTFT_MS + np.cumsum(gaps))


def several_tokens(rng: np.random.Generator, count: int) -> Floats:
    """Return arrival times of chunks with 1 to 4 tokens."""
    return even(rng, max(2, count // 3))


def speculative(rng: np.random.Generator, count: int, *, drafts: int) -> Floats:
    """Return arrival times if each token of a speculative step has a chunk of its own; the first token is alone."""
    steps = np.concatenate(([0], 1 + np.repeat(np.arange(count), rng.integers(1, drafts + 1, count))[: count - 1]))
    return TTFT_MS + steps * 3 * STEP_MS + np.arange(count) * 0.02


def coalesced(rng: np.random.Generator, count: int, *, every_ms: float) -> Floats:
    """Return arrival times if a busy network or client takes packets in turns, which hides less than every_ms."""
    return np.asarray(np.ceil(even(rng, count) / every_ms) * every_ms)


def gathered(rng: np.random.Generator, count: int, *, chunks: int) -> Floats:
    """Return arrival times behind a proxy that passes on a number of chunks at once."""
    times = even(rng, count)
    ends = np.minimum(np.arange(count) // chunks * chunks + chunks - 1, count - 1)
    return np.asarray(times[ends] + np.arange(count) * 0.01)


def flushed(rng: np.random.Generator, count: int, *, every_ms: float) -> Floats:
    """Return arrival times behind a proxy that passes on what it has at even intervals."""
    phase = rng.uniform(0, every_ms)
    return np.asarray(np.ceil((even(rng, count) + phase) / every_ms) * every_ms - phase + np.arange(count) * 0.01)


GOOD: dict[str, tuple[Arrivals, dict[str, Any]]] = {
    "even steps": (even, {}),
    "steps with 50 % spread": (partial(even, jitter=0.5), {}),
    "lognormal steps, sigma 1": (partial(even, jitter=1.0, tail=True), {}),
    "lognormal steps, sigma 1.5": (partial(even, jitter=1.5, tail=True), {}),
    "exponential steps": (exponential, {}),
    "prefill stalls of 60 ms, 1 step in 10": (partial(stalled, stall_ms=60, often=0.1), {}),
    "prefill stalls of 500 ms, 1 step in 20": (partial(stalled, stall_ms=500, often=0.05), {}),
    "several tokens a chunk": (several_tokens, {}),
    "speculative, up to 3 tokens a step": (partial(speculative, drafts=3), {}),
    "speculative, up to 8 tokens a step": (partial(speculative, drafts=8), {}),
    "client reads every 6 ms": (partial(coalesced, every_ms=6), {"client_loop_stall_p99_ms": 6.0}),
    "client reads every 40 ms": (partial(coalesced, every_ms=40), {"client_loop_stall_p99_ms": 35.0}),
}
BAD: dict[str, tuple[Arrivals, dict[str, Any]]] = {
    **{f"proxy gathers {n} chunks": (partial(gathered, chunks=n), {}) for n in (2, 3, 4, 8, 12)},
    **{f"proxy flushes every {ms} ms": (partial(flushed, every_ms=ms), {}) for ms in (10, 20, 50, 100)},
}


def run(arrivals: Arrivals, rng: np.random.Generator, tokens: int) -> Records:
    """Return the rows of a run of streams."""
    times_ms = [arrivals(rng, tokens) for _ in range(STREAMS)]
    spans = Records.of_spans(
        [0] * STREAMS, [int(times[-1] * 1e6) for times in times_ms], output_tokens=[tokens] * STREAMS
    )
    first_ns = np.array([times[0] * 1e6 for times in times_ms], dtype=np.int64)
    gaps_ns = np.concatenate([np.diff(times) * 1e6 for times in times_ms]).astype(np.float32)
    offsets = np.concatenate(([0], np.cumsum([len(times) - 1 for times in times_ms]))).astype(np.int64)
    ends = {"first_ns": first_ns, "last_ns": spans.done_ns}
    return dataclasses.replace(spans, **ends, gaps_ns=gaps_ns, gap_offsets=offsets)


def alarms(arrivals: Arrivals, facts: dict[str, Any], tokens: int, trials: int) -> float:
    """Return the fraction of runs with a reason."""
    rng, limits = np.random.default_rng(tokens), ValidityLimits()
    windows = (Window.of(run(arrivals, rng, tokens), facts=Facts(facts)) for _ in range(trials))
    return float(np.mean([any(bursts(RunEvidence(window=window, limits=limits))) for window in windows]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    registry.discover()
    for title, kinds in (("as the server sent them", GOOD), ("gathered on the way", BAD)):
        print(f"| {title} | " + " | ".join(f"{tokens} tokens" for tokens in TOKENS) + " |")
        print("|---|" + "--:|" * len(TOKENS))
        for name, (arrivals, facts) in kinds.items():
            cells = [f"{alarms(arrivals, facts, tokens, trials) * 100:.1f}" for tokens in TOKENS]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
