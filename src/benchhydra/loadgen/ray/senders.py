"""Client processes on the nodes of a Ray cluster, each sending its share on its own machine's clock.

The schedule is translated into the clock of each node before the load, and the rows back into ours after it, with
offsets that are estimated before and after (``offsets``). The latencies of a row depend on one clock alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic_ns
from typing import Any

from benchhydra import interruption
from benchhydra.errors import EngineError
from benchhydra.interruption import stop_on_signal
from benchhydra.loadgen.processes.parent import take_frame
from benchhydra.loadgen.processes.serialization import pack_shard
from benchhydra.loadgen.ray.clock_sync import NodeClock, OffsetEstimate, RoundTrip, estimate_offset
from benchhydra.loadgen.ray.relay import PIECE_BYTES, Relay
from benchhydra.loadgen.shards import Shard, ShardProgress, ShardResult, lost_shard, mark_interrupted

#: From saying "go" to the first scheduled moment: calls to many nodes take a while.
LEAD_NS = 200_000_000
TRIPS = 50
START_TIMEOUT_S = 120.0
_TURN_S = 0.1


class RemoteSender:
    """The relay of one share, and what is known of it."""

    def __init__(self, actor: Any, share: Shard) -> None:
        self.actor = actor
        self.share = share
        self.host = "a node"
        self.sent: ShardResult | None = None
        self.ready = False
        self.lost: str | None = None
        self.before: OffsetEstimate | None = None
        self.after: OffsetEstimate | None = None

    @property
    def over(self) -> bool:
        return self.lost is not None or self.sent is not None


@dataclass(frozen=True, kw_only=True)
class ClusterResult:
    """What came of all shares: rows by number (of lost ones too), sentences on lost ones, and the nodes' clocks."""

    sent: dict[int, ShardResult]
    lost: tuple[str, ...]
    clocks: tuple[NodeClock, ...]


def send_on_ray(
    shares: list[Shard], report: Callable[[int, ShardProgress], None], relay: Callable[[], Relay] = Relay
) -> ClusterResult:
    """Send each share from an actor of the cluster that this process is connected to, spread over its nodes.

    relay: the class of the actors. The first SIGINT or SIGTERM ends it with what there is.
    Raises EngineError where no actor brought anything. Each row of an actor that died is CANCELLED.
    """
    import ray

    made = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=4, scheduling_strategy="SPREAD")(relay)
    actors = [RemoteSender(made.remote(), share) for share in shares]
    try:
        with stop_on_signal(lambda: None) as asked:
            start_ns = _send(actors, report, asked)
    finally:
        for far in actors:
            ray.kill(far.actor, no_restart=True)
    return _came(actors, start_ns, asked)


def _send(actors: list[RemoteSender], report: Callable[[int, ShardProgress], None], asked: list[int]) -> int:
    """The whole load, until ``asked`` holds something. Returns its start on our clock."""
    _each(actors, _open)
    _until(actors, report, [], lambda far: far.ready)
    _each(actors, _ask_before)
    if asked:
        raise interruption.interrupt_exception()  # nothing is sent yet
    start_ns = monotonic_ns() + LEAD_NS
    _each(actors, lambda far: _go(far, start_ns))
    _until(actors, report, asked, lambda far: far.sent is not None)
    _each(actors, _ask_after)
    return start_ns


def _each(actors: list[RemoteSender], work: Callable[[RemoteSender], None]) -> None:
    """Do something with each actor that is there; one that dies of it is lost."""
    from ray.exceptions import RayError

    for part, far in enumerate(actors):
        if far.lost is None:
            try:
                work(far)
            except RayError as error:
                _lose(far, part, error)


def _lose(far: RemoteSender, part: int, error: Exception) -> None:
    if far.sent is None:
        far.lost = f"client actor {part} on {far.host} is gone ({type(error).__name__}) and brought no rows"


def _open(far: RemoteSender) -> None:
    import ray

    far.host = ray.get(far.actor.host.remote(), timeout=START_TIMEOUT_S)
    share = pack_shard(far.share)
    pieces = [share[at : at + PIECE_BYTES] for at in range(0, len(share), PIECE_BYTES)]
    ray.get([far.actor.take.remote(number, piece) for number, piece in enumerate(pieces)])
    ray.get(far.actor.open.remote())


def _ask_before(far: RemoteSender) -> None:
    far.before = _asked(far)


def _ask_after(far: RemoteSender) -> None:
    far.after = _asked(far)


def _asked(far: RemoteSender) -> OffsetEstimate:
    import ray

    trips = []
    for _ in range(TRIPS):
        asked_ns = monotonic_ns()
        said_ns = ray.get(far.actor.now_ns.remote())
        trips.append(RoundTrip(asked_ns, said_ns, monotonic_ns()))
    return estimate_offset(trips)


def _go(far: RemoteSender, start_ns: int) -> None:
    assert far.before is not None
    far.actor.go.remote(start_ns - far.before.offset_ns)


def _until(
    actors: list[RemoteSender],
    report: Callable[[int, ShardProgress], None],
    asked: list[int],
    enough: Callable[[RemoteSender], bool],
) -> None:
    """Listen until each actor has said enough, or is gone; tell them once to stop when ``asked`` holds something."""
    import ray
    from ray.exceptions import RayError

    told = False
    waiting: dict[Any, int] = {}
    while True:
        for part, far in enumerate(actors):
            if not far.over and not enough(far) and part not in waiting.values():
                waiting[far.actor.heard.remote()] = part
        if not waiting:
            return
        if asked and not told:
            told = True
            _each([far for far in actors if not far.over], lambda far: far.actor.stop.remote())
        for answer in ray.wait(list(waiting), num_returns=1, timeout=_TURN_S)[0]:
            part = waiting.pop(answer)
            try:
                _hear(actors[part], part, ray.get(answer), report)
            except RayError as error:
                _lose(actors[part], part, error)


def _hear(far: RemoteSender, part: int, said: Any, report: Callable[[int, ShardProgress], None]) -> None:
    frames, code = said
    for kind, body in frames:
        take_frame(far, part, kind, body, report)
    if code is not None and far.sent is None:
        far.lost = f"client process {part} on {far.host} ended with exit code {code} and brought no rows"


def _came(actors: list[RemoteSender], start_ns: int, asked: list[int]) -> ClusterResult:
    lost = tuple(far.lost for far in actors if far.lost is not None)
    if len(lost) == len(actors):
        raise EngineError("; ".join(lost), hint="load.executor=local")
    clocks = tuple(
        NodeClock(host=far.host, before=far.before, after=far.after)
        for far in actors
        if far.before is not None and far.sent is not None
    )
    places = iter(clocks)
    sent = {
        part: lost_shard(far.share, start_ns, far.lost or "") if far.sent is None else _ours(far.sent, next(places))
        for part, far in enumerate(actors)
    }
    return ClusterResult(sent=mark_interrupted(sent, asked), lost=lost, clocks=clocks)


def _ours(sent: ShardResult, clock: NodeClock) -> ShardResult:
    return replace(sent, records=clock.translated(sent.records))
