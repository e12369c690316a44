"""When a trial of ``search=optimize`` is stopped early: as soon as it cannot beat a trial that was measured before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from benchhydra.points import Outcome
from benchhydra.render.figures import number
from benchhydra.search.answer import Answer
from benchhydra.search.trials import CAPACITY

#: One-sided confidence of the bound on what a trial may still reach.
CUT_LEVEL = 0.95


class Answering(Protocol):
    """A search that says at any time what it knows so far."""

    def answer(self, outcomes: Sequence[Outcome]) -> Answer | None: ...


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The bound that a trial must be able to beat.

    names, signs: the objectives, and 1 for each of which larger values are better, else -1. rivals: earlier trials,
    each as the worst values that it has by its intervals, one an objective. noise: standard deviation of the log of one
    measurement, with ``freedom`` degrees; None: unknown, so that measurements decide nothing.
    """

    names: tuple[str, ...]
    signs: tuple[int, ...]
    rivals: tuple[tuple[float, ...], ...]
    noise: float | None = None
    freedom: int = 0

    def reason(self, search: Answering, outcomes: Sequence[Outcome]) -> str:
        """Why to stop the trial with these outcomes, in words; empty: go on."""
        best = [
            self._best_possible(name, sign, search, outcomes) for name, sign in zip(self.names, self.signs, strict=True)
        ]
        for rival in self.rivals:
            if all(b is not None and s * b <= s * r for b, s, r in zip(best, self.signs, rival, strict=True)):
                return "; ".join(
                    f"{name} is {'at most' if sign > 0 else 'at least'} {number(b)}, a better trial has {number(r)}"
                    for name, sign, b, r in zip(self.names, self.signs, best, rival, strict=True)
                    if b is not None
                )
        return ""

    def _best_possible(self, name: str, sign: int, search: Answering, outcomes: Sequence[Outcome]) -> float | None:
        """The best value that the trial may still turn out to have; None if there is no bound yet."""
        if name == CAPACITY:
            answer = search.answer(outcomes)
            return answer.high if answer is not None and answer.bound != "at least" else None
        values = measured_values(outcomes, name)
        if not values or self.noise is None or min(values) <= 0:
            return None
        from scipy.stats import t  # start-up time: importing it takes 0.4 s

        reach = float(t.ppf(CUT_LEVEL, self.freedom)) * self.noise / math.sqrt(len(values))
        return math.exp(sum(map(math.log, values)) / len(values) + sign * reach)

    def to_json(self) -> dict[str, Any]:
        """The cut as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        lists = {name: tuple(data[name]) for name in ("names", "signs")}
        return cls(**{**data, **lists, "rivals": tuple(tuple(rival) for rival in data["rivals"])})


def measured_values(outcomes: Sequence[Outcome], metric: str) -> list[float]:
    """The values of a metric in the outcomes that may be believed."""
    return [outcome.metrics[metric] for outcome in outcomes if outcome.believable and metric in outcome.metrics]
