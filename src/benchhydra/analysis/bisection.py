"""The order of a bisection: which build is tested next, and which builds may be the first bad one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum


class BuildVerdict(StrEnum):
    """What is said about a build. SKIPPED: it cannot be made or started, or the test of it stayed undecided."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(kw_only=True)
class Bisection:
    """A line of ``builds`` builds, numbered from 0. The first is good, the last is bad, and one change lies between.

    error: the chance, in all steps together, that a step takes a build for the wrong kind.
    """

    builds: int
    error: float = 0.05
    verdicts: dict[int, BuildVerdict] = field(init=False)

    def __post_init__(self) -> None:
        self.verdicts = {0: BuildVerdict.GOOD, self.builds - 1: BuildVerdict.BAD}
        self._error_left = self.error

    @property
    def last_good(self) -> int:
        """The last build that is known to be good."""
        return max(build for build, verdict in self.verdicts.items() if verdict is BuildVerdict.GOOD)

    @property
    def first_bad(self) -> int:
        """The first build that is known to be bad."""
        return min(build for build, verdict in self.verdicts.items() if verdict is BuildVerdict.BAD)

    @property
    def suspects(self) -> range:
        """The builds of which one is the first bad one: several, if those before the last were skipped."""
        return range(self.last_good + 1, self.first_bad + 1)

    @property
    def untested(self) -> list[int]:
        """The builds that a next step may test."""
        return [build for build in self.suspects if build not in self.verdicts]

    @property
    def steps_left(self) -> int:
        """The number of tests that are needed if none is skipped."""
        return math.ceil(math.log2(len(self.untested) + 1))

    def next_build(self) -> int | None:
        """The untested build nearest to the middle, as git bisect takes it; None: nothing is left to test."""
        middle = (self.last_good + self.first_bad) / 2
        return min(self.untested, key=lambda build: abs(build - middle), default=None)

    def next_error(self) -> float:
        """The chance of a wrong verdict that the next test may have: an equal part of what is left of ``error``."""
        return self._error_left / max(1, self.steps_left)

    def decide(self, build: int, verdict: BuildVerdict) -> None:
        """Record the verdict on a build. Call it once a build; a skipped one uses nothing of ``error``."""
        if verdict is not BuildVerdict.SKIPPED:
            self._error_left -= self.next_error()
        self.verdicts[build] = verdict
