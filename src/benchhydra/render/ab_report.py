"""The outcome of an A/B test, with the overrides and the cost that belong in its report."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchhydra.analysis.ab import AbTest
from benchhydra.render.figures import count, duration
from benchhydra.render.headlines import ab_headline


@dataclass(frozen=True, kw_only=True)
class AbReport:
    """A test, the overrides of both sides ("a" and "b"), what was typed for each, and the number of server starts."""

    test: AbTest
    overrides: dict[str, list[str]]
    server_starts: int
    typed: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The outcome, why the test stopped, its cost, and which metrics decide."""
        names = ", ".join(metric.metric for metric in self.test.main()) or "none"
        return [
            self.headline(),
            f"stopped: {self.test.stopped}",
            f"{self.cost()}; base is A, candidate is B",
            f"main metrics: {names}",
            f"intervals hold after every pair, those of the main metrics together: {self.level()}",
        ]

    def headline(self) -> str:
        """``A/B: B is worse``, and the problem that decided it."""
        return f"A/B: {ab_headline(self.test.comparison(), self.test.outcome())}"

    def sides(self) -> str:
        """Both sides as they were typed: ``A: engine.itl_ms=10; B: engine.itl_ms=12``."""
        return "; ".join(f"{side.upper()}: {text}" for side, text in self.typed.items())

    def cost(self) -> str:
        """``7 pairs, 14 server starts, 42 s``."""
        pairs, starts = count(self.test.pairs, "pair"), count(self.server_starts, "server start")
        return f"{pairs}, {starts}, {duration(self.test.wall_s)}"

    def level(self) -> str:
        """How often the intervals of the main metrics hold the truth, all together: ``99 %``."""
        return f"{100 * (1 - self.test.thresholds.alpha):g} %"
