"""A comparison as table cells and sentences. Every format writes these, so that all formats say the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from benchhydra.analysis.comparison import Comparison, MetricChange, PointChange, Problem
from benchhydra.render.figures import interval, percent, quantity
from benchhydra.render.verdict_words import GATE_WORDS, change_words
from benchhydra.similar_texts import merge_similar

COLUMNS = ("metric", "base", "candidate", "change", "interval", "verdict")
#: Indices of the columns that hold figures.
FIGURES = range(1, 5)
NOTHING = "No point is in both."
#: So many metrics that a side lacks are named; those of another engine's server are many.
MOST_MISSING = 5
#: So many differences between the sides are listed in a line.
MOST_DIFFERENCES = 6


def cells(metric: MetricChange) -> tuple[str, ...]:
    """The cells of a metric, one for each of ``COLUMNS``."""
    return (
        metric.metric,
        quantity(metric.base, metric.unit),
        quantity(metric.candidate, metric.unit),
        percent(metric.ratio),
        interval(metric.low, metric.high),
        change_words(metric),
    )


def shown_metrics(point: PointChange) -> list[MetricChange]:
    """The metrics of a point without those that are equal to another one by construction."""
    return [metric for metric in point.metrics if not metric.same_as]


def heading(point: PointChange) -> str:
    """The heading of a point: its label, the number of usable runs on both sides, and whether a run is SUSPECT."""
    base, candidate = (sum(run.usable for run in side) for side in (point.base, point.candidate))
    return f"{point.label} ({base} against {candidate} runs{', SUSPECT' if point.suspect else ''})"


def shared(comparison: Comparison) -> str:
    """The sentence on what differs between the sides at every point; empty if nothing does."""
    lines = comparison.shared_differences
    return f"At every point: {'; '.join(lines)}" if lines else ""


def listed_differences(lines: Sequence[str]) -> str:
    """What differs between the sides, as one line: the first differences, and how many more there are."""
    more = len(lines) - MOST_DIFFERENCES
    return "; ".join(lines[:MOST_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")


def remarks(point: PointChange, said: Collection[str] = ()) -> Iterator[str]:
    """The sentences below a point's figures: problems, config differences, notes, missing metrics, unusable runs.

    said: differences that are left out, because they stand at the top.
    """
    yield from map(problem_words, point.problems)
    yield from (line for line in point.differences if line not in said)
    yield from point.notes
    if point.missing:
        more = len(point.missing) - MOST_MISSING
        names = ", ".join(point.missing[:MOST_MISSING])
        yield f"Not measured by the candidate: {names}{f' and {more} more' if more > 0 else ''}"
    if point.invalid and not point.problems:
        yield f"{unusable(point)}: {'; '.join(_reasons(point))}"


def equal_sentences(point: PointChange) -> Iterator[str]:
    """A sentence for each metric that stands for others."""
    equal: dict[str, list[str]] = {}
    for metric in point.metrics:
        if metric.same_as:
            equal.setdefault(metric.same_as, []).append(metric.metric)
    for name, others in equal.items():
        yield f"{name} stands for {', '.join(others)}: equal by construction in these runs"


def problem_words(problem: Problem) -> str:
    """``INVALID: the candidate has no usable run``."""
    return f"{GATE_WORDS[problem.outcome]}: {problem.text}"


def unusable(point: PointChange) -> str:
    """The sentence on a point with a side that has no usable run."""
    return f"INVALID: the {point.invalid} has no usable run"


def unpaired(comparison: Comparison) -> Iterator[str]:
    """One sentence for each problem of the sides as a whole, and for each point that only one side has."""
    yield from map(problem_words, comparison.side_problems)
    yield from (f"Only in the base: {label}" for label in comparison.only_base)
    yield from (f"Only in the candidate: {label}" for label in comparison.only_candidate)


def _reasons(point: PointChange) -> list[str]:
    runs = [run for run in (*point.base, *point.candidate) if not run.usable]
    return merge_similar(sorted({text for run in runs for text in run.reasons})) or ["no reason is recorded"]
