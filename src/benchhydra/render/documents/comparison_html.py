"""A comparison as one HTML page, without scripts and with every text escaped."""

from __future__ import annotations

from collections.abc import Collection
from typing import TextIO

from benchhydra.analysis.comparison import Comparison, MetricChange, PointChange
from benchhydra.escaping import escape_html
from benchhydra.render import comparison_rows, renderer
from benchhydra.render.comparison_summary import definition_lines
from benchhydra.render.headlines import comparison_headline

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>benchhydra compare</title><style>
:root{{color-scheme:light dark}}body{{font:16px system-ui;margin:1rem;max-width:70rem}}div{{overflow-x:auto}}
td,th{{padding:.2rem .6rem;text-align:right}}td:first-child,th:first-child,td:last-child{{text-align:left}}
.better,.probably_better{{color:light-dark(#176b2c,#6fd48a)}}.worse,.probably_worse{{color:light-dark(#b00020,#ff8a94)}}.worse{{font-weight:bold}}
</style></head><body><h1>Comparison</h1>
{body}</body></html>
"""


@renderer("comparison", "html")
def write_comparison(comparison: Comparison, stream: TextIO) -> None:
    """The whole page: the headline, a table for each point, then the points that only one side has."""
    headline = comparison_headline(comparison)
    body = (
        f'<p class="{"worse" if comparison.problems else "headline"}">{escape_html(headline)}</p>\n' if headline else ""
    )
    body += "".join(f"<p>{escape_html(text)}</p>\n" for text in definition_lines(comparison))
    body += f"<p>{escape_html(comparison_rows.shared(comparison))}</p>\n" if comparison.shared_differences else ""
    body += "".join(_point(point, comparison.shared_differences) for point in comparison.points)
    body += "".join(f"<p>{escape_html(text)}</p>\n" for text in comparison_rows.unpaired(comparison))
    stream.write(PAGE.format(body=body or f"<p>{comparison_rows.NOTHING}</p>\n"))


def _point(point: PointChange, said: Collection[str]) -> str:
    texts = (*comparison_rows.remarks(point, said), *comparison_rows.equal_sentences(point))
    remarks = "".join(f"<li>{escape_html(text)}</li>" for text in texts)
    head = "".join(f'<th scope="col">{escape_html(name)}</th>' for name in comparison_rows.COLUMNS)
    rows = "".join(_row(metric) for metric in comparison_rows.shown_metrics(point))
    table = f"<div><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>"
    return f"<h2>{escape_html(comparison_rows.heading(point))}</h2>\n<ul>{remarks}</ul>\n{table}\n"


def _row(metric: MetricChange) -> str:
    cells = "".join(f"<td>{escape_html(cell)}</td>" for cell in comparison_rows.cells(metric))
    return f'<tr class="{escape_html(metric.change)}">{cells}</tr>\n'
