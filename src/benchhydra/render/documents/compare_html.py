"""A comparison as one HTML page without scripts; every text is escaped."""

from __future__ import annotations

from html import escape

from benchhydra.analysis.compare import Comparison, MetricChange, PointChange
from benchhydra.render.documents.compare_markdown import figure, heading, interval_text, percent, verdict_text

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>benchhydra compare</title><style>
:root{{color-scheme:light dark}}body{{font:16px system-ui;margin:1rem;max-width:70rem}}div{{overflow-x:auto}}
td,th{{padding:.2rem .6rem;text-align:right}}td:first-child,th:first-child,td:last-child{{text-align:left}}
.better{{color:light-dark(#176b2c,#6fd48a)}}.worse{{color:light-dark(#b00020,#ff8a94);font-weight:bold}}
</style></head><body><h1>Comparison</h1>
{body}</body></html>
"""
COLUMNS = ("metric", "base", "candidate", "change", "95 % interval", "verdict")


def compare_html(found: Comparison) -> str:
    """The page."""
    body = "".join(_point(point) for point in found.points)
    body += "".join(f"<p>Only in the base: {escape(label)}</p>\n" for label in found.only_base)
    body += "".join(f"<p>Only in the candidate: {escape(label)}</p>\n" for label in found.only_candidate)
    return PAGE.format(body=body or "<p>No point is in both.</p>\n")


def _point(point: PointChange) -> str:
    differences = "".join(f"<li>{escape(text)}</li>" for text in (*point.differences, *point.notes))
    if point.invalid:
        differences += f'<li class="worse">INVALID: the {point.invalid} has no usable run</li>'
    if point.missing:
        differences += f"<li>not measured by the candidate: {escape(', '.join(point.missing))}</li>"
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    rows = "".join(_row(metric) for metric in point.metrics)
    table = f"<div><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>"
    return f"<h2>{escape(heading(point))}</h2>\n<ul>{differences}</ul>\n{table}\n"


def _row(metric: MetricChange) -> str:
    base, candidate = figure(metric.base, metric.unit), figure(metric.candidate, metric.unit)
    cells = (metric.metric, base, candidate, percent(metric.ratio), interval_text(metric), verdict_text(metric))
    return f'<tr class="{metric.change}">{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>\n'
