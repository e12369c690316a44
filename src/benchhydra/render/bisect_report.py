"""A bisection with what its report needs beside it: what was typed for each build, and lines that all formats show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchhydra.analysis.ab import AbTest
from benchhydra.analysis.bisect_run import BisectRun, BisectStep
from benchhydra.analysis.comparison import Comparison, GateOutcome, MetricChange
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.render import comparison_rows
from benchhydra.render.attribution_lines import why_lines
from benchhydra.render.figures import count, duration, interval, percent, quantity

TABLE_COLUMNS = ("build", "verdict", "rounds", "worse than good", "better than bad", "why")


@dataclass(frozen=True, kw_only=True)
class BisectReport:
    """A bisection. typed: what makes each build. command: the words that start it. directory: that of its results."""

    run: BisectRun
    typed: Sequence[str]
    command: Sequence[str]
    directory: Path

    def headline(self) -> str:
        """The answer in a line: the first bad build, or those of which one is it, or why there is none."""
        run, suspects = self.run, [self.run.names[build] for build in self.run.bisection.suspects]
        match run.outcome():
            case GateOutcome.FINE:
                return f"first bad build: {suspects[0]} ({self._change_text()})"
            case GateOutcome.INCOMPLETE if len(suspects) == 1 and not run.stopped:
                return f"first bad build: {suspects[0]}, but a test against {self._last_good()} does not confirm it"
            case GateOutcome.INCOMPLETE:
                return f"the first bad build is one of {', '.join(suspects)} ({self._change_text()})"
        return f"no answer: {run.stopped or 'nothing was measured'}"

    def lines(self) -> list[str]:
        """What the answer rests on: the error, the cost, why the builds differ, and where the runs are."""
        run = self.run
        stopped = [f"stopped: {run.stopped}"] if run.stopped else []
        text = "if each build is as fast as good or as bad, such an answer is wrong in at most"
        has_answer = run.outcome() in (GateOutcome.FINE, GateOutcome.INCOMPLETE)
        return [
            *stopped,
            *([f"{text} {run.error * 100:g} % of bisections"] if has_answer else []),
            self.cost(),
            *self._explanation(),
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each tested build, in the order of the tests, as in ``TABLE_COLUMNS``."""
        return [self._row(step) for step in self.run.steps]

    def cost(self) -> str:
        """``4 builds tested in 31 rounds, 103 runs, 42 min 5 s``."""
        rounds = sum(len(step.test.rounds) for step in self.run.steps if step.test)
        tests = [test for test in (self.run.first_test, self.run.last_test) if test is not None]
        runs = 3 * rounds + sum(len(runs) for test in tests for runs in test.seen.values())
        tested = f"{count(len(self.run.steps), 'build')} tested in {count(rounds, 'round')}"
        return f"{tested}, {count(runs, 'run')} with both A/B tests, {duration(self.run.wall_s)}"

    def comparison(self) -> Comparison:
        """The last good against the first bad build, or good against bad if these are not known."""
        test = self._test()
        return test.comparison() if test is not None else Comparison(points=(), thresholds=Thresholds())

    def _test(self) -> AbTest | None:
        return self.run.last_test or self.run.first_test

    def _explanation(self) -> list[str]:
        comparison = self.comparison()
        differences = [line for point in comparison.points for line in point.differences]
        lines = [f"also different: {comparison_rows.listed_differences(differences)}"] if differences else []
        return [*why_lines(comparison), *lines]

    def _last_good(self) -> str:
        return self.run.names[self.run.bisection.last_good]

    def _change_text(self) -> str:
        change = self.run.change()
        base = self.run.names[self.run.changed_from()]
        return f"against {base}: {change_text(change)}" if change is not None else "not measured"

    def _row(self, step: BisectStep) -> tuple[str, ...]:
        verdict = str(step.verdict) if step.verdict is not None else "open"
        if step.test is None or not step.test.rounds:
            return self.run.names[step.build], verdict, "0", "", "", step.reason
        to_good, to_bad = (percent(ratio) for ratio in step.test.ratios())
        return self.run.names[step.build], verdict, str(len(step.test.rounds)), to_good, to_bad, step.reason


def change_text(change: MetricChange) -> str:
    """``mean_tpot_ms 10.02 ms -> 10.53 ms, +5.1 % (+4.2 % to +6.0 %, with 99 %)``."""
    values = f"{quantity(change.base, change.unit)} -> {quantity(change.candidate, change.unit)}"
    ends = interval(change.low, change.high)
    sure = f" ({ends}, with {100 * change.level:g} %)" if ends and change.level is not None else ""
    return f"{change.metric} {values}, {percent(change.ratio)}{sure}"
