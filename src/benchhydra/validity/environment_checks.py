"""Rules on the environment of the run: the server's caches and restarts, and other processes on the machine."""

from __future__ import annotations

from collections.abc import Iterator

from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, rule, suspect
from benchhydra.window_series import named, total_of_means


@rule("prefix_cache")
def prefix_cache(evidence: RunEvidence) -> Iterator[Reason]:
    """Prompts found in a cache need no prefill: TTFT is underestimated."""
    facts, limit = evidence.facts, evidence.limits.prefix_hit_fraction
    queries, hits = facts["prefix_cache_queries"], facts["prefix_cache_hits"]
    if facts["prefix_cache_intended"] or not queries or hits is None:
        return
    if hits / queries > limit:
        text = f"{as_percent(hits / queries, 1)} of prompt tokens were found in the server's prefix cache"
        yield suspect("prefix_cache", f"{text} (limit {as_percent(limit, 1)}), and the dataset intends none")


@rule("cache_reset")
def cache_reset(evidence: RunEvidence) -> Iterator[Reason]:
    """A reused server must start with empty caches."""
    if evidence.facts["cache_reset"] is False:
        yield suspect("cache_reset", "the server was used before, and it did not confirm that its caches are empty")


@rule("mixed_versions")
def mixed_versions(evidence: RunEvidence) -> Iterator[Reason]:
    """Figures of servers of several versions together are those of no version."""
    versions = evidence.facts["mixed_versions"]
    if versions:
        yield suspect(
            "mixed_versions", f"the servers that share the load have different versions: {', '.join(versions)}"
        )


@rule("preemptions")
def preemptions(evidence: RunEvidence) -> Iterator[Reason]:
    """A server that preempts requests computes tokens again: its KV cache is too small for the load."""
    count, requests, limit = evidence.facts["preemptions"], len(evidence.every), evidence.limits.preempted_fraction
    if count is not None and requests and count / requests > limit:
        text = f"the server preempted requests {count:g} times ({requests} requests)"
        yield suspect("preemptions", f"{text} ({as_percent(count / requests, 1)}, limit {as_percent(limit, 1)})")


@rule("server_restarted")
def server_restarted(evidence: RunEvidence) -> Iterator[Reason]:
    """A server that was restarted is no longer warm."""
    if evidence.facts["server_restarted"]:
        yield suspect("server_restarted", "the server had died or its caches could not be reset: it was restarted")


@rule("server_not_empty")
def server_not_empty(evidence: RunEvidence) -> Iterator[Reason]:
    """What an overload has left in the server's queue delays the requests of the next point."""
    if evidence.facts["server_drained"] is False:
        waited = f"{evidence.facts['server_drain_s']:.0f} s"
        yield suspect("server_not_empty", f"the server still worked on the point before, {waited} after its overload")


@rule("other_cpu")
def other_cpu(evidence: RunEvidence) -> Iterator[Reason]:
    """Other processes on the cores of this run slow down the server, the client, or both."""
    used, limit = evidence.facts["other_cpu_fraction"], evidence.limits.other_cpu_fraction
    if used is not None and used > limit:
        yield suspect(
            "other_cpu",
            f"other processes used {as_percent(used)} of the cores of this run (limit {as_percent(limit)})",
        )


@rule("machine_swapping")
def machine_swapping(evidence: RunEvidence) -> Iterator[Reason]:
    """A machine that swaps stops processes, the server's or the client's, for as long as a disk takes."""
    window, limit = evidence.window, evidence.limits.swap_mib_per_s
    swapped = total_of_means(named(window.series, "host.swap_mib_per_s"), window.span_ns)
    if swapped is not None and swapped > limit:
        text = f"this machine moved {swapped:.3g} MiB/s to and from its swap space (limit {limit:g} MiB/s)"
        yield suspect("machine_swapping", f"{text}: it has too little memory for what runs on it")
