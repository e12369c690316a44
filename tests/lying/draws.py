"""Many draws, and what came of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from tests.lying.behaviour import Case
from tests.lying.features import LIES, draw
from tests.lying.shrink import shrunk
from tests.lying.truth import Outcome, outcome_of

from benchhydra.result import Verdict

#: At most this many failing draws are shrunk: each takes about a second.
SHRUNK = 5


@dataclass(kw_only=True)
class FaultStatistics:
    """Draws with one fault and no other. wrong: those with a wrong figure; caught: of these, those not VALID."""

    draws: int = 0
    wrong: int = 0
    caught: int = 0
    checks: Counter[str] = field(default_factory=Counter)


@dataclass(kw_only=True)
class DrawStatistics:
    """verdicts: by kind of server ("honest", "lying") and verdict; features: draws with each; alone: by fault."""

    verdicts: Counter[tuple[str, Verdict]] = field(default_factory=Counter)
    features: Counter[str] = field(default_factory=Counter)
    alone: dict[str, FaultStatistics] = field(default_factory=lambda: {name: FaultStatistics() for name in LIES})
    lies_believed: list[Outcome] = field(default_factory=list)
    false_alarms: list[Outcome] = field(default_factory=list)

    @property
    def honest(self) -> int:
        """The number of honest draws."""
        return sum(count for (kind, _), count in self.verdicts.items() if kind == "honest")

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        case = outcome.case
        self.verdicts["lying" if case.lies else "honest", outcome.verdict] += 1
        self.features.update(case.features)
        if outcome.lied:
            self.lies_believed.append(outcome)
        elif not case.lies and outcome.verdict != Verdict.VALID:
            self.false_alarms.append(outcome)
        if len(case.lies) == 1:
            alone = self.alone[case.lies[0]]
            alone.draws += 1
            alone.wrong += bool(outcome.wrong)
            alone.caught += bool(outcome.wrong) and outcome.verdict != Verdict.VALID
            alone.checks.update({reason.check for reason in outcome.reasons})


def draw_many(count: int, seed: int) -> DrawStatistics:
    """Draw and judge cases (inside ``virtual_time``), every second one honest. The first failures are shrunk."""
    statistics, rng = DrawStatistics(), np.random.default_rng(seed)
    for number in range(count):
        statistics.add(outcome_of(draw(rng, honest=number % 2 == 0)))
    statistics.lies_believed[:SHRUNK] = [_shrunk_lie(outcome) for outcome in statistics.lies_believed[:SHRUNK]]
    statistics.false_alarms[:SHRUNK] = [_shrunk_alarm(outcome) for outcome in statistics.false_alarms[:SHRUNK]]
    return statistics


def _shrunk_lie(outcome: Outcome) -> Outcome:
    return outcome_of(shrunk(outcome.case, lambda case: outcome_of(case).lied))


def _shrunk_alarm(outcome: Outcome) -> Outcome:
    """Shrink a false alarm to one of the same first rule."""
    check = outcome.reasons[0].check

    def fails(case: Case) -> bool:
        reasons = outcome_of(case).reasons
        return bool(reasons) and reasons[0].check == check

    return outcome_of(shrunk(outcome.case, fails))
