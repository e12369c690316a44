"""Why a mean latency changed: the change as a sum of parts, what else moved, and which causes that is evidence of.

A request's time is spent in the server's queue, its prefill, its decoding, its front end (HTTP, tokenizing, sending),
and outside the server (network, client). The server's histograms give the mean of each (metrics/server.py), so the
change of the client's mean is a sum of changes of these means. Whether a change is real is not decided here, but by the
comparison: only latencies with a verdict are explained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchhydra.analysis.attribution_causes import LikelyCause, Slowdown, likely_causes
from benchhydra.analysis.attribution_evidence import Move, Moves, mean_change, moves_between
from benchhydra.analysis.comparison import Basis, ChangeVerdict, GateOutcome, MetricChange, PointChange
from benchhydra.analysis.pairing import usable_runs
from benchhydra.analysis.runs import Run

#: The parts add up where they miss the change by at most this fraction of it.
TOLERANCE = 0.05
#: Verdicts of a real change; of one that is probably real.
REAL = (ChangeVerdict.WORSE, ChangeVerdict.BETTER)
PROBABLY = (ChangeVerdict.PROBABLY_WORSE, ChangeVerdict.PROBABLY_BETTER)
#: A change at a point that is not judged is real below this p-value.
UNJUDGED_P = 0.001

PartMean = Callable[[Mapping[str, float]], float | None]


@dataclass(frozen=True, kw_only=True)
class Part:
    """The change of the mean time of a request in one place. low, high: 95 % interval; None for single runs."""

    name: str
    change_ms: float
    low_ms: float | None = None
    high_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why one mean latency of one point changed.

    change_ms: candidate less base, of the means of the runs that were compared. parts: empty if a side does not say
    where its time went. moved: what else differs between the sides beyond noise, evidence of the causes first. causes:
    the one that accounts for most of the change first; empty if nothing that was observed accounts for it. probable:
    the comparison calls the change probable, not sure.
    """

    metric: str
    base_ms: float
    change_ms: float
    low_ms: float | None
    high_ms: float | None
    parts: tuple[Part, ...]
    moved: tuple[Move, ...]
    causes: tuple[LikelyCause, ...]
    probable: bool = False

    @property
    def unaccounted_ms(self) -> float:
        """What the parts leave of the change."""
        return self.change_ms - sum(part.change_ms for part in self.parts)

    @property
    def adds_up(self) -> bool:
        """Whether the parts account for all but 5 % of the change. False without parts."""
        return bool(self.parts) and abs(self.unaccounted_ms) <= TOLERANCE * abs(self.change_ms)

    @property
    def largest_part(self) -> Part | None:
        """The part that moved most in the direction of the change."""
        aligned = [part for part in self.parts if part.change_ms * self.change_ms > 0]
        return max(aligned, key=lambda part: abs(part.change_ms), default=None)


def _mean_of(metric: str) -> PartMean:
    return lambda values: values.get(metric)


def _difference(total: str, *subtracted: str) -> PartMean:
    def mean(values: Mapping[str, float]) -> float | None:
        if not values.keys() >= {total, *subtracted}:
            return None
        return values[total] - sum(values[name] for name in subtracted)

    return mean


#: The parts of each latency, by name: how the mean time in it follows from the metrics of a run.
SERVER_PARTS: dict[str, dict[str, PartMean]] = {
    "mean_ttft_ms": {
        "queue": _mean_of("server_queue_ms"),
        "prefill": _mean_of("server_prefill_ms"),
        "frontend": _difference("server_ttft_ms", "server_queue_ms", "server_prefill_ms"),
        "outside": _mean_of("outside_server_ttft_ms"),
    },
    "mean_e2el_ms": {
        "queue": _mean_of("server_queue_ms"),
        "prefill": _mean_of("server_prefill_ms"),
        "decode": _mean_of("server_decode_ms"),
        "frontend": _difference("server_e2el_ms", "server_queue_ms", "server_prefill_ms", "server_decode_ms"),
        "outside": _mean_of("outside_server_e2el_ms"),
    },
}
#: The parts that the client itself tells apart, for a server without times of its own.
CLIENT_PARTS: dict[str, dict[str, PartMean]] = {
    "mean_e2el_ms": {
        "first token": _mean_of("mean_ttft_ms"),
        "other tokens": _difference("mean_e2el_ms", "mean_ttft_ms"),
    }
}
#: What must be known of both sides for the server's parts. The others are what does not add up if they are unknown.
NEEDED = ("queue", "prefill")


