"""The outcome of an A/B test, with the overrides and the cost that belong in its report."""

from __future__ import annotations

from dataclasses import dataclass

from benchhydra.analysis.ab import AbTest
from benchhydra.render.figures import count, duration
from benchhydra.render.headlines import ab_headline


@dataclass(frozen=True, kw_only=True)
class AbReport:
    """A test, the overrides of both sides ("a" and "b"), and the number of server starts."""

    test: AbTest
    overrides: dict[str, list[str]]
    server_starts: int

    def lines(self) -> list[str]:
        """The outcome, why the test stopped, its cost, and which metrics decide."""
        test = self.test
        names = ", ".join(metric.metric for metric in test.main()) or "none"
        level = 100 * (1 - test.thresholds.alpha)
        cost = f"{count(test.pairs, 'pair')}, {count(self.server_starts, 'server start')}, {duration(test.wall_s)}"
        return [
            f"A/B: {ab_headline(test.comparison(), test.outcome())}",
            f"stopped: {test.stopped}",
            f"{cost}; base is A, candidate is B",
            f"main metrics: {names}",
            f"intervals hold after every pair, those of the main metrics together: {level:g} %",
        ]
