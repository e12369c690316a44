"""Rules on the answers: are they complete, and do they have the requested tokens?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from benchhydra.failure_texts import commonest_failure
from benchhydra.output_check import checked_answers
from benchhydra.records import Anomaly, Records, Status
from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, invalid, rule, suspect

#: No server generates, or reads, more tokens per second for one request.
MOST_OUTPUT_TPS = 1e6
MOST_PROMPT_TPS = 1e8
#: Answers of fewer tokens may well be blank: a line feed, the end of the sequence.
FEW_TOKENS = 4
#: The highest percentile that is always computed.
HIGHEST_PERCENT = 99.0
#: With fewer requests above a percentile, it is an interpolation between the slowest two ...
FEW_ABOVE = 1
#: ... with this many it is reliable.
ENOUGH_ABOVE = 10


@rule("completed")
def completed(evidence: RunEvidence) -> Iterator[Reason]:
    """Enough requests must have completed in the window."""
    window, least = evidence.window, evidence.limits.least_completed
    count = int(window.completed.sum())
    if not len(window):
        yield invalid("completed", "the measured window contains no request")
    elif not count:
        words = commonest_failure(window) or "no error was recorded"
        yield invalid("completed", f"none of {len(window)} requests completed ({words})")
    elif count < least and has_own_times(window):
        yield suspect("completed", f"only {count} requests completed: measure at least {least}")


@rule("failed_fraction")
def failed_fraction(evidence: RunEvidence) -> Iterator[Reason]:
    """Failed requests have no latencies, and put less load on the server."""
    window, limit = evidence.window, evidence.limits.failed_fraction
    failed, ended = int(window.failed.sum()), int((~window.cancelled).sum())
    if ended and failed / ended > limit:
        classes = ", ".join(f"{number} {name}" for name, number in window.where(window.failed).failures().items())
        text = f"{failed} of {ended} requests failed ({as_percent(failed / ended, 1)}, limit {as_percent(limit, 1)})"
        words = commonest_failure(window)
        yield invalid("failed_fraction", f"{text}: {classes}" + (f"; most often: {words}" if words else ""))


@rule("interrupted")
def interrupted(evidence: RunEvidence) -> Iterator[Reason]:
    """The figures of an interrupted run are partial, but valid."""
    if evidence.facts["interrupted"]:
        count = int(evidence.window.completed.sum())
        yield suspect("interrupted", f"the run was interrupted: the figures are of {count} completed requests")


@rule("tokens")
def tokens(evidence: RunEvidence) -> Iterator[Reason]:
    """The server must generate tokens, and report how many."""
    window = evidence.window
    counts = window.output_tokens[window.completed & (window.asked_output_tokens > 0)]
    if not len(counts):
        return
    unknown, empty = int((counts < 0).sum()), int((counts == 0).sum())
    if empty and empty + unknown == len(counts):
        yield invalid("tokens", f"the server generated no token: {empty} of {len(counts)} answers have none")
    elif unknown:
        extent = "absent" if unknown == len(counts) else "incomplete"
        text = f"{unknown} of {len(counts)} answers had no usage"
        yield suspect("tokens", f"{text}: token counts and token metrics are {extent}")


@rule("short")
def short(evidence: RunEvidence) -> Iterator[Reason]:
    """With ignore_eos, every answer should have the requested length."""
    window, limit = evidence.window, evidence.limits.short_fraction
    answers = int(window.completed.sum())
    if not evidence.facts["ignore_eos"] or not answers:
        return
    count = int((window.status == Status.SHORT).sum())
    if count / answers > limit:
        fraction = f"{as_percent(count / answers, 1)}, limit {as_percent(limit, 1)}"
        yield suspect("short", f"{count} of {answers} answers are shorter than requested ({fraction})")


@rule("long")
def long(evidence: RunEvidence) -> Iterator[Reason]:
    """No answer may be longer than requested: without usage, chunks are counted, which have at least a token each."""
    window, limit = evidence.window, evidence.limits.long_fraction
    answers = window.completed & (window.asked_output_tokens > 0) & ~window.has(Anomaly.SEVERAL_CHOICES)
    tokens = np.where(window.output_tokens >= 0, window.output_tokens, window.chunks)
    too_long = answers & (tokens > window.asked_output_tokens)
    total, count = int(answers.sum()), int(too_long.sum())
    if total and count / total > limit:
        figures = f"{tokens[too_long].mean():.1f} tokens instead of {window.asked_output_tokens[too_long].mean():.1f}"
        fraction = f"{as_percent(count / total, 1)}, limit {as_percent(limit, 1)}"
        text = f"{count} of {total} answers are longer than requested ({fraction}): {figures} in the mean"
        yield suspect("long", f"{text}; the server does not obey the limit on tokens (api.token_limit=)")


@rule("chunks")
def chunks(evidence: RunEvidence) -> Iterator[Reason]:
    """A chunk has at least a token: with more chunks than tokens, the server's usage leaves tokens out."""
    window, limit = evidence.window, evidence.limits.usage_fraction
    streams = window.completed & (window.output_tokens >= 0) & (window.chunks > 0)
    more = streams & (window.chunks > window.output_tokens)
    total, count = int(streams.sum()), int(more.sum())
    if total and count / total > limit:
        figures = f"{window.chunks[more].mean():.1f} chunks, {window.output_tokens[more].mean():.1f} tokens in the mean"
        fraction = f"{as_percent(count / total, 1)}, limit {as_percent(limit, 1)}"
        text = f"{count} of {total} streams have more chunks than tokens ({fraction}): {figures}"
        yield suspect("chunks", f"{text}; the server's usage leaves tokens out (reasoning), or chunks came twice")


