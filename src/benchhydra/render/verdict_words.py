"""The words for the verdicts of comparisons, gates and A/B tests, shared by all formats."""

from __future__ import annotations

from collections.abc import Sequence

from benchhydra.analysis.comparison import Basis, ChangeVerdict, Comparison, GateOutcome, MetricChange, Problem
from benchhydra.analysis.gate import Decision
from benchhydra.render.figures import percent

#: The first words of a headline.
GATE_WORDS = {
    GateOutcome.FINE: "no regression",
    GateOutcome.REGRESSION: "REGRESSION",
    GateOutcome.NOTHING_COMPARABLE: "nothing comparable",
    GateOutcome.INVALID: "INVALID",
    GateOutcome.INCOMPLETE: "INCOMPLETE",
    GateOutcome.METRIC_MISSING: "METRIC MISSING",
    GateOutcome.DIFFERENT_WORK: "DIFFERENT WORK",
    GateOutcome.SAME_RUNS: "SAME RUNS",
    GateOutcome.IMPOSSIBLE: "IMPOSSIBLE VALUES",
    GateOutcome.FAILURES: "FAILED REQUESTS",
    GateOutcome.SUSPECT: "SUSPECT",
}
AB_WORDS = GATE_WORDS | {
    GateOutcome.FINE: "no evidence that a main metric of B is worse",
    GateOutcome.REGRESSION: "B is worse",
    GateOutcome.INVALID: "INVALID: too few usable runs",
}


def gate_headline(decision: Decision) -> str:
    """The decision in one line: its words, and the regression or the problem that decided."""
    words = GATE_WORDS[decision.outcome]
    if decision.regressions:
        point, metric = decision.regressions[0]
        return (
            f"{words}: {metric.metric} {percent(metric.ratio)} at {point.label}{_more(len(decision.regressions) - 1)}"
        )
    return words + _because(decision.problems)


def comparison_headline(comparison: Comparison) -> str:
    """The gravest problem of a comparison; empty without one."""
    return GATE_WORDS[comparison.outcome] + _because(comparison.problems) if comparison.problems else ""


def ab_headline(comparison: Comparison, outcome: GateOutcome) -> str:
    """The outcome of an A/B test, and the problem that decided it."""
    return AB_WORDS[outcome] + _because([problem for problem in comparison.problems if problem.outcome is outcome])


def _because(problems: Sequence[Problem]) -> str:
    return f": {problems[0].sentence}{_more(len(problems) - 1)}" if problems else ""


def _more(number: int) -> str:
    return f" (and {number} more)" if number else ""


def change_words(metric: MetricChange) -> str:
    """The verdict on a change; the smallest detectable change if it is inconclusive; a note if evidence is weaker."""
    words = str(metric.change)
    if metric.change is ChangeVerdict.INCONCLUSIVE and metric.detectable is not None:
        words += f"; could detect {metric.detectable * 100:.1f} % or more"
    if metric.basis is Basis.REQUESTS:
        words += " (weaker evidence: one run a side, its requests resampled)"
    return f"{words} ({metric.note})" if metric.note else words
