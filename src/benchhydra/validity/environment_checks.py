"""Rules on what surrounded the run: the server's caches and restarts, and other users of the machine."""

from __future__ import annotations

from collections.abc import Iterator

from benchhydra.result import Reason, Verdict
from benchhydra.validity import RunEvidence, rule


@rule("prefix_cache")
def prefix_cache(evidence: RunEvidence) -> Iterator[Reason]:
    """Prompts found in a cache cost no prefill: TTFT is better than it is."""
    facts, limit = evidence.facts, evidence.limits.prefix_hit_share
    if facts.prefix_cache_intended or not facts.prefix_cache_queries or facts.prefix_cache_hits is None:
        return
    share = facts.prefix_cache_hits / facts.prefix_cache_queries
    if share > limit:
        text = f"{share:.1%} of prompt tokens were found in the server's prefix cache (limit {limit:.1%})"
        yield _suspect("prefix_cache", f"{text}; the dataset intends none")


@rule("cache_reset")
def cache_reset(evidence: RunEvidence) -> Iterator[Reason]:
    """A server that is used again must start with empty caches."""
    if evidence.facts.cache_reset is False:
        yield _suspect("cache_reset", "the server was used before, and emptying its caches is not proven")


@rule("preemptions")
def preemptions(evidence: RunEvidence) -> Iterator[Reason]:
    """A server that preempts computes again what it had computed: its cache is too small for the load."""
    count, requests, limit = evidence.facts.preemptions, len(evidence.every), evidence.limits.preempted_share
    if count is not None and requests and count / requests > limit:
        text = f"the server preempted requests {count:g} times for {requests} requests"
        yield _suspect("preemptions", f"{text} ({count / requests:.1%}, limit {limit:.1%})")


@rule("server_restarted")
def server_restarted(evidence: RunEvidence) -> Iterator[Reason]:
    """A server that had to be started anew lost what it was warmed up with."""
    if evidence.facts.server_restarted:
        yield _suspect("server_restarted", "the server of this point had died or was stuck, and was started again")


@rule("other_cpu")
def other_cpu(evidence: RunEvidence) -> Iterator[Reason]:
    """Others on our cores take time from the server, the client, or both."""
    share, limit = evidence.facts.other_cpu_share, evidence.limits.other_cpu_share
    if share is not None and share > limit:
        text = f"other processes used {share:.0%} of the cores of this run (limit {limit:.0%})"
        yield _suspect("other_cpu", text)


@rule("other_gpu")
def other_gpu(evidence: RunEvidence) -> Iterator[Reason]:
    """Others on our GPUs take time and memory from the server."""
    pids = evidence.facts.other_gpu_pids
    if pids:
        yield _suspect("other_gpu", f"other processes use the GPUs of this run: {', '.join(map(str, pids))}")


def _suspect(name: str, text: str) -> Reason:
    return Reason(check=name, severity=Verdict.SUSPECT, text=text)