@rule("output_check")
def output_check(evidence: RunEvidence) -> Iterator[Reason]:
    """Most answers must be as dataset.expect says, or the data: an engine that talks nonsense may be fast."""
    checked, limit = checked_answers(evidence.window.labels), evidence.limits.correct_fraction
    if len(checked) and checked.mean() < limit:
        text = f"only {checked.sum()} of {len(checked)} answers are as expected"
        fraction = f"{as_percent(checked.mean(), 1)}, limit {as_percent(limit, 1)}"
        advice = "script.keep_text=true shows the answers; validity.correct_fraction= is the limit for a weak model"
        yield suspect("output_check", f"{text} ({fraction}): {advice}")


@rule("usage")
def usage(evidence: RunEvidence) -> Iterator[Reason]:
    """The server's token counts must add up: the total is prompt + completion, with reasoning in the completion."""
    window, limit = evidence.window, evidence.limits.usage_fraction
    total, count = int(window.completed.sum()), int((window.completed & window.has(Anomaly.TOTAL_DIFFERS)).sum())
    if total and count / total > limit:
        fraction = f"{as_percent(count / total, 1)}, limit {as_percent(limit, 1)}"
        text = f"in {count} of {total} answers ({fraction}) usage.total_tokens is not prompt_tokens + completion_tokens"
        yield suspect("usage", f"{text}: tokens are left out (reasoning), or counted twice")


@rule("several_choices")
def several_choices(evidence: RunEvidence) -> Iterator[Reason]:
    """TPOT and ITL are of one sequence of tokens; the chunks of several choices come in turn."""
    window = evidence.window
    several = window.completed & window.has(Anomaly.SEVERAL_CHOICES)
    count, total = int(several.sum()), int(window.completed.sum())
    if not count:
        return
    text = f"{count} of {total} answers have several choices"
    if (several & (window.chunks > 0)).any():
        yield invalid("several_choices", f"{text}, whose times are mixed: TPOT and ITL are wrong (script.body.n=1)")
    else:
        yield suspect("several_choices", f"{text}: token counts are of all choices together (script.body.n=1)")


@rule("blank")
def blank(evidence: RunEvidence) -> Iterator[Reason]:
    """Answers must have text. A model may answer with a few blank tokens, but seldom with nothing else."""
    window, limit = evidence.window, evidence.limits.blank_fraction
    blanks = window.completed & window.has(Anomaly.BLANK)
    total, count = int(window.completed.sum()), int(blanks.sum())
    if total and count == total:
        yield invalid("blank", f"none of {total} answers has text: their tokens are special tokens or white space")
        return
    longer = window.completed & (window.output_tokens >= FEW_TOKENS)
    total, count = int(longer.sum()), int((blanks & longer).sum())
    if count and count / total > limit / 10:
        severity = invalid if count / total > limit else suspect
        fraction = (
            f"{as_percent(count / total, 1)}, limit {as_percent(limit if severity is invalid else limit / 10, 1)}"
        )
        text = f"{count} of {total} answers have only special tokens or white space ({fraction})"
        yield severity("blank", f"{text}: use other prompts, or script.ignore_eos=false")


