"""Figures of groups of requests: by adapter, by priority, by replica. A group is a value of a label of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from benchhydra.metrics import summarize
from benchhydra.result import MetricValue
from benchhydra.window import Window

#: The metrics of a group, in the order of tables. Rates are left out: a group has no window of its own.
GROUP_METRICS = (
    *("completed", "failed", "cancelled", "output_correct_fraction"),
    *("mean_input_tokens", "mean_output_tokens"),
    *("mean_ttft_ms", "median_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "median_e2el_ms", "p99_e2el_ms"),
    *("mean_scheduled_ttft_ms", "p99_scheduled_e2el_ms", "slo_attainment"),
)
#: Metrics by name of the group, by label.
Groups = dict[str, dict[str, dict[str, MetricValue]]]


def group_figures(window: Window, has: Set[str], groups: Mapping[str, Sequence[str]]) -> Groups:
    """Return the figures of each group that has requests in the window.

    groups: for each label, the names of its values 0, 1, ...; has: the capabilities of the measurement.
    """
    return {
        label: {
            name: _figures(Window.over(rows, window.every, slo=window.slo), has)
            for value, name in enumerate(names)
            if len(rows := window.where(window.labels[label] == value))
        }
        for label, names in groups.items()
        if label in window.labels
    }


def _figures(rows: Window, has: Set[str]) -> dict[str, MetricValue]:
    values = {metric.key: metric for metric in summarize(rows, has)}
    return {name: values[name] for name in GROUP_METRICS if name in values}
