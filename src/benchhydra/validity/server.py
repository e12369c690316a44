"""Rules on the server's own view: does it agree with the client, and did it have room for the load?

A queue that grows is judged by ``overloaded`` from the client's latencies, which every run has; preemptions have a rule
of their own. What they say is not said again here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.records import Int64
from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, rule, suspect
from benchhydra.validity.environment_checks import preemptions
from benchhydra.validity.overload import overloaded
from benchhydra.validity.window import BATCHES, CRITICAL_T, batch_means, line
from benchhydra.window import Window
from benchhydra.window_series import highest, named
from benchhydra.witnesses import Witnesses, witnesses

#: From this used part of the KV cache on, prompts of some blocks may not fit.
FULL = 0.95
#: The most tokens at the start of an answer that may be no text: a chat template's marks, as ``<think>``.
MOST_MARKS = 3
#: An acceptance rate of fewer drafted tokens is noise.
LEAST_DRAFTED = 100


@rule("witnesses")
def server_and_client(evidence: RunEvidence) -> Iterator[Reason]:
    """The client and the server measure the same requests: if they disagree, something between them took the time.

    The path is honest: a slow network delays ``/metrics`` as much as a token, and the same front end answers it. So
    what such a small request takes is allowed, and that requests which arrive together are taken one after another.
    The same holds for text that comes some tokens later (a byte-level tokenizer, ``<think>``): the server counts the
    first token, the client the first text. Only the rest is compared with the limit. It is judged only if both counted
    exactly the same requests, and all of them were on a schedule: not if others use the server, or a gateway stands
    for several.
    """
    window, facts, limits = evidence.window, evidence.facts, evidence.limits
    if not facts["stationary"] or facts["offered_rps"] is None or facts["server_answer_ms"] is None:
        return
    path_ms = _path_ms(window, facts["server_answer_ms"], facts["server_connect_ms"] or 0.0)
    for name, what in (("ttft", "mean TTFT"), ("e2el", "mean E2E latency")):
        both = witnesses(window, name)
        if both is None or not both.same_count:
            continue
        limit_ms = max(limits.witness_ms, limits.witness_fraction * both.client_ms)
        if abs(both.outside_ms) <= limit_ms:
            continue
        allowed_ms = path_ms + (_wait_for_text_ms(window, both) if name == "ttft" else 0.0)
        if both.outside_ms < 0 or both.outside_ms > limit_ms + allowed_ms:
            yield suspect("witnesses", _disagreement(what, both, allowed_ms, limit_ms))
            return


@rule("kv_cache_full")
def kv_cache_full(evidence: RunEvidence) -> Iterator[Reason]:
    """Requests that wait for room in the KV cache measure its size, not the speed of the engine.

    A load that sends all requests at once is not judged: it is meant to fill the server.
    """
    facts, limit = evidence.facts, evidence.limits.kv_cache_full_fraction
    usage, waiting = (_samples(evidence.window, name) for name in ("kv_cache_usage_fraction", "requests_waiting"))
    if not usage or usage.keys() != waiting.keys() or any(overloaded(evidence)) or any(preemptions(evidence)):
        return
    if facts["offered_rps"] is None and facts["max_in_flight"] is None:
        return
    waits = [requests for time_ns, requests in waiting.items() if usage[time_ns] >= FULL and requests >= 1]
    if len(waits) / len(usage) > limit:
        fraction = f"in {as_percent(len(waits) / len(usage))} of the window (limit {as_percent(limit)})"
        text = f"the KV cache was full {fraction}, while {np.mean(waits):.3g} requests waited for room"
        yield suspect("kv_cache_full", f"{text}: fewer requests at once, or more memory for the KV cache")


@rule("swapping")
def swapping(evidence: RunEvidence) -> Iterator[Reason]:
    """A server that swaps requests out copies their KV cache to the host's memory and back."""
    most = highest(named(evidence.window.series, "server.requests_swapped"), evidence.window.span_ns)
    if most:
        text = f"the server swapped up to {most:g} requests out of the GPU's memory"
        yield suspect("swapping", f"{text}: its KV cache is too small for the load")


