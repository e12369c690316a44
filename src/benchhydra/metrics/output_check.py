"""The output check: how many answers are the expected ones."""

from __future__ import annotations

from benchhydra.metrics import metric
from benchhydra.output_check import checked_answers
from benchhydra.result import Better
from benchhydra.window import Window


@metric(
    "output_correct_fraction",
    unit="fraction",
    better=Better.BIGGER,
    doc="answers that are as expected (dataset.expect) / completed answers for which something is expected",
    needs=("requests", "output_check"),
)
def output_correct_fraction(window: Window) -> float | None:
    checked = checked_answers(window.labels)
    return float(checked.mean()) if len(checked) else None


@metric(
    "output_checked",
    unit="requests",
    better=Better.OBSERVATION,
    doc="completed answers for which something is expected",
    needs=("requests", "output_check"),
)
def output_checked(window: Window) -> float:
    return float(len(checked_answers(window.labels)))
