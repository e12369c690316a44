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
from benchhydra.interruption import stopping
from benchhydra.loadgen.offsets import Estimate, NodeClock, Trip, estimate
from benchhydra.loadgen.processes import take
from benchhydra.loadgen.relay import PIECE_BYTES, Relay
from benchhydra.loadgen.share import Count, Sent, Share, lost_rows, told
from benchhydra.loadgen.wire import pack_share

#: From saying "go" to the first scheduled moment: calls to many nodes take a while.
LEAD_NS = 200_000_000
TRIPS = 50
START_TIMEOUT_S = 120.0
_TURN_S = 0.1


class Far:
    """The relay of one share, and what is known of it."""

    def __init__(self, actor: Any, share: Share) -> None:
        self.actor = actor
        self.share = share
        self.host = "a node"
        self.sent: Sent | None = None
        self.ready = False
        self.lost: str | None = None
        self.before: Estimate | None = None
        self.after: Estimate | None = None

    @property
    def over(self) -> bool:
        return self.lost is not None or self.sent is not None


@dataclass(frozen=True, kw_only=True)
class Came:
    """What came of all shares: rows by number (of lost ones too), sentences on lost ones, and the nodes' clocks."""

    sent: dict[int, Sent]
    lost: tuple[str, ...]
    clocks: tuple[NodeClock, ...]


def send_on_ray(shares: list[Share], report: Callable[[int, Count], None], relay: Callable[[], Relay] = Relay) -> Came:
    """Send each share from an actor of the cluster that this process is connected to, spread over its nodes.

    relay: the class of the actors. The first SIGINT or SIGTERM ends it with what there is.
    Raises EngineError where no actor brought anything. Each row of an actor that died is CANCELLED.
    """
    import ray

    made = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=4, scheduling_strategy="SPREAD")(relay)
    actors = [Far(made.remote(), share) for share in shares]
    try:
        with stopping(lambda: None) as asked:
            start_ns = _send(actors, report, asked)
    finally:
        for far in actors:
            ray.kill(far.actor, no_restart=True)
    return _came(actors, start_ns, asked)


def _send(actors: list[Far], report: Callable[[int, Count], None], asked: list[int]) -> int:
    """The whole load, until ``asked`` holds something. Returns its start on our clock."""
    _each(actors, _open)
    _until(actors, report, [], lambda far: far.ready)
    _each(actors, _ask_before)
    if asked:
        raise interruption.exception()  # nothing is sent yet
    start_ns = monotonic_ns() + LEAD_NS
    _each(actors, lambda far: _go(far, start_ns))
    _until(actors, report, asked, lambda far: far.sent is not None)
    _each(actors, _ask_after)
    return start_ns


def _each(actors: list[Far], work: Callable[[Far], None]) -> None:
    """Do something with each actor that is there; one that dies of it is lost."""
    from ray.exceptions import RayError

    for part, far in enumerate(actors):
        if far.lost is None:
            try:
                work(far)
            except RayError as error:
                _lose(far, part, error)


def _lose(far: Far, part: int, error: Exception) -> None:
    if far.sent is None:
        far.lost = f"client actor {part} on {far.host} is gone ({type(error).__name__}) and brought no rows"


def _open(far: Far) -> None:
    import ray

    far.host = ray.get(far.actor.host.remote(), timeout=START_TIMEOUT_S)
    share = pack_share(far.share)
    pieces = [share[at : at + PIECE_BYTES] for at in range(0, len(share), PIECE_BYTES)]
    ray.get([far.actor.take.remote(number, piece) for number, piece in enumerate(pieces)])
    ray.get(far.actor.open.remote())


def _ask_before(far: Far) -> None:
    far.before = _asked(far)


def _ask_after(far: Far) -> None:
    far.after = _asked(far)


def _asked(far: Far) -> Estimate:
    import ray

    trips = []
    for _ in range(TRIPS):
        asked_ns = monotonic_ns()
        said_ns = ray.get(far.actor.now_ns.remote())
        trips.append(Trip(asked_ns, said_ns, monotonic_ns()))
    return estimate(trips)


def _go(far: Far, start_ns: int) -> None:
    assert far.before is not None
    far.actor.go.remote(start_ns - far.before.offset_ns)


def _until(
    actors: list[Far],
    report: Callable[[int, Count], None],
    asked: list[int],
    enough: Callable[[Far], bool],
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


def _hear(far: Far, part: int, said: Any, report: Callable[[int, Count], None]) -> None:
    frames, code = said
    for kind, body in frames:
        take(far, part, kind, body, report)
    if code is not None and far.sent is None:
        far.lost = f"client process {part} on {far.host} ended with exit code {code} and brought no rows"


def _came(actors: list[Far], start_ns: int, asked: list[int]) -> Came:
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
        part: lost_rows(far.share, start_ns, far.lost or "") if far.sent is None else _ours(far.sent, next(places))
        for part, far in enumerate(actors)
    }
    return Came(sent=told(sent, asked), lost=lost, clocks=clocks)


def _ours(sent: Sent, clock: NodeClock) -> Sent:
    return replace(sent, records=clock.translated(sent.records))
