"""Rules on cancelled and repeated requests: does the server stop for the one, and do the others hide its failures?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.records import Status
from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, rule, suspect

#: Fewer tokens are what a server generates until it notices that a client is gone.
LEAST_TOKENS = 100


@rule("goes_on")
def goes_on(evidence: RunEvidence) -> Iterator[Reason]:
    """A server that goes on generating for clients that are gone has less room for the others.

    Its counter of generated tokens is compared with what clients received. It is not judged if answers came without
    usage, or if the counter is unknown.
    """
    rows, generated = evidence.every, evidence.facts["server_generation_tokens"]
    cancelled = rows.status == Status.USER_CANCELLED
    if generated is None or not cancelled.any() or (rows.output_tokens[rows.completed] < 0).any():
        return
    received = int(rows.output_tokens[rows.completed].sum() + rows.chunks[~rows.completed].sum())
    unread = int(np.maximum(rows.asked_output_tokens - rows.chunks, 0)[cancelled].sum())
    excess, limit = generated - received, evidence.limits.unread_fraction
    if unread >= LEAST_TOKENS and excess > limit * unread:
        text = f"the server goes on after {int(cancelled.sum())} cancellations: it generated {excess:.0f} tokens that"
        words = f"{as_percent(excess / unread)} of what these requests asked for further, limit {as_percent(limit)}"
        yield suspect("goes_on", f"{text} nobody received ({words}); look for a proxy that reads answers to their end")


@rule("retried")
def retried(evidence: RunEvidence) -> Iterator[Reason]:
    """A request that is sent again hides a failure, and puts more load on the server than was asked for."""
    window, limit = evidence.window, evidence.limits.retried_fraction
    tries = window.labels.get("tries")
    if tries is None or not len(tries):
        return
    again = int((tries > 1).sum())
    if again / len(tries) > limit:
        fraction = f"{as_percent(again / len(tries), 1)}, limit {as_percent(limit, 1)}"
        yield suspect("retried", f"{again} of {len(tries)} requests were sent again after a failure ({fraction})")
