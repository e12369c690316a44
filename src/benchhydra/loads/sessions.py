"""``load=sessions``: conversations that start at a rate; each turn waits for the answer before it and a think time.

The users of a server are neither an open loop (they wait for answers) nor a closed one (new users come): sessions start
whatever the server does, and each of them paces itself (B. Schroeder, A. Wierman, M. Harchol-Balter, "Open versus
closed: a cautionary tale", NSDI 2006: a partly-open system).
"""

from __future__ import annotations

import math

from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.pacing.sessions import SessionPacing, Turns
from benchhydra.loads import check_number
from benchhydra.loads.poisson import Poisson
from benchhydra.registry import knob, option


@option("load", "sessions")
class SessionLoad(Poisson):
    """Sessions that start at random times, qps of them per second; num_prompts counts sessions.

    With load.sessions_in_flight, further sessions wait; with qps=inf as well, each session that ends is followed by the
    next one.
    """

    sessions_in_flight: int | None = knob(None, "maximum number of sessions under way; null: no limit", unit="sessions")

    open_loop = False
    stationary = False
    has_schedule = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "sessions_in_flight", lambda value: value >= 1, "must be at least 1, or null for no limit")

    def pacing(self, send_times_s: Seconds, turns: Turns | None = None) -> Pacing:
        """Return the pacing of sessions. turns: of all of them; None: each request is a session of one turn."""
        turns = turns or Turns.single(len(send_times_s))
        return SessionPacing(send_times_s, turns, self.max_in_flight, self.sessions_in_flight)

    def asked_rps(self) -> float | None:
        """Return None: how many requests a session makes is the dataset's matter."""
        return None

    def offered_rps(self, send_times_s: Seconds) -> float | None:
        """Return None: when turns are sent depends on answers."""
        return None

    def gap_variation(self) -> float | None:
        """Return None: only sessions start independently of each other, their turns do not."""
        return None

    def sessions_per_s(self, starts_s: Seconds) -> float | None:
        """Return the rate at which sessions are to start; None if they start all at once."""
        return None if math.isinf(self.qps) else super().offered_rps(starts_s)

    def at_once(self, count: int) -> int:
        """Return how many requests are certainly in flight together: the first turns of sessions that start at once."""
        together = count if math.isinf(self.qps) else 1
        return min(together, self.sessions_in_flight or count, self.max_in_flight or count)
