"""Rules on what came back: whole answers, with the tokens that were asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.records import Records, Status
from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, invalid, percent, rule, suspect

#: A stream of fewer tokens may well fit into one chunk (speculative decoding).
LONG_TOKENS = 8
#: No engine generates 100,000 tokens/s for one request.
IMPOSSIBLE_TPOT_MS = 0.01
#: A 99th percentile of fewer requests is an extrapolation from the slowest two ...
FEW_REQUESTS = 100
#: ... and of this many it has ten requests beyond it.
ENOUGH_REQUESTS = 1000


@rule("completed")
def completed(evidence: RunEvidence) -> Iterator[Reason]:
    """Something must have been measured."""
    window, least = evidence.window, evidence.limits.least_completed
    count = int(window.completed.sum())
    if not len(window):
        yield invalid("completed", "no request lies in the measured window")
    elif not count:
        yield invalid("completed", f"none of {len(window)} requests completed ({_commonest_error(window)})")
    elif count < least and has_own_times(window):
        yield suspect("completed", f"only {count} requests completed: measure at least {least}")


@rule("failed_fraction")
def failed_fraction(evidence: RunEvidence) -> Iterator[Reason]:
    """Failed requests take their load and their latencies away from the figures."""
    window, limit = evidence.window, evidence.limits.failed_fraction
    failed, ended = int(window.failed.sum()), int((window.status != Status.CANCELLED).sum())
    if ended and failed / ended > limit:
        classes = ", ".join(f"{number} {name}" for name, number in window.where(window.failed).failures().items())
        text = f"{failed} of {ended} requests failed ({percent(failed / ended, 1)}, limit {percent(limit, 1)})"
        yield invalid("failed_fraction", f"{text}: {classes}")


@rule("interrupted")
def interrupted(evidence: RunEvidence) -> Iterator[Reason]:
    """What an interrupted run measured is partial, but real."""
    if evidence.facts["interrupted"]:
        count = int(evidence.window.completed.sum())
        yield suspect("interrupted", f"the run was interrupted: the figures are of {count} completed requests")


@rule("tokens")
def tokens(evidence: RunEvidence) -> Iterator[Reason]:
    """The server must have generated tokens, and have said how many."""
    window = evidence.window
    counts = window.output_tokens[window.completed & (window.asked_output_tokens > 0)]
    if not len(counts):
        return
    unknown, empty = int((counts < 0).sum()), int((counts == 0).sum())
    if empty and empty + unknown == len(counts):
        yield invalid("tokens", f"the server generated no token: {empty} of {len(counts)} answers have none")
    elif unknown:
        extent = "absent" if unknown == len(counts) else "incomplete"
        text = f"{unknown} of {len(counts)} answers came without usage"
        yield suspect("tokens", f"{text}: token counts and token metrics are {extent}")


@rule("short")
def short(evidence: RunEvidence) -> Iterator[Reason]:
    """With ignore_eos every answer should be as long as asked."""
    window, limit = evidence.window, evidence.limits.short_fraction
    answers = int(window.completed.sum())
    if not evidence.facts["ignore_eos"] or not answers:
        return
    count = int((window.status == Status.SHORT).sum())
    if count / answers > limit:
        fraction = f"{percent(count / answers, 1)}, limit {percent(limit, 1)}"
        yield suspect("short", f"{count} of {answers} answers are shorter than asked ({fraction})")


@rule("one_piece")
def one_piece(evidence: RunEvidence) -> Iterator[Reason]:
    """Tokens must arrive as they are generated: behind a buffer, TTFT is the time of the whole answer."""
    window, limit = evidence.window, evidence.limits.one_piece_fraction
    streamed = window.completed & (window.first_ns >= 0) & (window.output_tokens >= LONG_TOKENS)
    spans_ms, output_tokens = window.decode_ms[streamed], window.output_tokens[streamed]
    count = int((spans_ms < IMPOSSIBLE_TPOT_MS * output_tokens).sum())
    if len(spans_ms) and count / len(spans_ms) > limit:
        text = f"{count} of {len(spans_ms)} streams came in one piece"
        fraction = f"{percent(count / len(spans_ms))}, limit {percent(limit)}"
        yield suspect(
            "one_piece", f"{text} ({fraction}): TTFT is the time of the whole answer; look for a buffering proxy"
        )


@rule("prompt_tokens")
def prompt_tokens(evidence: RunEvidence) -> Iterator[Reason]:
    """The server should see the prompts that the dataset made."""
    window, limit = evidence.window, evidence.limits.prompt_difference
    counted = window.completed & (window.prompt_tokens >= 0) & (window.asked_prompt_tokens > 0)
    if not counted.any():
        return
    server, dataset = window.prompt_tokens[counted], window.asked_prompt_tokens[counted]
    difference = float(np.abs(server - dataset).sum() / dataset.sum())
    if difference > limit:
        text = f"the server counts {server.mean():.1f} tokens per prompt, the dataset {dataset.mean():.1f}"
        yield suspect("prompt_tokens", f"{text}: they differ by {percent(difference, 1)} (limit {percent(limit, 1)})")


def has_own_times(rows: Records) -> bool:
    """Whether rows are requests to a model with times of their own; those of an offline batch share one time."""
    return bool((rows.asked_output_tokens >= 0).any()) and (len(rows) == 1 or bool(np.ptp(rows.done_ns) > 0))


def few_samples(rows: Records) -> tuple[str, ...]:
    """A sentence for the result where a 99th percentile rests on fewer than ``FEW_REQUESTS`` measured rows."""
    count = int(rows.completed.sum())
    if not 0 < count < FEW_REQUESTS or not has_own_times(rows):
        return ()
    return (f"only {count} requests: p99 is unreliable, use at least {ENOUGH_REQUESTS:,}",)


def _commonest_error(rows: Records) -> str:
    indices = rows.error[rows.error >= 0]
    return rows.errors[int(np.bincount(indices).argmax())] if len(indices) else "no error is known"
