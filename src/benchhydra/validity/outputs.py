"""Rules on answers that are more than text: vectors, scores, structured output, tool calls, reasoning, images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.records import Anomaly
from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, rule, suspect


@rule("equal_items")
def equal_items(evidence: RunEvidence) -> Iterator[Reason]:
    """Different texts have different vectors and scores: equal ones were copied, not computed."""
    text = "have two equal vectors, or only equal scores"
    hint = "look whether the server computes each of them, or whether the texts are equal"
    yield from _too_many(evidence, "equal_items", Anomaly.EQUAL_ITEMS, 0.0, text, hint)


@rule("unsorted")
def unsorted(evidence: RunEvidence) -> Iterator[Reason]:
    """Ranked documents come with the best first."""
    hint = "users who take the first ones get the wrong documents"
    yield from _too_many(evidence, "unsorted", Anomaly.UNSORTED, 0.0, "are not in the order of their scores", hint)


@rule("structured_output")
def structured_output(evidence: RunEvidence) -> Iterator[Reason]:
    """Answers must match the schema, regex or choice: ignoring it is faster than obeying it."""
    limit = evidence.limits.invalid_output_fraction
    text = "do not match the schema, regex or choice"
    hint = "look whether the server supports it, and whether dataset.output_tokens leaves room for a whole answer"
    yield from _too_many(evidence, "structured_output", Anomaly.INVALID_OUTPUT, limit, text, hint)


@rule("tool_calls")
def tool_calls(evidence: RunEvidence) -> Iterator[Reason]:
    """Tool calls must be of tools that were offered, with arguments that fit; if one is required, it must be there."""
    limit = evidence.limits.invalid_output_fraction
    text = "lack a tool call that was required, or have one that fits none of the tools"
    hint = "look at the server's tool parser, and whether dataset.output_tokens leaves room for a whole call"
    yield from _too_many(evidence, "tool_calls", Anomaly.WRONG_TOOL_CALL, limit, text, hint)


@rule("reasoning")
def reasoning(evidence: RunEvidence) -> Iterator[Reason]:
    """With api.reasoning, there must be reasoning apart from the answer, and usage must count it."""
    window, limit = evidence.window, evidence.limits.usage_fraction
    chunks, tokens = (window.labels.get(f"reasoning_{name}") for name in ("chunks", "tokens"))
    streams = window.completed & (window.chunks > 0)
    if chunks is None or tokens is None or not streams.any():
        return
    if not chunks[streams].any():
        text = f"none of {int(streams.sum())} answers has reasoning apart from its text"
        yield suspect("reasoning", f"{text}: start the server with a reasoning parser, or leave out api.reasoning")
        return
    answered = streams & (chunks < window.chunks)
    if not answered.any():
        text = f"the reasoning of all {int(streams.sum())} answers ended at the token limit, before the answer"
        yield suspect("reasoning", f"{text}: a larger dataset.output_tokens")
    counted = streams & (tokens >= 0) & bool((tokens[streams] > 0).any())  # else it does not count them
    total, count = int(counted.sum()), int((counted & (tokens < chunks)).sum())
    if total and count / total > limit:
        fraction = f"{as_percent(count / total, 1)}, limit {as_percent(limit, 1)}"
        text = f"in {count} of {total} answers ({fraction}) usage has fewer tokens of reasoning than chunks of it came"
        yield suspect("reasoning", f"{text}: its counts are wrong, or chunks came twice")


@rule("image_tokens")
def image_tokens(evidence: RunEvidence) -> Iterator[Reason]:
    """Made images are all of one size, so that each has the same number of tokens."""
    window, limit = evidence.window, evidence.limits.prompt_difference
    images = window.labels.get("images")
    counted = window.completed & (window.prompt_tokens >= 0) & (window.asked_prompt_tokens > 0)
    if images is None or not evidence.facts["equal_images"] or not counted.any():
        return
    tokens = (window.prompt_tokens - window.asked_prompt_tokens)[counted] / images[counted]
    middle = float(np.median(tokens))
    if middle <= 0:
        text = f"the server counts {middle:.1f} tokens for an image"
        yield suspect("image_tokens", f"{text}: it does not count them, or ignores them")
    elif float(np.abs(tokens - middle).mean()) / middle > limit:
        text = f"images of one size have from {tokens.min():.0f} to {tokens.max():.0f} tokens by the server's usage"
        yield suspect("image_tokens", f"{text}: its counts are wrong, or it leaves some images out")


def _too_many(
    evidence: RunEvidence, check: str, anomaly: Anomaly, limit: float, what: str, hint: str
) -> Iterator[Reason]:
    window = evidence.window
    total, count = int(window.completed.sum()), int((window.completed & window.has(anomaly)).sum())
    if count and count / total > limit:
        fraction = f"{as_percent(count / total, 1)}, limit {as_percent(limit, 1)}"
        yield suspect(check, f"{count} of {total} answers {what} ({fraction}): {hint}")
