"""A comparison in a few lines: what changed in its main metrics, and a matrix of points by main metrics.

A metric that is equal to another one by construction is named once, below the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.analysis.pairing import differing_settings, point_settings_of
from benchhydra.render import comparison_rows
from benchhydra.render.figures import TIME, count, latency_name, percent_range
from benchhydra.render.shared_lines import shared_lines
from benchhydra.render.verdict_words import detectable_words
from benchhydra.similar_texts import template

#: Verdicts in the order of a headline, with their first words.
HEADLINE_WORDS = {
    ChangeVerdict.WORSE: "WORSE",
    ChangeVerdict.PROBABLY_WORSE: "probably worse",
    ChangeVerdict.BETTER: "BETTER",
    ChangeVerdict.PROBABLY_BETTER: "probably better",
    ChangeVerdict.INCONCLUSIVE: "inconclusive",
    ChangeVerdict.SAME: "no difference",
}
#: Verdicts that say that something changed, the gravest first.
CHANGED = (
    ChangeVerdict.WORSE,
    ChangeVerdict.PROBABLY_WORSE,
    ChangeVerdict.BETTER,
    ChangeVerdict.PROBABLY_BETTER,
)
#: What follows a change in a cell of the matrix.
CELL_MARKS = {
    ChangeVerdict.WORSE: "✗",
    ChangeVerdict.PROBABLY_WORSE: "(✗)",
    ChangeVerdict.BETTER: "✓",
    ChangeVerdict.PROBABLY_BETTER: "(✓)",
    ChangeVerdict.INCONCLUSIVE: "?",
    ChangeVerdict.SAME: "=",
}
LEGEND = "✗ worse; ✓ better; (✗), (✓) probably; = no difference that matters; ? inconclusive"
#: The heading of the column that names the points.
CORNER = "change, %"
#: The most lines of remarks below a matrix.
MOST_REMARKS = 6


def main_names(comparison: Comparison) -> list[str]:
    """The main metrics that any point has, without those equal to another; all metrics if none is a main one."""
    metrics = [metric for _, metric in comparison.metrics]
    names = dict.fromkeys(metric.metric for metric in metrics if metric.is_main) or dict.fromkeys(
        metric.metric for metric in metrics
    )
    stand_ins = _stand_ins(comparison)
    return [name for name in names if name not in stand_ins]


def _stand_ins(comparison: Comparison) -> dict[str, str]:
    """Metric -> the one that it equals by construction at every point."""
    same_as: dict[str, set[str]] = {}
    for _, metric in comparison.metrics:
        same_as.setdefault(metric.metric, set()).add(metric.same_as)
    return {name: others.pop() for name, others in same_as.items() if len(others) == 1 and "" not in others}


def change_headline(comparison: Comparison) -> str:
    """``WORSE: mean_tpot_ms +8.0 % at 6 of 6 points; no difference above 1.2 %: mean_ttft_ms``; empty without metrics.

    A metric is named with its gravest verdict. The limit of "no difference" is the widest end of the intervals.
    """
    changes = {name: _judged_changes(comparison, name) for name in main_names(comparison)}
    return "; ".join(
        part for verdict in HEADLINE_WORDS if (part := _headline_part(verdict, _of_verdict(verdict, changes)))
    )


def _judged_changes(comparison: Comparison, name: str) -> list[MetricChange]:
    return [metric for _, metric in comparison.metrics if metric.metric == name]


def _of_verdict(
    verdict: ChangeVerdict, changes: dict[str, list[MetricChange]]
) -> dict[str, tuple[list[MetricChange], int]]:
    """Metric -> (its changes with this verdict, the number of all of them), of the metrics without a graver one."""
    order = list(HEADLINE_WORDS)
    return {
        name: ([metric for metric in of_name if metric.change is verdict], len(of_name))
        for name, of_name in changes.items()
        if of_name and min(order.index(metric.change) for metric in of_name) == order.index(verdict)
    }


def _headline_part(verdict: ChangeVerdict, changes: dict[str, tuple[list[MetricChange], int]]) -> str:
    """The metrics of one verdict; those that changed at equally many points have that number in common."""
    if not changes:
        return ""
    names_by_extent: dict[str, list[str]] = {}
    for name, (of_verdict, total) in changes.items():
        extent = f" at {len(of_verdict)} of {count(total, 'point')}" if verdict in CHANGED else ""
        names_by_extent.setdefault(extent, []).append(f"{name}{_size(of_verdict)}")
    listed = ", ".join(", ".join(names) + extent for extent, names in names_by_extent.items())
    limit = _largest_possible_change([metric for of_verdict, _ in changes.values() for metric in of_verdict])
    above = f" above {limit * 100:.1f} %" if verdict is ChangeVerdict.SAME and limit is not None else ""
    return f"{HEADLINE_WORDS[verdict]}{above}: {listed}"


def _largest_possible_change(changes: Sequence[MetricChange]) -> float | None:
    """The widest end of the intervals; None if a change has no interval."""
    ends = [end for metric in changes for end in (metric.low, metric.high)]
    known = [abs(end) for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def _size(changes: Sequence[MetricChange]) -> str:
    """What follows a metric in a headline: its change or range of changes, or what its evidence could have detected."""
    if changes[0].change in CHANGED:
        repeats = [metric.repeats_needed for metric in changes if metric.repeats_needed]
        settles = f" (repeats={max(repeats)} or ab would settle it)" if repeats else ""
        return f" {percent_range([metric.ratio for metric in changes])}{settles}"
    detectable = [metric.detectable for metric in changes if metric.detectable is not None]
    if changes[0].change is ChangeVerdict.INCONCLUSIVE and detectable:
        return f" ({detectable_words(max(detectable))})"
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


def matrix_head(metric: str) -> tuple[str, str]:
    """The two lines above a column: ``("TPOT", "mean")``, ``("request", "throughput")``."""
    match = TIME.fullmatch(metric)
    if match:
        return latency_name(match[2]), match[1]
    first, _, rest = metric.partition("_")
    return first, rest.replace("_", " ")


def matrix_cell(point: PointChange, name: str) -> tuple[str, ChangeVerdict | None]:
    """The text of a metric of a point, and its verdict; None if the point does not have it."""
    metric = next((metric for metric in point.metrics if metric.metric == name), None)
    if metric is None:
        return ("INVALID" if point.invalid else "missing"), None
    return f"{metric.ratio * 100:+.1f} {CELL_MARKS[metric.change]}", metric.change


def sides_line(comparison: Comparison) -> str:
    """What is compared: the words of all points, the runs of a side and point, and what differs between the sides."""
    shared, _ = point_names(comparison.points)
    runs = [len(side) for point in comparison.points for side in (point.base, point.candidate)]
    numbers = count(max(runs), "run") if min(runs) == max(runs) else f"{min(runs)} to {max(runs)} runs"
    differences = comparison_rows.listed_differences(
        comparison.points[0].differences if len(comparison.points) == 1 else comparison.shared_differences
    )
    what = f"{shared}, " if shared else ""
    return f"{what}{numbers} a side and point" + (f"; differs: {differences}" if differences else "")


def definition_lines(comparison: Comparison) -> list[str]:
    """Where the figures of two engines do not mean the same, and where they do, a line each; [] for one engine."""
    _, names = point_names(comparison.points) if comparison.points else ("", [])
    return shared_lines(
        [(at, text) for at, point in enumerate(comparison.points) for text in point.definitions],
        names,
        names_all=False,
    )


def equal_line(comparison: Comparison) -> str:
    """The main metrics that have no column because they are equal to another; empty if there is none."""
    stand_ins = _stand_ins(comparison)
    main = dict.fromkeys(metric.metric for _, metric in comparison.metrics if metric.is_main)
    equal: dict[str, list[str]] = {}
    for name in main:
        if name in stand_ins:
            equal.setdefault(stand_ins[name], []).append(name)
    texts = [f"{name} stands for {', '.join(others)}" for name, others in equal.items()]
    return f"{'; '.join(texts)}: equal by construction in these runs" if texts else ""


def remark_lines(comparison: Comparison) -> list[str]:
    """The remarks on points, a line for each that differs by more than its numbers, and the points of one side only.

    The gravest problem is left out, because it stands in the headline. At most ``MOST_REMARKS`` lines, of which the
    last one says how many there are besides.
    """
    said = comparison.shared_differences or (comparison.points[0].differences if len(comparison.points) == 1 else ())
    remarks = [
        (at, text) for at, point in enumerate(comparison.points) for text in comparison_rows.remarks(point, said)
    ]
    in_headline = {template(comparison_rows.problem_words(problem)) for problem in comparison.problems[:1]}
    remarks = [(at, text) for at, text in remarks if template(text) not in in_headline]
    of_sides = [text for text in comparison_rows.unpaired(comparison) if template(text) not in in_headline]
    _, names = point_names(comparison.points) if comparison.points else ("", [])
    lines = [*of_sides, *shared_lines(remarks, names)]
    if len(lines) <= MOST_REMARKS:
        return lines
    return [*lines[: MOST_REMARKS - 1], f"{len(lines) - MOST_REMARKS + 1} more remarks: compare --all shows them"]
