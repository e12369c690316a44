"""Facts about the load generator itself: declared here, measured in each client process, merged for the load."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from benchhydra.facts import fact
from benchhydra.loadgen.loop.loop_lag import PERIOD_NS
from benchhydra.loadgen.ray.clock_sync import NodeClock
from benchhydra.loadgen.shards import ShardResult
from benchhydra.series import Series

#: Interval of the series of the event loop's lateness.
LAG_INTERVAL_NS = 250_000_000

# Measured by each client process; the fact is the maximum, that is, the value of the worst process.
CPU_FRACTION = fact(
    "client_cpu_fraction",
    unit="fraction",
    doc="CPU seconds per second of the busiest client process",
    in_metadata=True,
)

# Computed from the measurements of all processes together.
INTERRUPTED = fact("interrupted", unit="bool", doc="a signal ended the load before its end")
LOOP_STALL_P99_MS = fact(
    "client_loop_stall_p99_ms", unit="ms", doc="p99 lateness of a 20 ms timer in the event loops", in_metadata=True
)
LOOP_STALL_MAX_MS = fact(
    "client_loop_stall_max_ms", unit="ms", doc="highest lateness of a 20 ms timer in the event loops", in_metadata=True
)
LAG_P99_MS = fact(
    "client_lag_p99_ms",
    unit="ms",
    doc="p99 of the client's own lateness in sending: waiting for max_in_flight is not part of it",
)
STOPPED_EARLY = fact(
    "stopped_early", unit="bool", doc="the load ended early because it was decided whether slo is met", in_metadata=True
)
SLO_DECISION = fact(
    "slo_decision", unit="text", doc="what ended a load early: all limits of slo met, or one missed", in_metadata=True
)
PROCESSES = fact("client_processes", unit="processes", doc="client processes that sent the load", in_metadata=True)
LOST_PROCESSES = fact(
    "lost_client_processes", unit="text", doc="a sentence for each client process that ended without returning rows"
)
CLOCKS = fact(
    "client_clocks", unit="mapping", doc="clocks of other client machines relative to this one", in_metadata=True
)
CLOCK_UNCERTAINTY_MS = fact(
    "clock_uncertainty_ms", unit="ms", doc="largest uncertainty of the clock offsets of other client machines"
)


def merge_facts(
    results: Collection[ShardResult], processes: int, lost_processes: Sequence[str], clocks: Sequence[NodeClock]
) -> dict[str, Any]:
    """Return the facts of a load from those of its shards. Unknown values are absent."""
    stalls_ns, lags_ns = array("f"), array("f")
    for result in results:
        stalls_ns += result.stalls_ns
        lags_ns += result.lags_ns
    facts = {
        name: max(result.facts[name] for result in results if name in result.facts)
        for name in sorted({name for result in results for name in result.facts})
    }
    facts |= {
        INTERRUPTED: any(result.interrupted for result in results),
        LOOP_STALL_P99_MS: _p99_ms(stalls_ns),
        LOOP_STALL_MAX_MS: max(stalls_ns) / 1e6 if stalls_ns else None,
        LAG_P99_MS: _p99_ms(lags_ns),
        PROCESSES: processes,
        LOST_PROCESSES: tuple(lost_processes),
    }
    if clocks:
        facts[CLOCKS] = [clock.facts() for clock in clocks]
        facts[CLOCK_UNCERTAINTY_MS] = max(clock.uncertainty_ms for clock in clocks)
    return {name: value for name, value in facts.items() if value is not None}


def loop_lag_series(results: Collection[ShardResult]) -> tuple[Series, ...]:
    """Return the highest lateness of the event loops of this machine in each ``LAG_INTERVAL_NS``; () without beats."""
    beats = [np.frombuffer(result.stalls_ns, np.float32) for result in results if result.stalls_ns]
    if not beats:
        return ()
    starts_ns = [result.start_ns for result in results if result.stalls_ns]
    times_ns = np.concatenate(
        [start_ns + np.arange(1, len(late) + 1) * PERIOD_NS for start_ns, late in zip(starts_ns, beats, strict=True)]
    )
    interval = (times_ns - min(starts_ns)) // LAG_INTERVAL_NS
    highest_ns = np.zeros(interval.max() + 1)
    np.maximum.at(highest_ns, interval, np.concatenate(beats))
    measured = np.unique(interval)
    ends_ns = min(starts_ns) + (measured + 1) * LAG_INTERVAL_NS
    values_ms = highest_ns[measured] / 1e6
    return (Series(name="client.loop_lag_ms", unit="ms", times_ns=ends_ns, values=values_ms),)


def _p99_ms(values_ns: array[float]) -> float | None:
    return float(np.percentile(np.frombuffer(values_ns, np.float32), 99)) / 1e6 if values_ns else None
