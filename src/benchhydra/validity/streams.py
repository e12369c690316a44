"""Rules on streams: does each chunk arrive when it is generated, or does something on the way gather them?

A proxy that buffers a stream delivers chunks in bursts. TTFT is then the time of the first burst, ITL is 0 inside a
burst, and TPOT is too low, because the first token is late and the last one is not. These figures look better than the
server's, or worse, but they are not the server's.

Chunks with many tokens (speculative decoding, multi-step scheduling) are not bursts: the gaps between them are as long
as the engine's steps. An engine that generates several tokens in a step and sends each in a chunk of its own also
sends bursts. But its first token comes from the prefill, alone, and its bursts are as short as its speculation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchhydra.records import Float64, Records
from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, rule, suspect

#: Streams of fewer tokens are not checked: speculative decoding may generate them in one step.
LONG_TOKENS = 8
#: A lower TPOT (over 100,000 tokens/s for one request) means that the tokens were buffered.
IMPOSSIBLE_TPOT_MS = 0.01
#: A gap is near 0 if it is shorter than this fraction of the mean gap of its stream.
NEAR_ZERO = 0.1
#: In a stream that arrives in bursts, at least this fraction of gaps is near 0 (bursts of two chunks have a half).
BURST_FRACTION = 0.45
#: With speculative decoding the first chunk is alone; behind a proxy it is in a burst for more than this fraction of
#: streams (not for all of them if the proxy passes chunks on at even intervals) ...
FIRST_FRACTION = 0.2
#: ... or the bursts are longer than what engines draft or schedule in a step.
LONG_BURST = 16
#: Bursts that change TTFT by less than this, plus a fraction of TTFT, are not reported.
LEAST_PERIOD_MS = 1.0
LEAST_PERIOD_FRACTION = 0.02
#: If the client's own loop stalls for this fraction of the time between bursts, it may have gathered the chunks itself.
STALL_FRACTION = 0.25


@dataclass(frozen=True)
class Bursts:
    """How the chunks of streams arrive; each of shape (n,).

    near_zero: fraction of gaps near 0; chunks: mean chunks of a burst; period_ms: mean time between bursts, NaN without
    long gaps; first: whether the first chunk is in a burst.
    """

    near_zero: Float64
    chunks: Float64
    period_ms: Float64
    first: npt.NDArray[np.bool_]

    @property
    def many(self) -> npt.NDArray[np.bool_]:
        """Mask of the streams that arrive in bursts, shape (n,)."""
        return np.asarray((self.near_zero >= BURST_FRACTION) & ~np.isnan(self.period_ms))

    def where(self, mask: npt.NDArray[np.bool_]) -> Bursts:
        """Return the streams of a mask, shape (n,)."""
        return Bursts(self.near_zero[mask], self.chunks[mask], self.period_ms[mask], self.first[mask])


@rule("one_piece")
def one_piece(evidence: RunEvidence) -> Iterator[Reason]:
    """Tokens must arrive as they are generated: if a proxy buffers them, TTFT is the time of the whole answer."""
    window, limit = evidence.window, evidence.limits.one_piece_fraction
    tokens = np.where(window.output_tokens >= 0, window.output_tokens, window.chunks)
    streamed = window.completed & (window.first_ns >= 0) & (tokens >= LONG_TOKENS)
    spans_ms = window.decode_ms[streamed]
    count = int((spans_ms < IMPOSSIBLE_TPOT_MS * tokens[streamed]).sum())
    if len(spans_ms) and count / len(spans_ms) > limit:
        text = f"{count} of {len(spans_ms)} streams arrived in one piece"
        fraction = f"{as_percent(count / len(spans_ms))}, limit {as_percent(limit)}"
        yield suspect(
            "one_piece", f"{text} ({fraction}): TTFT is the time of the whole answer; look for a buffering proxy"
        )


@rule("bursts")
def bursts(evidence: RunEvidence) -> Iterator[Reason]:
    """Chunks must arrive one by one: if a proxy gathers several, TTFT is too high, TPOT too low and ITL mostly 0."""
    window, limit = evidence.window, evidence.limits.burst_fraction
    streams = window.where(window.completed & (window.first_ns >= 0) & (window.chunks >= LONG_TOKENS))
    arrivals = bursts_of(streams)
    arrivals = arrivals.where(arrivals.many)
    count = len(arrivals.first)
    if not count or count / len(streams) <= limit:
        return
    period_ms, chunks = float(np.median(arrivals.period_ms)), float(np.median(arrivals.chunks))
    first_is_late = bool(arrivals.first.mean() > FIRST_FRACTION)
    ttft = window.statistics("ttft_ms")
    least_ms = LEAST_PERIOD_MS + LEAST_PERIOD_FRACTION * (ttft["median"] if ttft else 0.0)
    stall_ms = evidence.facts["client_loop_stall_p99_ms"] or 0.0
    if period_ms < least_ms or stall_ms > STALL_FRACTION * period_ms or not (first_is_late or chunks >= LONG_BURST):
        return
    fraction = f"{as_percent(count / len(streams))}, limit {as_percent(limit)}"
    text = f"{count} of {len(streams)} streams arrived in bursts of about {chunks:.0f} chunks every {period_ms:.3g} ms"
    effect = "TTFT is too high and TPOT too low" if first_is_late else "ITL is not the server's"
    yield suspect("bursts", f"{text} ({fraction}): {effect}; look for a proxy that gathers events")


def bursts_of(rows: Records) -> Bursts:
    """Return how the chunks of rows arrive. All rows must have at least two chunks."""
    parts = [_bursts_of_block(block) for block in rows.blocks()]
    if not parts:
        empty = np.zeros(0)
        return Bursts(empty, empty, empty, np.zeros(0, dtype=bool))
    return Bursts(
        near_zero=np.concatenate([part.near_zero for part in parts]),
        chunks=np.concatenate([part.chunks for part in parts]),
        period_ms=np.concatenate([part.period_ms for part in parts]),
        first=np.concatenate([part.first for part in parts]),
    )


def _bursts_of_block(rows: Records) -> Bursts:
    counts = np.diff(rows.gap_offsets)
    gaps_ms = rows.gaps_ns.astype(np.float64) / 1e6
    starts = rows.gap_offsets[:-1]
    sums = np.add.reduceat(gaps_ms, starts)
    near = gaps_ms < np.repeat(NEAR_ZERO * sums / counts, counts)
    near_counts = np.add.reduceat(near.astype(np.int64), starts)
    long_sums = np.add.reduceat(np.where(near, 0.0, gaps_ms), starts)
    long_counts = counts - near_counts
    with np.errstate(invalid="ignore", divide="ignore"):
        periods_ms = np.where(long_counts > 0, long_sums / long_counts, np.nan)
    return Bursts(
        near_zero=near_counts / counts,
        chunks=(counts + 1) / (long_counts + 1),
        period_ms=periods_ms,
        first=near[starts],
    )