@rule("repeated")
def repeated(evidence: RunEvidence) -> Iterator[Reason]:
    """An answer ends with its finish reason; text after it, or the whole text again, is not counted."""
    window = evidence.window
    doubled = window.completed & window.has(Anomaly.REPEATED) & ~window.has(Anomaly.SEVERAL_CHOICES)
    if doubled.any():
        count, total = int(doubled.sum()), int(window.completed.sum())
        text = f"{count} of {total} answers had text again after their end, which is not counted"
        yield suspect("repeated", f"{text}; look for a proxy that repeats answers")


@rule("impossible")
def impossible(evidence: RunEvidence) -> Iterator[Reason]:
    """Token counts must be possible: not negative, and not more than any server generates or reads in the time."""
    window = evidence.window
    total, bad = int(window.completed.sum()), int((window.completed & window.has(Anomaly.IMPOSSIBLE_USAGE)).sum())
    if bad:
        text = f"{bad} of {total} answers have impossible token counts (negative, fractions or above 2**31)"
        yield invalid("impossible", f"{text}: look at the server's usage")
    limits = (("output", MOST_OUTPUT_TPS, window.output_tokens), ("prompt", MOST_PROMPT_TPS, window.prompt_tokens))
    for name, most_tps, tokens in limits:
        unseen = (tokens > window.chunks) & (tokens > 0) & window.completed & (window.e2el_ms > 0)
        rates_tps = tokens[unseen] / window.e2el_ms[unseen] * 1e3
        count = int((rates_tps > most_tps).sum())
        if count:
            rate = f"{rates_tps.max():.2g} tokens/s in one answer, limit {most_tps:.0e}"
            text = f"{count} of {total} answers have more {name} tokens than any server handles in their time"
            yield invalid("impossible", f"{text} ({rate}): look at the server's usage")


@rule("prompt_tokens")
def prompt_tokens(evidence: RunEvidence) -> Iterator[Reason]:
    """Server and dataset should count the same prompt tokens; otherwise the tokenizer or template is wrong."""
    window, limit = evidence.window, evidence.limits.prompt_difference
    counted = window.completed & (window.prompt_tokens >= 0) & (window.asked_prompt_tokens > 0)
    if not counted.any() or evidence.facts["media"]:  # whose tokens nobody knows before
        return
    server, dataset = window.prompt_tokens[counted], window.asked_prompt_tokens[counted]
    difference = float(np.abs(server - dataset).sum() / dataset.sum())
    if evidence.facts["lengths_of_texts"]:  # some servers do not count the chat template's tokens
        texts = dataset - evidence.facts["template_tokens"]
        difference = min(difference, float(np.abs(server - texts).sum() / max(1, texts.sum())))
    if difference > limit:
        text = f"the server counts {server.mean():.1f} tokens per prompt, the dataset {dataset.mean():.1f}"
        fraction = f"{as_percent(difference, 1)} (limit {as_percent(limit, 1)})"
        words = f"{text}: they differ by {fraction}{_template_words(server - dataset)}"
        yield suspect("prompt_tokens", words)


def _template_words(differences: npt.NDArray[np.int64]) -> str:
    """Return what to do if every request has the same number of tokens too many: that is a template's doing."""
    if len(differences) < 2 or np.ptp(differences) or differences[0] <= 0:
        return ""
    return (
        f", {differences[0]} for every request, as by a chat template or system prompt of the server's own: "
        "model.chat_template=FILE counts it in"
    )


def has_own_times(rows: Records) -> bool:
    """Return whether the rows are requests with individual times; the rows of an offline batch share one time."""
    return bool((rows.asked_output_tokens >= 0).any()) and (len(rows) == 1 or bool(np.ptp(rows.done_ns) > 0))


def few_samples(rows: Records, percentiles: Iterable[float] = ()) -> tuple[str, ...]:
    """Return a warning if too few measured requests completed for the highest percentile, else ().

    percentiles: those, in percent, that are computed besides p99 and lower ones.
    """
    count = int(rows.completed.sum())
    percent = max((HIGHEST_PERCENT, *percentiles))
    if not 0 < count < round(FEW_ABOVE / (1 - percent / 100)) or not has_own_times(rows):
        return ()
    enough = round(ENOUGH_ABOVE / (1 - percent / 100))
    return (f"only {count:,} requests: p{percent:g} is unreliable, use at least {enough:,}",)
