"""A comparison in a few lines: what changed in its main metrics, and a matrix of points by main metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.analysis.pairing import differing_settings, point_settings_of
from benchhydra.render import comparison_rows
from benchhydra.render.figures import count, percent

#: Verdicts in the order of a headline, with their first words.
HEADLINE_WORDS = {
    ChangeVerdict.WORSE: "WORSE",
    ChangeVerdict.BETTER: "BETTER",
    ChangeVerdict.INCONCLUSIVE: "inconclusive",
    ChangeVerdict.SAME: "no difference",
}
CHANGED = (ChangeVerdict.WORSE, ChangeVerdict.BETTER)
#: What follows a change in a cell of the matrix.
CELL_WORDS = {
    ChangeVerdict.WORSE: "✗",
    ChangeVerdict.BETTER: "✓",
    ChangeVerdict.INCONCLUSIVE: "?",
    ChangeVerdict.SAME: "=",
}
LEGEND = "✗ worse; ✓ better; = no difference that matters; ? inconclusive"


def main_names(comparison: Comparison) -> list[str]:
    """The main metrics that any point has; all metrics if none is a main one."""
    metrics = [metric for _, metric in comparison.metrics]
    return list(dict.fromkeys(metric.metric for metric in metrics if metric.is_main)) or list(
        dict.fromkeys(metric.metric for metric in metrics)
    )


def change_headline(comparison: Comparison) -> str:
    """``WORSE: mean_tpot_ms +8.0 % at 6 of 6 points; no difference: mean_ttft_ms``; empty without any metric."""
    extents: dict[ChangeVerdict, dict[str, list[str]]] = {verdict: {} for verdict in HEADLINE_WORDS}
    for name in main_names(comparison):
        changes = [metric for _, metric in comparison.metrics if metric.metric == name]
        verdict = next(v for v in HEADLINE_WORDS if any(metric.change is v for metric in changes))
        changed = [metric for metric in changes if metric.change is verdict]
        where = f" at {len(changed)} of {count(len(changes), 'point')}" if verdict in CHANGED else ""
        extents[verdict].setdefault(where, []).append(f"{name}{_size(changed)}")
    texts = {verdict: [", ".join(names) + where for where, names in by.items()] for verdict, by in extents.items()}
    return "; ".join(f"{HEADLINE_WORDS[verdict]}: {', '.join(each)}" for verdict, each in texts.items() if each)


def _size(changes: Sequence[MetricChange]) -> str:
    """What follows a metric in a headline: its change or range of changes, or what its evidence could have detected."""
    if changes[0].change in CHANGED:
        ratios = sorted(metric.ratio for metric in changes)
        return " " + " to ".join(dict.fromkeys((percent(ratios[0]), percent(ratios[-1]))))
    detectable = [metric.detectable for metric in changes if metric.detectable is not None]
    if changes[0].change is ChangeVerdict.INCONCLUSIVE and detectable:
        return f" (could detect {max(detectable) * 100:.1f} %)"
    return ""


def point_names(points: Sequence[PointChange]) -> tuple[str, list[str]]:
    """(the words that the labels of all points share, the other words of each label).

    Points of equal labels get the settings in which they differ.
    """
    words = [point.label.split() for point in points]
    shared = [word for word in words[0] if all(word in others for others in words)] if len(points) > 1 else []
    names = [[word for word in label if word not in shared] for label in words]
    if len({tuple(name) for name in names}) < len(names):
        settings = [point_settings_of(point.candidate[-1]) for point in points]
        leaves = {key.rpartition(".")[2]: key for key in differing_settings(settings)}
        for name, of_point in zip(names, settings, strict=True):
            name += [
                f"{leaf}={of_point.get(key)}" for leaf, key in leaves.items() if f" {leaf}=" not in f" {' '.join(name)}"
            ]
    return " ".join(shared), [" ".join(name) or "-" for name in names]


def matrix_cell(point: PointChange, name: str) -> tuple[str, ChangeVerdict | None]:
    """The text of a metric of a point, and its verdict; None if the point does not have it."""
    metric = next((metric for metric in point.metrics if metric.metric == name), None)
    if metric is None:
        return ("INVALID" if point.invalid else "missing"), None
    return f"{percent(metric.ratio)} {CELL_WORDS[metric.change]}", metric.change


def point_remarks(comparison: Comparison) -> Iterator[str]:
    """The remarks on points, each once: with its point, or with the number of points that share it."""
    labels: dict[str, list[str]] = {}
    for point in comparison.points:
        for text in comparison_rows.remarks(point, comparison.shared_differences):
            labels.setdefault(text, []).append(point.label)
    for text, of_points in labels.items():
        yield f"{of_points[0] if len(of_points) == 1 else count(len(of_points), 'point')}: {text}"
