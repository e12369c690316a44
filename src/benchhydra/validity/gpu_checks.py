"""Rules on the GPUs of the run: clocks that were lowered, other processes, and their memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.gpu_throttling import causes, is_throttled
from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, rule, suspect
from benchhydra.window_series import named, samples_inside


@rule("gpu_throttled")
def gpu_throttled(evidence: RunEvidence) -> Iterator[Reason]:
    """A GPU that lowers its clocks because of heat or of its power supply is slower than in another run.

    A power limit lowers them too, on many cards under every heavy load, in each run alike: that is no reason.
    """
    limit = evidence.limits.throttled_fraction
    masks = samples_inside(named(evidence.window.series, "gpu.throttle_reasons"), evidence.window.span_ns)
    for gpu, values in masks.items():
        throttled = [int(mask) for mask in values if is_throttled(int(mask))]
        if len(throttled) / len(values) > limit:
            why = " and ".join(causes(int(np.bitwise_or.reduce(throttled))))
            text = f"{gpu} had lowered clocks in {as_percent(len(throttled) / len(values))} of the window: {why}"
            yield suspect("gpu_throttled", f"{text} (limit {as_percent(limit)})")


@rule("other_gpu")
def other_gpu(evidence: RunEvidence) -> Iterator[Reason]:
    """Other processes on the GPUs of this run take time and memory from the server."""
    pids, memory_mib = evidence.facts["other_gpu_pids"], evidence.facts["other_gpu_memory_mib"]
    if pids:
        memory = "" if memory_mib is None else f"; up to {memory_mib:,.0f} MiB of a GPU are not the server's"
        yield suspect("other_gpu", f"other processes use the GPUs of this run: {', '.join(map(str, pids))}{memory}")


@rule("other_gpu_memory")
def other_gpu_memory(evidence: RunEvidence) -> Iterator[Reason]:
    """Memory that a process outside this container holds leaves less for the server's KV cache."""
    memory_mib, limit_mib = evidence.facts["other_gpu_memory_mib"], evidence.limits.other_gpu_memory_mib
    if memory_mib is not None and memory_mib > limit_mib and not evidence.facts["other_gpu_pids"]:
        text = f"{memory_mib:,.0f} MiB of a GPU of this run are in use by no process that NVML lists"
        yield suspect("other_gpu_memory", f"{text} (limit {limit_mib:,.0f} MiB): less is left for the KV cache")
