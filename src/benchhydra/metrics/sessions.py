"""Figures of conversations: of sessions, of first and later turns, and what the prefix cache found of histories."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchhydra.gpu_prices import SERVER_PRICE_PER_HOUR
from benchhydra.metrics import metric
from benchhydra.records import Float64
from benchhydra.result import Better
from benchhydra.session_table import SessionTable, all_sessions, reusable_tokens, session_table
from benchhydra.window import Window
from benchhydra.window_series import growth, named

NEEDS = ("requests", "sessions")
_HOUR_S = 3600.0
#: Statistic -> its name in docs, how it is computed.
STATISTICS: dict[str, tuple[str, Callable[[Float64], float]]] = {
    "mean": ("mean", lambda values: float(values.mean())),
    "median": ("median", lambda values: float(np.median(values))),
    "p90": ("90th percentile", lambda values: float(np.percentile(values, 90))),
    "p99": ("99th percentile", lambda values: float(np.percentile(values, 99))),
}
#: Time of a session -> its meaning, its values of complete sessions.
TIMES_S: dict[str, tuple[str, Callable[[SessionTable], Float64]]] = {
    "session_duration_s": (
        "time of a complete session from its scheduled start to its last answer's end, think times included",
        lambda table: table.duration_s,
    ),
    "session_wait_s": (
        "time that the user of a complete session waits for answers, from each turn's scheduled time to its end",
        lambda table: np.asarray(table.waited_ms / 1e3),
    ),
}
#: Turns -> words, which rows these are.
TURNS: dict[str, tuple[str, Callable[[Window], Float64]]] = {
    "first_turn": ("first turns", lambda window: window.ttft_ms[window.labels["parent"] < 0]),
    "later_turn": ("turns with a history", lambda window: window.ttft_ms[window.labels["parent"] >= 0]),
}


@metric(
    "completed_sessions",
    unit="sessions",
    better=Better.OBSERVATION,
    doc="measured sessions all of whose turns were answered",
    needs=NEEDS,
)
def completed_sessions(window: Window) -> float:
    return float(session_table(window).complete.sum())


@metric(
    "broken_sessions",
    unit="sessions",
    better=Better.SMALLER,
    doc="measured sessions that ended before their last turn because a turn failed (not: was cancelled)",
    needs=NEEDS,
)
def broken_sessions(window: Window) -> float:
    return float(session_table(window).broken.sum())


@metric(
    "turns_not_sent",
    unit="requests",
    better=Better.SMALLER,
    doc="turns of measured sessions that were not sent, because a turn before them failed",
    needs=NEEDS,
)
def turns_not_sent(window: Window) -> float:
    table = session_table(window)
    return float((table.turns - table.sent)[table.broken].sum())


@metric(
    "mean_session_turns",
    unit="requests",
    better=Better.OBSERVATION,
    doc="answered turns of a session, mean",
    needs=NEEDS,
)
def mean_session_turns(window: Window) -> float | None:
    table = session_table(window)
    return float(table.completed.mean()) if len(table) else None


@metric(
    "offered_sessions_per_s",
    unit="sessions/s",
    better=Better.OBSERVATION,
    doc="rate at which sessions are to start: those before the last start / time from the first to the last",
    needs=NEEDS,
)
def offered_sessions_per_s(window: Window) -> float | None:
    offered: float | None = window.facts["offered_sessions_per_s"]
    return offered


@metric(
    "session_throughput",
    unit="sessions/s",
    better=Better.BIGGER,
    doc="complete sessions whose last answer ended inside the window, also those that began in the warm-up / duration",
    needs=NEEDS,
)
def session_throughput(window: Window) -> float | None:
    ended = _ended(window)
    return ended / window.duration_s if ended is not None and window.duration_s else None


@metric(
    "mean_concurrent_sessions",
    unit="sessions",
    better=Better.OBSERVATION,
    doc="sessions from first sending to last end, with thinking users and those of the warm-up, mean over the window",
    needs=NEEDS,
)
def mean_concurrent_sessions(window: Window) -> float | None:
    table = all_sessions(window.every)
    if window.span_ns is None or not len(table):
        return None
    begin_ns, end_ns = window.span_ns
    inside_ns = np.clip(table.end_ns, begin_ns, end_ns) - np.clip(table.first_sent_ns, begin_ns, end_ns)
    return float(inside_ns.sum() / (end_ns - begin_ns))


@metric(
    "cost_per_1k_sessions",
    unit="USD/1k sessions",
    better=Better.SMALLER,
    doc="price of the server's GPUs for the time of the window / complete sessions that ended in it, x 1000",
    needs=(*NEEDS, "price"),
)
def cost_per_1k_sessions(window: Window) -> float | None:
    price, ended = window.facts[SERVER_PRICE_PER_HOUR], _ended(window)
    if price is None or window.duration_s is None or not ended:
        return None
    return float(price * window.duration_s / _HOUR_S * 1e3 / ended)


@metric(
    "expected_prefix_hit_fraction",
    unit="fraction",
    better=Better.OBSERVATION,
    doc="prompt tokens that an unbounded prefix cache would have found / prompt tokens, of answered turns; in whole "
    "blocks if the server says how long they are",
    needs=(*NEEDS, "tokens"),
)
def expected_prefix_hit_fraction(window: Window) -> float | None:
    tokens = reusable_tokens(window, window.facts["prefix_block_tokens"] or 1)
    return tokens[0] / tokens[1] if tokens is not None and tokens[1] else None


@metric(
    "prefix_hits_of_expected",
    unit="ratio",
    better=Better.BIGGER,
    doc="fraction of prompt tokens that the server found in its prefix cache / expected_prefix_hit_fraction: below 1, "
    "it had forgotten histories",
    needs=(*NEEDS, "tokens", "server.prefix_cache_hits", "server.prefix_cache_queries"),
)
def prefix_hits_of_expected(window: Window) -> float | None:
    expected = expected_prefix_hit_fraction(window)
    hits, queries = (
        growth(named(window.series, f"server.prefix_cache_{counter}"), window.span_ns)
        for counter in ("hits", "queries")
    )
    return hits / queries / expected if hits is not None and queries and expected else None


def _ended(window: Window) -> int | None:
    """Return the number of complete sessions whose last answer ended inside the window; None if it is empty."""
    if window.span_ns is None:
        return None
    table = all_sessions(window.every)
    inside = (table.end_ns >= window.span_ns[0]) & (table.end_ns <= window.span_ns[1])
    return int((table.complete & inside).sum())


def _declare_times() -> None:
    for name, (meaning, values_of) in TIMES_S.items():
        for statistic, (words, compute) in STATISTICS.items():

            def time_s(
                window: Window,
                values_of: Callable[[SessionTable], Float64] = values_of,
                compute: Callable[[Float64], float] = compute,
            ) -> float | None:
                table = session_table(window)
                values = values_of(table)[table.complete]
                return compute(values) if len(values) else None

            metric(
                f"{statistic}_{name}", unit="s", better=Better.SMALLER, doc=f"{words} of the {meaning}", needs=NEEDS
            )(time_s)


def _declare_turns() -> None:
    for name, (rows, values_of) in TURNS.items():
        for statistic, (words, compute) in STATISTICS.items():

            def ttft_ms(
                window: Window,
                values_of: Callable[[Window], Float64] = values_of,
                compute: Callable[[Float64], float] = compute,
            ) -> float | None:
                values = values_of(window)
                values = values[~np.isnan(values)]
                return compute(values) if len(values) else None

            metric(
                f"{statistic}_{name}_ttft_ms",
                unit="ms",
                better=Better.SMALLER,
                doc=f"{words} of the time to first token of {rows}",
                needs=(*NEEDS, "latency", "stream"),
            )(ttft_ms)


_declare_times()
_declare_turns()
