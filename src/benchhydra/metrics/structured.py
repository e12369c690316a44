"""Structured output and tool calls: whether answers are what was asked for."""

from __future__ import annotations

import numpy as np

from benchhydra.metrics import metric
from benchhydra.records import Anomaly, Mask
from benchhydra.result import Better
from benchhydra.window import Window


@metric(
    "valid_output_fraction",
    unit="fraction",
    better=Better.BIGGER,
    doc="answers that match the schema, regex or choice / completed requests; a tool call counts as valid",
    needs=("requests", "structured"),
)
def valid_output_fraction(window: Window) -> float | None:
    return _fraction_without(window, Anomaly.INVALID_OUTPUT)


@metric(
    "valid_tool_call_fraction",
    unit="fraction",
    better=Better.BIGGER,
    doc="answers whose tool calls are all of offered tools with valid arguments / completed requests; one without "
    "calls is valid unless one was required",
    needs=("requests", "tools"),
)
def valid_tool_call_fraction(window: Window) -> float | None:
    return _fraction_without(window, Anomaly.WRONG_TOOL_CALL)


@metric(
    "tool_calls_per_request",
    unit="calls",
    better=Better.OBSERVATION,
    doc="tool calls in the answer of a completed request",
    needs=("requests", "tools"),
)
def tool_calls_per_request(window: Window) -> float | None:
    calls = window.labels.get("tool_calls")
    checked = np.zeros(0) if calls is None else calls[_checked(window)]
    return float(checked.mean()) if len(checked) else None


def _fraction_without(window: Window, anomaly: Anomaly) -> float | None:
    checked = _checked(window)
    return float(1 - window.has(anomaly)[checked].mean()) if checked.any() else None


def _checked(window: Window) -> Mask:
    """Return the mask of the complete answers that were checked: the time for it is limited."""
    return np.asarray(window.completed & (window.labels.get("tool_calls", np.zeros(len(window))) >= 0))
