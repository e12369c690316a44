"""A comparison, a gate's decision and an A/B test as Markdown: for a CI job's page, a pull request, an MLflow note."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TextIO

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.analysis.gate import Decision
from benchhydra.escaping import escape_markdown, markdown_code
from benchhydra.render import comparison_rows, renderer
from benchhydra.render.ab_report import AbReport
from benchhydra.render.attribution_lines import why_lines
from benchhydra.render.comparison_summary import definition_lines, point_names
from benchhydra.render.figures import interval, percent, percent_range
from benchhydra.render.headlines import comparison_headline, gate_headline
from benchhydra.render.shared_lines import points_in_words
from benchhydra.render.text import markdown_table


@renderer("comparison", "markdown")
def write_comparison(comparison: Comparison, stream: TextIO) -> None:
    """The headline, a table for each point, then the points that only one side has."""
    headline = comparison_headline(comparison)
    _write_figures(comparison, stream, f"**{escape_markdown(headline)}**\n" if headline else "")


def _write_figures(comparison: Comparison, stream: TextIO, headline: str = "") -> None:
    parts = [headline] if headline else []
    parts += [f"{escape_markdown(text)}\n" for text in definition_lines(comparison)]
    if comparison.shared_differences:
        parts.append(f"{escape_markdown(comparison_rows.shared(comparison))}\n")
    if headline:
        parts += [f"{escape_markdown(text)}\n" for text in why_lines(comparison)]
    parts += [_point(point, comparison.shared_differences) for point in comparison.points]
    parts += [f"{escape_markdown(text)}\n" for text in comparison_rows.unpaired(comparison)]
    stream.write("\n".join(parts) or f"{comparison_rows.NOTHING}\n")


@renderer("gate", "markdown")
def write_gate(decision: Decision, stream: TextIO) -> None:
    """The outcome, the regressions, the points that were measured again, and all figures in a collapsed section."""
    lines = [f"## Benchmark gate: {escape_markdown(gate_headline(decision))}\n"]
    lines += _regressions(decision)
    lines += [f"- {escape_markdown(text)}" for text in why_lines(decision.comparison)]
    lines += [f"- measured again: {escape_markdown(text)}" for text in decision.reran]
    lines += [f"- {escape_markdown(note)}" for note in decision.notes]
    stream.write("\n".join(lines) + "\n\n<details><summary>All figures</summary>\n\n")
    _write_figures(decision.comparison, stream)
    stream.write("\n</details>\n")


def _regressions(decision: Decision) -> Iterator[str]:
    """A line for each metric that regressed: with its interval, or with its range if that is at several points."""
    by_metric: dict[str, list[tuple[PointChange, MetricChange]]] = {}
    for point, metric in decision.regressions:
        by_metric.setdefault(metric.metric, []).append((point, metric))
    keys = [point.point_key for point in decision.comparison.points]
    for name, changes in by_metric.items():
        bold = f"**{escape_markdown(name)}**"
        if len(changes) == 1:
            ((point, metric),) = changes
            change = f"{percent(metric.ratio)} ({interval(metric.low, metric.high)})"
            yield f"- {escape_markdown(point.label)}: {bold} {change}"
            continue
        indices = [keys.index(point.point_key) for point, _ in changes]
        where = points_in_words(indices, point_names(decision.comparison.points)[1])
        ratios = [metric.ratio for _, metric in changes]
        yield f"- {bold} {percent_range(ratios)} at {escape_markdown(where)}"


@renderer("ab", "markdown")
def write_ab(report: AbReport, stream: TextIO) -> None:
    """The outcome as title, the cost of the test, both sides' overrides, then the figures."""
    title, *lines = map(escape_markdown, report.lines())
    lines += [f"{side.upper()}: {markdown_code(' '.join(words))}" for side, words in report.overrides.items()]
    stream.write(f"## {title}\n\n" + "".join(f"- {line}\n" for line in lines) + "\n")
    write_comparison(report.test.comparison(), stream)


def _point(point: PointChange, said: Collection[str]) -> str:
    lines = [f"### {escape_markdown(comparison_rows.heading(point))}\n"]
    lines += [f"- {escape_markdown(text)}" for text in comparison_rows.remarks(point, said)]
    if not point.invalid:
        rows = map(_row, comparison_rows.shown_metrics(point))
        lines += [f"- {escape_markdown(text)}" for text in comparison_rows.equal_sentences(point)]
        lines += ["", *markdown_table(comparison_rows.COLUMNS, rows, right=comparison_rows.FIGURES)]
    return "\n".join(lines) + "\n"


def _row(metric: MetricChange) -> list[str]:
    *figures, verdict = map(escape_markdown, comparison_rows.cells(metric))
    mark = "**" if metric.change in (ChangeVerdict.WORSE, ChangeVerdict.BETTER) else ""
    return [*figures, f"{mark}{verdict}{mark}"]
