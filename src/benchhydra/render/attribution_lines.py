"""Why latencies changed, in at most six lines: causes, then where the time went and what moved beside it.

Why: the KV cache is full (+37 of +38 ms TTFT)
TTFT +38 ± 3 ms: queue +31 ± 2, prefill +6 ± 1, outside +1 ± 0; KV cache 71 % -> 99 %, waiting 0 -> 9
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchhydra.analysis.attribution import Explanation, explain
from benchhydra.analysis.attribution_causes import LikelyCause
from benchhydra.analysis.attribution_evidence import Move
from benchhydra.analysis.comparison import Comparison, PointChange
from benchhydra.render.comparison_summary import point_names
from benchhydra.render.figures import count

MOST_LINES = 6
#: So many figures that moved are listed for the first latency; for a further one only evidence of its causes.
MOST_MOVES = 4
#: A second cause is named if it accounts for this fraction of the change, and the first leaves as much.
SECOND_CAUSE = 0.25
#: The front end is shown from this fraction of the change on.
SHOWN_FRONTEND = 0.05
#: A smaller value is shown as 0.
SMALLEST_SHOWN = 0.005
#: The name of a point, and why its latencies changed.
ExplainedPoint = tuple[str, tuple[Explanation, ...]]
NAMES = {"mean_ttft_ms": "TTFT", "mean_e2el_ms": "E2E latency"}


def why_lines(comparison: Comparison) -> list[str]:
    """The causes at all points, each with the point where it changed most; empty where nothing really changed."""
    groups = _by_causes(comparison)
    lines: list[str] = []
    for i, group in enumerate(groups):
        of_group = list(_group_lines(group, len(comparison.points)))
        if lines and len(lines) + len(of_group) > MOST_LINES - (i + 1 < len(groups)):
            rest = sum(len(others) for others in groups[i:])
            return [*lines, f"Other causes at {count(rest, 'more point')}: --format json has them"]
        lines += of_group
    return lines


def _by_causes(comparison: Comparison) -> list[list[ExplainedPoint]]:
    """The points that have the same first causes, with the words that tell them apart; the largest changes first."""
    names = point_names(comparison.points)[1] if comparison.points else []
    groups: dict[str, list[ExplainedPoint]] = {}
    for name, point in zip(names, comparison.points, strict=True):
        explanations = explain(point)
        if explanations:
            causes = ", ".join(_first_cause(explanation) for explanation in explanations)
            groups.setdefault(causes, []).append((name, explanations))
    return sorted(groups.values(), key=lambda group: -max(_extent(explanations) for _, explanations in group))


def point_why_lines(point: PointChange) -> list[str]:
    """The causes and the parts of the latencies of one point that really changed."""
    return explanation_lines(explain(point))


def explanation_lines(explanations: Sequence[Explanation]) -> list[str]:
    """A line for the causes, and one for each latency. A figure that moved is listed once."""
    return [f"Why: {_causes(explanations)}", *_latency_lines(explanations)] if explanations else []


def _group_lines(group: Sequence[ExplainedPoint], points: int) -> Iterator[str]:
    name, explanations = max(group, key=lambda item: _extent(item[1]))
    if points == 1:
        yield from explanation_lines(explanations)
        return
    yield f"Why, at {len(group)} of {points} points: {_causes(explanations)}"
    yield from (f"{name}: {line}" for line in _latency_lines(explanations))


def _first_cause(explanation: Explanation) -> str:
    return explanation.causes[0].cause.name if explanation.causes else "-"


def _extent(explanations: Sequence[Explanation]) -> float:
    return max(abs(explanation.change_ms) / explanation.base_ms for explanation in explanations)


def _causes(explanations: Sequence[Explanation]) -> str:
    """The first causes of all latencies, that of the largest change first, then the second ones, with their parts."""
    largest_first = sorted(explanations, key=lambda explanation: -abs(explanation.change_ms))
    order = [each.text for place in (0, 1) for e in largest_first for each in _named_causes(e)[place : place + 1]]
    accounts: dict[str, list[str]] = {text: [] for text in order}
    for explanation in explanations:
        for likely in _named_causes(explanation):
            part = signed(likely.change_ms, explanation.change_ms)
            accounts[likely.text].append(f"{part} of {_total(explanation)}")
    accounts |= {_without_cause(e): [] for e in explanations if not e.causes}
    return "; ".join(f"{text} ({', '.join(parts)})" if parts else text for text, parts in accounts.items())


def _named_causes(explanation: Explanation) -> tuple[LikelyCause, ...]:
    first, second = explanation.causes[:1], explanation.causes[1:2]
    is_named = second and second[0].fraction >= SECOND_CAUSE and first[0].fraction <= 1 - SECOND_CAUSE
    return (*first, *second) if is_named else first


def _without_cause(explanation: Explanation) -> str:
    part = explanation.largest_part
    where = f"; its largest part: {part.name} {signed(part.change_ms, explanation.change_ms)}" if part else ""
    return f"{_total(explanation)}: nothing that was observed accounts for it{where}"


def _total(explanation: Explanation) -> str:
    return f"{signed(explanation.change_ms, explanation.change_ms)} ms {NAMES[explanation.metric]}"


def _latency_lines(explanations: Sequence[Explanation]) -> Iterator[str]:
    listed: set[str] = set()
    for explanation in explanations:
        evidence = {metric for likely in _named_causes(explanation) for metric in likely.cause.metrics}
        moves = [m for m in explanation.moved if m.metric not in listed and (not listed or m.metric in evidence)]
        texts = [move_text(move) for move in moves[:MOST_MOVES]]
        listed |= {move.metric for move in moves[:MOST_MOVES]}
        yield "; ".join(filter(None, (_parts(explanation), _sum_note(explanation), ", ".join(texts))))


def _parts(explanation: Explanation) -> str:
    total = explanation.change_ms
    probably = "probably " if explanation.probable else ""
    change = f"{NAMES[explanation.metric]} {probably}{_with_interval(total, explanation.high_ms, total)} ms"
    parts = ", ".join(
        f"{part.name} {_with_interval(part.change_ms, part.high_ms, total)}"
        for part in explanation.parts
        if part.name != "frontend" or abs(part.change_ms) >= SHOWN_FRONTEND * abs(total)
    )
    return f"{change}: {parts or 'the server does not say in which part'}"


def _sum_note(explanation: Explanation) -> str:
    if explanation.adds_up or not explanation.parts:
        return ""
    total = explanation.change_ms
    of_parts = signed(total - explanation.unaccounted_ms, total)
    return f"the parts do not add up: {of_parts} of {signed(total, total)}"


def _with_interval(change: float, high: float | None, total: float) -> str:
    return signed(change, total) + ("" if high is None else f" ± {_fixed(high - change, total)}")


def signed(value: float, total: float) -> str:
    """A change with its sign, with the decimals that suit the whole change."""
    text = _fixed(value, total)
    return text if text.startswith("-") else f"+{text}"


def _fixed(value: float, total: float) -> str:
    decimals = 0 if abs(total) >= 10 else 1 if abs(total) >= 1 else 2
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"


def move_text(move: Move) -> str:
    """A figure on both sides: ``KV cache 71 % -> 99 %``, ``preemptions 0 -> 14 a minute``."""
    if move.unit == "fraction":
        return f"{move.name} {move.base * 100:.0f} % -> {move.candidate * 100:.0f} %"
    unit = "" if move.unit == "requests" else f" {move.unit}"
    return f"{move.name} {_short(move.base)} -> {_short(move.candidate)}{unit}"


def _short(value: float) -> str:
    """A number with two significant digits, or all those before the point."""
    if abs(value) < SMALLEST_SHOWN:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 10 else f"{float(f'{value:.2g}'):g}"
