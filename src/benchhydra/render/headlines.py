"""The first line of a comparison, a gate and an A/B test: the verdict, and what decided it."""

from __future__ import annotations

from collections.abc import Sequence

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, GateOutcome, Problem
from benchhydra.analysis.gate import Decision
from benchhydra.render.comparison_summary import change_headline
from benchhydra.render.figures import percent
from benchhydra.render.verdict_words import AB_WORDS, GATE_WORDS


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
    """What changed in the main metrics, and the gravest problem; the problem alone if nothing is worse."""
    changes = change_headline(comparison)
    if not comparison.problems:
        return changes
    problem = GATE_WORDS[comparison.outcome] + _because(comparison.problems)
    worse = any(metric.change is ChangeVerdict.WORSE for _, metric in comparison.judged_metrics if metric.is_main)
    return f"{changes}; {problem}" if worse and comparison.outcome is not GateOutcome.SAME_RUNS else problem


def ab_headline(comparison: Comparison, outcome: GateOutcome) -> str:
    """The outcome of an A/B test, and the problem that decided it."""
    return AB_WORDS[outcome] + _because([problem for problem in comparison.problems if problem.outcome is outcome])


def _because(problems: Sequence[Problem]) -> str:
    return f": {problems[0].sentence}{_more(len(problems) - 1)}" if problems else ""


def _more(number: int) -> str:
    return f" (and {number} more)" if number else ""