def explain(point: PointChange) -> tuple[Explanation, ...]:
    """Why the mean TTFT and E2E latency of a point changed, for each that really did."""
    changes = {change.metric: change for change in point.metrics if change.metric in SERVER_PARTS}
    real = [changes[metric] for metric in SERVER_PARTS if metric in changes and _is_real(changes[metric], point)]
    if not real:
        return ()
    base, candidate = _compared_runs(point, real)
    moves = moves_between(base, candidate)
    explanations = (_explanation(change, moves) for change in real)
    return tuple(explanation for explanation in explanations if explanation is not None)


def _compared_runs(point: PointChange, changes: Sequence[MetricChange]) -> tuple[Sequence[Run], Sequence[Run]]:
    """The runs of both sides that the changes come from: the usable ones that are no outliers.

    Of a history these are the newest ones, at the level that a metric was judged against.
    """
    if point.used_runs is None:
        return usable_runs(point.base), usable_runs(point.candidate)
    base, candidate = point.used_runs
    segments = [change.base_runs for change in changes if change.basis is Basis.HISTORY]
    return base[-min(segments, default=0) :], candidate


def _is_real(change: MetricChange, point: PointChange) -> bool:
    """Whether the comparison found a change; where it does not judge because the work differs, its p-value says so."""
    if change.change in (*REAL, *PROBABLY):
        return True
    outcomes = {problem.outcome for problem in point.problems}
    if point.comparable or GateOutcome.IMPOSSIBLE in outcomes or change.p_worse is None or change.p_better is None:
        return False
    is_sure = min(change.p_worse, change.p_better) < UNJUDGED_P
    return is_sure and abs(math.log1p(change.ratio)) > math.log1p(change.smallest)


def _explanation(change: MetricChange, moves: Moves) -> Explanation | None:
    metric, base, candidate = change.metric, moves.base_values, moves.candidate_values
    total = mean_change([run.get(metric) for run in base], [run.get(metric) for run in candidate])
    if total is None or total.change == 0:
        return None
    parts = tuple(_parts(metric, moves))
    slowdown = Slowdown(
        moves=moves if total.change > 0 else moves.swapped(),
        ratio=abs(total.change) / min(total.base, total.candidate),
        increases={part.name: part.change_ms * math.copysign(1, total.change) for part in parts},
    )
    causes = likely_causes(slowdown, total.change)
    return Explanation(
        metric=metric,
        base_ms=total.base,
        change_ms=total.change,
        low_ms=total.low,
        high_ms=total.high,
        parts=parts,
        moved=tuple(moves.ranked([name for cause in causes for name in cause.cause.metrics])),
        causes=causes,
        probable=change.change in PROBABLY,
    )


def _parts(metric: str, moves: Moves) -> Iterator[Part]:
    """The server's parts where both sides have them, else the client's."""
    server_parts = dict(_changes(SERVER_PARTS[metric], moves))
    if server_parts.keys() >= set(NEEDED):
        yield from server_parts.values()
    else:
        yield from dict(_changes(CLIENT_PARTS.get(metric, {}), moves)).values()


def _changes(means: Mapping[str, PartMean], moves: Moves) -> Iterator[tuple[str, Part]]:
    for name, mean in means.items():
        change = mean_change([mean(run) for run in moves.base_values], [mean(run) for run in moves.candidate_values])
        if change is not None:
            yield name, Part(name=name, change_ms=change.change, low_ms=change.low, high_ms=change.high)
