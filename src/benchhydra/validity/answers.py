"""Rules on what came back: whole answers, with the tokens that were asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.records import Records, Status
from benchhydra.result import Reason, Verdict
from benchhydra.validity import RunEvidence, rule

#: A stream of fewer tokens may well fit into one chunk (speculative decoding).
LONG_TOKENS = 8
#: No engine generates 100,000 tokens/s for one request.
IMPOSSIBLE_TPOT_NS = 10_000


@rule("completed")
def completed(evidence: RunEvidence) -> Iterator[Reason]:
    """Something must have been measured."""
    rows, least = evidence.rows, evidence.limits.least_completed
    count = int(rows.completed.sum())
    if not len(rows):
        yield _invalid("completed", "no request lies in the measured window")
    elif not count:
        yield _invalid("completed", f"none of {len(rows)} requests completed ({_first_error(rows)})")
    elif count < least and each_alone(rows):
        yield _suspect("completed", f"only {count} requests completed; figures of fewer than {least} are chance")


@rule("failed_share")
def failed_share(evidence: RunEvidence) -> Iterator[Reason]:
    """Failed requests take their load and their latencies away from the figures."""
    rows, limit = evidence.rows, evidence.limits.failed_share
    failed = ~rows.completed & (rows.status != Status.CANCELLED)
    count, judged = int(failed.sum()), int((rows.status != Status.CANCELLED).sum())
    if judged and count / judged > limit:
        what = ", ".join(f"{number} {name}" for name, number in rows.where(failed).failures().items())
        text = f"{count} of {judged} requests failed ({count / judged:.1%}, limit {limit:.1%}): {what}"
        yield _invalid("failed_share", text)


@rule("interrupted")
def interrupted(evidence: RunEvidence) -> Iterator[Reason]:
    """What an interrupted run measured is real, and less than was asked for."""
    if evidence.facts.interrupted:
        done = int(evidence.rows.completed.sum())
        yield _suspect("interrupted", f"the run was interrupted: the figures are those of {done} completed requests")


@rule("tokens")
def tokens(evidence: RunEvidence) -> Iterator[Reason]:
    """The server must have generated tokens, and have said how many."""
    asked = _asked(evidence.rows)
    if not len(asked):
        return
    unknown, none = int((asked.output_tokens < 0).sum()), int((asked.output_tokens == 0).sum())
    if none and none + unknown == len(asked):
        yield _invalid("tokens", f"the server generated no token: {none} of {len(asked)} answers have 0 output tokens")
    elif unknown:
        text = f"{unknown} of {len(asked)} answers came without usage: token counts and token metrics are absent"
        yield _suspect("tokens", text if unknown == len(asked) else text.replace("are absent", "are incomplete"))


@rule("short")
def short(evidence: RunEvidence) -> Iterator[Reason]:
    """With ignore_eos every answer should be as long as asked."""
    rows, limit = evidence.rows.where(evidence.rows.completed), evidence.limits.short_share
    if not evidence.facts.ignore_eos or not len(rows):
        return
    count = int((rows.status == Status.SHORT).sum())
    if count / len(rows) > limit:
        text = f"{count} of {len(rows)} answers are shorter than asked ({count / len(rows):.1%}, limit {limit:.1%})"
        yield _suspect("short", text)


@rule("one_piece")
def one_piece(evidence: RunEvidence) -> Iterator[Reason]:
    """Streams must arrive as they are generated; something that buffers them makes TTFT the time of a whole answer."""
    rows, limit = evidence.rows, evidence.limits.one_piece_share
    streamed = rows.where(rows.completed & (rows.first_ns >= 0) & (rows.output_tokens >= LONG_TOKENS))
    count = int((streamed.last_ns - streamed.first_ns < IMPOSSIBLE_TPOT_NS * streamed.output_tokens).sum())
    if len(streamed) and count / len(streamed) > limit:
        text = f"{count} of {len(streamed)} streams came in one piece ({count / len(streamed):.0%}, limit {limit:.0%})"
        yield _suspect(
            "one_piece", f"{text}: TTFT is then the time of the whole answer; a proxy that buffers does this"
        )


@rule("prompt_tokens")
def prompt_tokens(evidence: RunEvidence) -> Iterator[Reason]:
    """The server should see the prompts that the dataset made."""
    done = evidence.rows.where(evidence.rows.completed)
    known = done.where((done.prompt_tokens >= 0) & (done.asked_prompt_tokens > 0))
    if not len(known):
        return
    got, asked = float(known.prompt_tokens.mean()), float(known.asked_prompt_tokens.mean())
    off = float(np.abs(known.prompt_tokens - known.asked_prompt_tokens).sum() / known.asked_prompt_tokens.sum())
    limit = evidence.limits.prompt_difference
    if off > limit:
        text = f"the server counts {got:.1f} tokens a prompt, the dataset {asked:.1f}"
        yield _suspect("prompt_tokens", f"{text}: they differ by {off:.1%} (limit {limit:.1%})")


def each_alone(rows: Records) -> bool:
    """Whether rows are requests for tokens with times of their own; those of an offline batch have one time."""
    return bool((rows.asked_output_tokens > 0).any()) and (len(rows) == 1 or bool(np.ptp(rows.done_ns) > 0))


def few_samples(records: Records) -> tuple[str, ...]:
    """A sentence for the result where a 99th percentile rests on fewer than 100 requests."""
    rows = records.measured()
    count = int(rows.completed.sum())
    if not 0 < count < 100 or not each_alone(rows):
        return ()
    return (f"percentiles rest on {count} requests: p99 lies between the two slowest of them",)


def _asked(rows: Records) -> Records:
    return rows.where(rows.completed & (rows.asked_output_tokens > 0))


def _first_error(rows: Records) -> str:
    known = rows.error[rows.error >= 0]
    return rows.errors[int(np.bincount(known).argmax())] if len(known) else "no error is known"


def _invalid(name: str, text: str) -> Reason:
    return Reason(check=name, severity=Verdict.INVALID, text=text)


def _suspect(name: str, text: str) -> Reason:
    return Reason(check=name, severity=Verdict.SUSPECT, text=text)
