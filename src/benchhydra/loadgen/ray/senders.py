"""Client processes on the nodes of a Ray cluster, each sending its shard on its own machine's clock.

Before the load, the schedule is translated to the clock of each node; after it, the rows are translated back to ours,
with offsets estimated before and after (``clock_sync``). The latencies of a row depend on one clock only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic_ns
from typing import Any

from benchhydra import interruption
from benchhydra.errors import EngineError
from benchhydra.interruption import stop_on_signal
from benchhydra.loadgen.processes.frames import apply_frame
from benchhydra.loadgen.processes.serialization import pack_shard
from benchhydra.loadgen.ray.clock_sync import NodeClock, OffsetEstimate, RoundTrip, estimate_offset
from benchhydra.loadgen.ray.relay import PIECE_BYTES, Relay
from benchhydra.loadgen.shards import Shard, ShardProgress, ShardResult, lost_shard, mark_interrupted

#: Time from calling ``go`` to the start of the schedule: long, because calls to many nodes take a while.
LEAD_NS = 200_000_000
ROUND_TRIPS = 50
START_TIMEOUT_S = 120.0
_WAIT_S = 0.1

ReportPart = Callable[[int, ShardProgress], None]


class RemoteSender:
    """The actor that sends one shard from a node, and what it has reported."""

    def __init__(self, part: int, actor: Any, shard: Shard) -> None:
        self.part = part
        self.actor = actor
        self.shard = shard
        self.host = "a node"
        self.ready = False
        self.result: ShardResult | None = None
        self.lost: str | None = None
        self.before: OffsetEstimate | None = None
        self.after: OffsetEstimate | None = None

    @property
    def ended(self) -> bool:
        return self.lost is not None or self.result is not None

    def open(self) -> None:
        """Send the shard to the node and start the client process there."""
        import ray

        self.host = ray.get(self.actor.host.remote(), timeout=START_TIMEOUT_S)
        packed = pack_shard(self.shard)
        pieces = [packed[at : at + PIECE_BYTES] for at in range(0, len(packed), PIECE_BYTES)]
        ray.get([self.actor.add_piece.remote(number, piece) for number, piece in enumerate(pieces)])
        ray.get(self.actor.open.remote())

    def go(self, start_ns: int) -> None:
        """Start sending at ``start_ns`` of our clock."""
        assert self.before is not None
        self.actor.go.remote(start_ns - self.before.offset_ns)

    def measure_offset(self) -> OffsetEstimate:
        """Return an estimate of the offset between our clock and the node's."""
        import ray

        trips = []
        for _ in range(ROUND_TRIPS):
            sent_ns = monotonic_ns()
            remote_ns = ray.get(self.actor.now_ns.remote())
            trips.append(RoundTrip(sent_ns, remote_ns, monotonic_ns()))
        return estimate_offset(trips)

    def apply_output(self, output: Any, report: ReportPart) -> None:
        """Store what the client process has reported."""
        frames, exit_code = output
        for kind, body in frames:
            apply_frame(self, self.part, kind, body, report)
        if exit_code is not None and self.result is None:
            code = f"exit code {exit_code}"
            self.lost = f"client process {self.part} on {self.host} ended with {code} and returned no rows"

    def lose(self, error: Exception) -> None:
        """Mark the sender as lost, because its actor has died."""
        if self.result is None:
            kind = type(error).__name__
            self.lost = f"client actor {self.part} on {self.host} died ({kind}) and returned no rows"


@dataclass(frozen=True, kw_only=True)
class ClusterResult:
    """The outcome of all shards: results by shard number (also of lost ones), a sentence per lost one, clocks."""

    results: dict[int, ShardResult]
    lost: tuple[str, ...]
    clocks: tuple[NodeClock, ...]


def send_on_ray(shards: list[Shard], report: ReportPart, relay: Callable[[], Relay] = Relay) -> ClusterResult:
    """Send each shard from an actor of the cluster that this process is connected to, spread over its nodes.

    relay: the class of the actors. The first SIGINT or SIGTERM stops sending; the result then has partial rows. Each
    row of an actor that died is CANCELLED. Raises EngineError if no actor returned a result.
    """
    import ray

    actor_class = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=4, scheduling_strategy="SPREAD")(relay)
    senders = [RemoteSender(part, actor_class.remote(), shard) for part, shard in enumerate(shards)]
    try:
        with stop_on_signal(lambda: None) as signals:
            start_ns = _send(senders, report, signals)
    finally:
        for sender in senders:
            ray.kill(sender.actor, no_restart=True)
    return _cluster_result(senders, start_ns, signals)


def _send(senders: list[RemoteSender], report: ReportPart, signals: Sequence[int]) -> int:
    """Send the load, or stop it at a signal. Returns its start on our clock, in ns."""
    _call_each(senders, RemoteSender.open)
    _read_until(senders, report, [], lambda sender: sender.ready)
    _call_each(senders, _measure_before)
    if signals:
        raise interruption.interrupt_exception()  # nothing is sent yet
    start_ns = monotonic_ns() + LEAD_NS
    _call_each(senders, lambda sender: sender.go(start_ns))
    _read_until(senders, report, signals, lambda sender: sender.result is not None)
    _call_each(senders, _measure_after)
    return start_ns


def _measure_before(sender: RemoteSender) -> None:
    sender.before = sender.measure_offset()


def _measure_after(sender: RemoteSender) -> None:
    sender.after = sender.measure_offset()


def _call_each(senders: list[RemoteSender], call: Callable[[RemoteSender], None]) -> None:
    """Call ``call`` with each sender that is not lost; a Ray error marks the sender as lost."""
    from ray.exceptions import RayError

    for sender in senders:
        if sender.lost is None:
            try:
                call(sender)
            except RayError as error:
                sender.lose(error)


def _read_until(
    senders: list[RemoteSender],
    report: ReportPart,
    signals: Sequence[int],
    reached: Callable[[RemoteSender], bool],
) -> None:
    """Read output until each sender has reached a state or is lost. After a signal, tell all of them to stop, once."""
    import ray
    from ray.exceptions import RayError

    stopping = False
    pending: dict[Any, RemoteSender] = {}
    while True:
        for sender in senders:
            if not sender.ended and not reached(sender) and sender not in pending.values():
                pending[sender.actor.read.remote()] = sender
        if not pending:
            return
        if signals and not stopping:
            stopping = True
            _call_each([sender for sender in senders if not sender.ended], lambda sender: sender.actor.stop.remote())
        for reference in ray.wait(list(pending), num_returns=1, timeout=_WAIT_S)[0]:
            sender = pending.pop(reference)
            try:
                sender.apply_output(ray.get(reference), report)
            except RayError as error:
                sender.lose(error)


def _cluster_result(senders: list[RemoteSender], start_ns: int, signals: Sequence[int]) -> ClusterResult:
    lost = tuple(sender.lost for sender in senders if sender.lost is not None)
    if len(lost) == len(senders):
        raise EngineError("; ".join(lost), hint="load.executor=local")
    clocks: list[NodeClock] = []
    results: dict[int, ShardResult] = {}
    for sender in senders:
        result = sender.result
        if result is None:
            results[sender.part] = lost_shard(sender.shard, start_ns, sender.lost or "")
            continue
        assert sender.before is not None
        clock = NodeClock(host=sender.host, before=sender.before, after=sender.after)
        clocks.append(clock)
        results[sender.part] = replace(result, records=clock.translated(result.records))
    return ClusterResult(results=mark_interrupted(results, signals), lost=lost, clocks=tuple(clocks))
