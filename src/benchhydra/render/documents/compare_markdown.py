"""A comparison as Markdown: for a CI job's page, a pull-request comment, an MLflow note."""

from __future__ import annotations

import re

from benchhydra.analysis.compare import Basis, ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.analysis.gate import Decision, GateOutcome

HEAD = "| metric | base | candidate | change | 95 % interval | verdict |\n|---|--:|--:|--:|--:|---|\n"
SAID = {
    GateOutcome.FINE: "no regression",
    GateOutcome.REGRESSION: "REGRESSION",
    GateOutcome.NOTHING_COMPARABLE: "nothing comparable",
    GateOutcome.INVALID: "INVALID: the candidate has points without a usable result",
}


UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f]")
#: An underscore inside a word marks nothing up.
MARKUP = re.compile(r"[\\`*|\[\]#]|(?<!\w)_|_(?!\w)")


def printable(text: str) -> str:
    """Text of others in one line, without what a terminal would obey."""
    return UNPRINTABLE.sub("?", " ".join(text.split()))


def percent(ratio: float | None) -> str:
    """``0.031`` -> ``+3.1 %``."""
    return "" if ratio is None else f"{ratio * 100:+.1f} %"


def interval_text(metric: MetricChange) -> str:
    """The interval of the change."""
    return "" if metric.low is None else f"{percent(metric.low)} to {percent(metric.high)}"


def verdict_text(metric: MetricChange) -> str:
    """The verdict with what a reader needs beside it: how weak the evidence is, and what it could have seen."""
    words = [str(metric.change)]
    if metric.change is ChangeVerdict.UNCLEAR and metric.detectable is not None:
        words.append(f"(sees {metric.detectable * 100:.1f} % and more)")
    if metric.basis is Basis.REQUESTS:
        words.append("(weaker: one run a side, from its requests)")
    return " ".join([*words, f"({metric.note})"] if metric.note else words)


def figure(value: float, unit: str) -> str:
    """A value with four digits and its unit."""
    return f"{value:.4g} {unit}".strip()


def heading(point: PointChange) -> str:
    """A point's name, its runs, and whether any of them is doubtful."""
    used = [sum(run.usable for run in side) for side in (point.base, point.candidate)]
    return f"{point.label} ({used[0]} against {used[1]} runs{', SUSPECT' if point.suspect else ''})"


def compare_markdown(found: Comparison) -> str:
    """The whole comparison."""
    parts = [_point(point) for point in found.points]
    parts += [f"Only in the base: {_text(label)}\n" for label in found.only_base]
    parts += [f"Only in the candidate: {_text(label)}\n" for label in found.only_candidate]
    return "\n".join(parts) or "No point is in both.\n"


def _point(point: PointChange) -> str:
    lines = [f"### {_text(heading(point))}\n"]
    lines += [f"- {_text(text)}" for text in (*point.differences, *point.notes)]
    if point.invalid:
        reasons = sorted({text for run in (*point.base, *point.candidate) for text in run.reasons if not run.usable})
        return "\n".join([*lines, f"- INVALID: the {point.invalid} has no usable run. {_text('; '.join(reasons))}", ""])
    rows = "".join(_row(metric) for metric in point.metrics)
    lost = f"\nNot measured by the candidate: {_text(', '.join(point.missing))}\n" if point.missing else ""
    return "\n".join(lines) + f"\n\n{HEAD}{rows}{lost}"


def _row(metric: MetricChange) -> str:
    mark = "**" if metric.change in (ChangeVerdict.WORSE, ChangeVerdict.BETTER) else ""
    cells = (
        metric.metric,
        figure(metric.base, metric.unit),
        figure(metric.candidate, metric.unit),
        percent(metric.ratio),
        interval_text(metric),
    )
    return f"| {' | '.join(map(_text, cells))} | {mark}{_text(verdict_text(metric))}{mark} |\n"


def _text(text: str) -> str:
    """Text of others, made harmless in Markdown and HTML."""
    text = MARKUP.sub(r"\\\g<0>", printable(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """Text of others as code."""
    return f"`{printable(text).replace('`', chr(39))}`"


def gate_markdown(decision: Decision) -> str:
    """A gate's decision: the outcome, what is worse, how it was confirmed, then all figures folded away."""
    lines = [f"## Benchmark gate: {SAID[decision.outcome]}\n"]
    for point, metric in decision.regressions:
        change = f"{percent(metric.ratio)} ({interval_text(metric)})"
        lines.append(f"- {_text(point.label)}: **{_text(metric.metric)}** {change}")
    lines += [f"- measured again: {_text(text)}" for text in decision.reran]
    lines += [f"- {_text(note)}" for note in decision.notes]
    body = compare_markdown(decision.comparison)
    return "\n".join(lines) + f"\n\n<details><summary>All figures</summary>\n\n{body}\n</details>\n"