@rule("acceptance")
def acceptance(evidence: RunEvidence) -> Iterator[Reason]:
    """While the acceptance rate of speculative decoding moves, the speed depends on the length of the run."""
    rates = _acceptance(evidence.window)
    if not evidence.facts["stationary"] or len(rates) < 2 * BATCHES:
        return
    means = batch_means(rates, BATCHES)
    slope, t = line(np.arange(float(BATCHES)), means)
    first, last = float(means[: BATCHES // 2].mean()), float(means[BATCHES // 2 :].mean())
    limit = evidence.limits.acceptance_change
    if abs(float(t)) > CRITICAL_T and abs(last - first) > limit and np.sign(slope) == np.sign(last - first):
        text = (
            f"speculative decoding accepted {as_percent(first)} of the drafted tokens in the first half of the window"
        )
        yield suspect(
            "acceptance", f"{text} and {as_percent(last)} in the second (limit {as_percent(limit)}): not a steady state"
        )


def _disagreement(what: str, both: Witnesses, allowed_ms: float, limit_ms: float) -> str:
    words = f"{what}: the server says {both.server_ms:.4g} ms, the client {both.client_ms:.4g}"
    if both.outside_ms < 0:
        return (
            f"{words} (limit {limit_ms:.3g} ms less): tokens cannot arrive before they exist, so one of them is wrong"
        )
    explained = f"the path explains {allowed_ms:.2g} ms of the {both.outside_ms:.3g} ms between them"
    culprits = "the client, a proxy that holds answers back, or the server's HTTP front end took the rest"
    return f"{words}; {explained} (limit {limit_ms:.3g} ms more): {culprits}"


def _path_ms(window: Window, answer_ms: float, connect_ms: float) -> float:
    """Return the mean time that a path needs for these requests, if each takes the front end as long as ``/metrics``.

    connect_ms, a round trip, is common to all; the rest is work, which the front end does for one request after the
    other: request i is done at max(its arrival, the end of i - 1) + work.
    """
    round_trip_ms = min(connect_ms, answer_ms)
    sent_ns: Int64 = np.sort(window.every.sent_ns[window.every.sent_ns >= 0])
    if not len(sent_ns):
        return answer_ms
    work_ns = (answer_ms - round_trip_ms) * 1e6 * np.arange(len(sent_ns) + 1)
    done_ns = work_ns[1:] + np.maximum.accumulate(sent_ns - work_ns[:-1])
    return round_trip_ms + float((done_ns - sent_ns).mean()) / 1e6


def _wait_for_text_ms(window: Window, ttft: Witnesses) -> float:
    """Return how long the first text may come after the first token.

    Either the first chunk needs as many tokens as others do; or an answer has tokens without a chunk, and up to
    ``MOST_MARKS`` of them are its first ones (any number if answers have tool calls, which a server's parser holds
    back). Those delay only the first text: what delays the last token as well is the path.
    """
    gaps, whole = witnesses(window, "itl"), witnesses(window, "e2el")
    rows = window.where(window.completed & (window.chunks > 0) & (window.output_tokens > 0))
    if gaps is None or whole is None or not len(rows):
        return 0.0
    further_tokens = max(0.0, float(rows.output_tokens.sum() / rows.chunks.sum()) - 1)
    without_chunk = float(np.maximum(rows.output_tokens - rows.chunks, 0).mean())
    most_held_back = without_chunk if np.any(rows.labels.get("tool_calls", 0)) else MOST_MARKS
    marks_ms = min(most_held_back, without_chunk) * gaps.server_ms
    return max(further_tokens * gaps.server_ms, min(marks_ms, ttft.outside_ms - whole.outside_ms))


def _samples(window: Window, name: str) -> dict[int, float]:
    """Return the samples of one gauge inside the window, by their time."""
    series = named(window.series, f"server.{name}")
    if window.span_ns is None or not series:
        return {}
    begin_ns, end_ns = window.span_ns
    pairs = zip(series[0].times_ns.tolist(), series[0].values.tolist(), strict=True)
    return {time_ns: value for time_ns, value in pairs if begin_ns <= time_ns <= end_ns}


def _acceptance(window: Window) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return accepted / drafted between samples of the window that lie ``LEAST_DRAFTED`` drafted tokens apart."""
    drafted, accepted = (_samples(window, name) for name in ("draft_tokens", "accepted_tokens"))
    rates, begin = [], None
    for time_ns in sorted(drafted.keys() & accepted.keys()):
        if begin is None:
            begin = time_ns
        elif drafted[time_ns] - drafted[begin] >= LEAST_DRAFTED:
            rates.append((accepted[time_ns] - accepted[begin]) / (drafted[time_ns] - drafted[begin]))
            begin = time_ns
    return np.array(rates, dtype=np.float64)
