"""The time that a sweep still takes, estimated from the lengths of its loads and from the points measured so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchhydra.points import Identity
from benchhydra.render.figures import rough_duration


@dataclass(kw_only=True)
class TimeLeft:
    """Estimates the time of the points that are not measured yet.

    A point takes the time of its load, that of its server's start if it is the first of its group, and the rest:
    prompts, warm-up, last answers, results. Starts and rests that are not measured yet count as the mean of those that
    are. Of a load of unknown length (a closed loop, an offline engine), the rest includes the load.

    groups: the points of each server, in order of measurement. loads_s: returns the lengths of loads in seconds, where
    they are known; it is called once, before the first point. open_ended: a search may add points.
    """

    groups: Sequence[Sequence[Identity]]
    loads_s: Callable[[], Mapping[Identity, float]] = dict
    open_ended: bool = False
    clock: Callable[[], float] = time.monotonic
    _group_of: dict[Identity, int] = field(init=False)
    _known_loads_s: Mapping[Identity, float] | None = field(init=False, default=None)  # None: not asked for yet
    _begun: set[int] = field(init=False, default_factory=set)  # groups
    _starts_s: list[float] = field(init=False, default_factory=list)
    _rests_s: dict[bool, list[float]] = field(init=False, default_factory=lambda: {True: [], False: []})
    _end_s: float | None = field(init=False, default=None)  # of the sweep, on the clock
    _later_s: float = field(init=False, default=0.0)  # of the points after the current one
    _is_lower_bound: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._group_of = {identity: number for number, group in enumerate(self.groups) for identity in group}

    def begin(self, identity: Identity) -> None:
        """Take note that the measurement of a point begins, and estimate when the sweep ends."""
        if self._known_loads_s is None:
            self._known_loads_s = self.loads_s()
        self._is_lower_bound = self.open_ended
        current_s = self._estimated_s([identity])
        self._leave_out(identity)
        later_s = self._estimated_s(list(self._group_of))
        self._end_s = None
        if current_s is not None and later_s is not None:
            self._end_s, self._later_s = self.clock() + current_s + later_s, later_s

    def end(self, identity: Identity, wall_s: float | None, start_s: float | None) -> None:
        """Take note of the time of a measured point, and of its server's start (None: it had none)."""
        self._leave_out(identity)
        if wall_s is None or self._known_loads_s is None:
            return
        if start_s is not None:
            self._starts_s.append(start_s)
        load_s = self._known_loads_s.get(identity)
        self._rests_s[load_s is not None].append(max(0.0, wall_s - (start_s or 0.0) - (load_s or 0.0)))

    def words(self) -> str:
        """``about 12 min left``; empty if that is unknown."""
        if self._end_s is None:
            return ""
        left_s = max(self._end_s - self.clock(), self._later_s)
        return f"{'at least' if self._is_lower_bound else 'about'} {rough_duration(left_s)} left"

    def _leave_out(self, identity: Identity) -> None:
        number = self._group_of.pop(identity, None)
        if number is not None:
            self._begun.add(number)

    def _estimated_s(self, identities: Sequence[Identity]) -> float | None:
        """The time of these points and of the starts before them; None if it is unknown."""
        if self._known_loads_s is None:
            return None
        loads_s = [self._known_loads_s.get(identity) for identity in identities]
        kinds = {load_s is not None for load_s in loads_s}
        if not all(self._rests_s[kind] for kind in kinds):
            if False in kinds:
                return None
            self._is_lower_bound = True
        rests_s = {kind: _mean(self._rests_s[kind]) for kind in kinds}
        starts = len({self._group_of[identity] for identity in identities if identity in self._group_of} - self._begun)
        starts_s = starts * _mean(self._starts_s)
        return starts_s + sum((load_s or 0.0) + rests_s[load_s is not None] for load_s in loads_s)


def _mean(values: Sequence[float]) -> float:
    """The mean, 0 without values. (Importing ``statistics`` takes 4 ms of the start.)"""
    return sum(values) / len(values) if values else 0.0
