"""docs/server.md names every series, every metric and every name that is read."""

from __future__ import annotations

from pathlib import Path

from benchhydra.metrics import table
from benchhydra.probes.server_metrics import COUNTERS, ENGINES, GAUGES, HISTOGRAMS

PAGE = Path(__file__).parents[2] / "docs" / "server.md"


def test_each_quantity_is_a_row_with_its_names() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `server.")]
    quantities = [*GAUGES, *COUNTERS, *HISTOGRAMS]
    assert len(rows) == len(quantities)
    for row, quantity in zip(rows, quantities, strict=True):
        assert f"`server.{quantity.name}" in row
        assert all(f"`{source}`" in row for engine in ENGINES for source in quantity.sources(engine))


def test_each_metric_is_named() -> None:
    page = PAGE.read_text(encoding="utf-8")
    declared = [metric.name for metric in table().values() if metric.compute.__module__ == "benchhydra.metrics.server"]
    assert [name for name in declared if f"`{name}`" not in page] == []
