"""A comparison as rows and sentences, which every format of it writes: columns, cells, headings, remarks."""

from __future__ import annotations

from collections.abc import Iterator

from benchhydra.analysis.comparison import Comparison, MetricChange, PointChange
from benchhydra.render.figures import interval, percent, quantity
from benchhydra.render.verdict_words import change_words

COLUMNS = ("metric", "base", "candidate", "change", "95 % interval", "verdict")
#: The columns that hold figures.
FIGURES = range(1, 5)
NOTHING = "No point is in both."


def cells(metric: MetricChange) -> tuple[str, ...]:
    """A metric's cells, one for each of ``COLUMNS``."""
    return (
        metric.metric,
        quantity(metric.base, metric.unit),
        quantity(metric.candidate, metric.unit),
        percent(metric.ratio),
        interval(metric.low, metric.high),
        change_words(metric),
    )


def heading(point: PointChange) -> str:
    """A point's name, its usable runs on both sides, and whether any of them is SUSPECT."""
    base, candidate = (sum(run.usable for run in side) for side in (point.base, point.candidate))
    return f"{point.label} ({base} against {candidate} runs{', SUSPECT' if point.suspect else ''})"


def remarks(point: PointChange) -> Iterator[str]:
    """What a reader must know beside the figures: config differences, runs left out, metrics and sides missing."""
    yield from point.differences
    yield from point.notes
    if point.missing:
        yield f"Not measured by the candidate: {', '.join(point.missing)}"
    if point.invalid:
        yield f"{unusable(point)}: {'; '.join(_reasons(point))}"


def unusable(point: PointChange) -> str:
    """The sentence on a point of which one side has no usable run."""
    return f"INVALID: the {point.invalid} has no usable run"


def unpaired(comparison: Comparison) -> Iterator[str]:
    """The points that only one side has, as sentences."""
    yield from (f"Only in the base: {label}" for label in comparison.only_base)
    yield from (f"Only in the candidate: {label}" for label in comparison.only_candidate)


def _reasons(point: PointChange) -> list[str]:
    runs = [run for run in (*point.base, *point.candidate) if not run.usable]
    return sorted({text for run in runs for text in run.reasons}) or ["no reason is recorded"]
