"""The first line of a comparison, a gate and an A/B test: the verdict, and what decided it."""

from __future__ import annotations

from collections.abc import Sequence

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, GateOutcome, MetricChange, PointChange, Problem
from benchhydra.analysis.gate import Decision
from benchhydra.render.comparison_summary import change_headline, point_names
from benchhydra.render.figures import count, percent_range
from benchhydra.render.shared_lines import points_in_words
from benchhydra.render.verdict_words import AB_WORDS, GATE_WORDS
from benchhydra.similar_texts import merged, template


def gate_headline(decision: Decision) -> str:
    """The decision in one line: its words, the regression or the problem that decided, and what is probably worse."""
    words = GATE_WORDS[decision.outcome]
    if decision.regressions:
        return f"{words}: {_changes_in_short(decision.regressions)}"
    probably = f"probably worse: {_changes_in_short(decision.probable)}" if decision.probable else ""
    if decision.outcome is GateOutcome.REGRESSION:
        return f"{words}: {probably}"
    return words + _because(decision.problems, decision.comparison) + (f"; {probably}" if probably else "")


def comparison_headline(comparison: Comparison) -> str:
    """What changed in the main metrics, and the gravest problem; the problem alone if nothing is worse."""
    changes = change_headline(comparison)
    if not comparison.problems:
        return changes
    problem = GATE_WORDS[comparison.outcome] + _because(comparison.problems, comparison)
    worse = any(metric.change is ChangeVerdict.WORSE for _, metric in comparison.judged_metrics if metric.is_main)
    return f"{changes}; {problem}" if worse and comparison.outcome is not GateOutcome.SAME_RUNS else problem


def ab_headline(comparison: Comparison, outcome: GateOutcome) -> str:
    """The outcome of an A/B test, and the problem that decided it."""
    problems = [problem for problem in comparison.problems if problem.outcome is outcome]
    return AB_WORDS[outcome] + _because(problems, comparison)


def _changes_in_short(changes: Sequence[tuple[PointChange, MetricChange]]) -> str:
    """The first metric with all of its points, and the number of other changes."""
    point, metric = changes[0]
    ratios = [other.ratio for _, other in changes if other.metric == metric.metric]
    where = point.label if len(ratios) == 1 else count(len(ratios), "point")
    return f"{metric.metric} {percent_range(ratios)} at {where}{_more(len(changes) - len(ratios))}"


def _because(problems: Sequence[Problem], comparison: Comparison) -> str:
    """The gravest problem, with every point that has it, and the number of other problems."""
    if not problems:
        return ""
    alike = [problem for problem in problems if _kind(problem) == _kind(problems[0])]
    more = _more(len(problems) - len(alike))
    if len(alike) == 1:
        return f": {problems[0].sentence}{more}"
    indices = [i for i, point in enumerate(comparison.points) if any(problem in alike for problem in point.problems)]
    where = f" at {points_in_words(indices, point_names(comparison.points)[1])}" if indices else ""
    return f"{where}: {merged([problem.text for problem in alike])}{more}"


def _kind(problem: Problem) -> tuple[GateOutcome, str, bool]:
    """What problems have in common that are one problem of several points."""
    return problem.outcome, template(problem.text), bool(problem.point)


def _more(number: int) -> str:
    return f" (and {number} more)" if number else ""
