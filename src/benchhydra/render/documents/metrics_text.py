"""The metric table as text, and as Markdown, which is docs/metrics.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from benchhydra.metrics import Metric
from benchhydra.render import renderer
from benchhydra.render.text import markdown_table
from benchhydra.result import Better

DIRECTIONS = {Better.BIGGER: "bigger", Better.SMALLER: "smaller", Better.OBSERVATION: "-"}
COLUMNS = ("metric", "unit", "better", "needs", "what it is")
INTRODUCTION = """# Metrics

Written by `make docs` from the metric table; a test checks that it is up to date.

- A metric has one name everywhere: `result.json`, MLflow, tables, CSV.
- "better" is the direction that comparison and MLflow's `better.<metric>` tag use; `-` is an observation: it has none.
- Metrics are computed over the measured window. Percentiles interpolate linearly between order statistics.
- `percentiles=[25,99.9]` adds percentiles to those below: `p25_ttft_ms`, `p99.9_ttft_ms`, and so on for each latency
  that has a `p99_`. Comparisons, tables, exports and `objective=` take them as any other; p50 is called `median_`.
- Token counts are the server's own `usage`. A metric that is unknown is absent; none is ever 0 or NaN for "unknown".
- Latencies count from the moment a request was *sent*; the `scheduled` ones from the moment the load wanted it sent, so
  that a queue in front of the client is not left out (coordinated omission).
- A metric is computed if a measurement has everything that it "needs": request rows, streams of tokens, token
  counts, a schedule, limits of latencies (`slo`).

"""


@renderer("metrics", "markdown")
def write_markdown(metrics: Sequence[Metric], stream: TextIO) -> None:
    """An introduction and a table. The metrics' docs are our own Markdown, so they are not escaped."""
    rows = ([f"`{m.name}`", m.unit, DIRECTIONS[m.better], ", ".join(m.needs), m.doc] for m in metrics)
    stream.write(INTRODUCTION + "\n".join(markdown_table(COLUMNS, rows)) + "\n")


@renderer("metrics", "text")
def write_text(metrics: Sequence[Metric], stream: TextIO) -> None:
    """One line a metric."""
    for metric in metrics:
        stream.write(f"{metric.name:30} {metric.unit:11} {DIRECTIONS[metric.better]:8} {metric.doc}\n")
