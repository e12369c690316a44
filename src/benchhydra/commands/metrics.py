"""Print every metric: name, unit, direction, formula.

``--markdown`` writes it as docs/metrics.md is written.
"""

from __future__ import annotations

import argparse
import sys

from benchhydra import registry
from benchhydra.metrics import Metric, table
from benchhydra.result import Better

DIRECTIONS = {Better.BIGGER: "bigger", Better.SMALLER: "smaller", Better.OBSERVATION: "-"}
INTRODUCTION = """# Metrics

Written by `make docs` from the metric table; a test checks that it is up to date.

- A metric has one name everywhere: `result.json`, MLflow, tables, CSV.
- "better" is the direction that comparison and MLflow's `better.<metric>` tag use; `-` is an observation: it has none.
- Metrics are computed over the measured window. Percentiles interpolate linearly between order statistics.
- Token counts are the server's own `usage`. A metric that is unknown is absent; none is ever 0 or NaN for "unknown".
- Latencies count from the moment a request was *sent*; the `scheduled` ones from the moment the load wanted it sent, so
  that a queue in front of the client is not left out (coordinated omission).

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="as docs/metrics.md")


def run(args: argparse.Namespace) -> int:
    registry.discover()
    sys.stdout.write(metrics_markdown() if args.markdown else metrics_plain())
    return 0


def metrics_markdown() -> str:
    """The text of docs/metrics.md."""
    rows = [f"| `{m.name}` | {m.unit} | {DIRECTIONS[m.better]} | {', '.join(m.scripts)} | {m.doc} |" for m in _all()]
    head = "| metric | unit | better | scripts | what it is |\n|---|---|---|---|---|\n"
    return INTRODUCTION + head + "\n".join(rows) + "\n"


def metrics_plain() -> str:
    """One line a metric."""
    return "".join(f"{m.name:30} {m.unit:11} {DIRECTIONS[m.better]:8} {m.doc}\n" for m in _all())


def _all() -> list[Metric]:
    return list(table().values())
