"""Metrics that are equal by construction: one is a constant times another in every run, so it is evidence only once.

With answers of a fixed length, output tokens/s are requests/s times that length; of a single request, mean, median and
p99 are one value. No list of names can say this, because it depends on the data. It is read from the runs: two metrics
whose ratio is the same in all of them, to nine digits, while they vary themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchhydra.analysis.comparison import PointChange
from benchhydra.analysis.pairing import usable_runs

#: Ratios that differ by less are the same: floats have 16 digits, and two measured values agree to nine by no chance.
TOLERANCE = 1e-9

Logs = npt.NDArray[np.float64]


def equal_metrics(points: Sequence[PointChange]) -> dict[str, str]:
    """Metric -> the metric that stands for it: a main metric if one of them is, else the first.

    The two are equal at every point: of each, the changes and their evidence are the same.
    """
    changes = [metric for point in points for metric in point.metrics]
    main = dict.fromkeys(metric.metric for metric in changes if metric.is_main)
    names = list(dict.fromkeys([*main, *(metric.metric for metric in changes)]))
    logs = {name: _logs_within_points(name, points) for name in names}
    stand_ins: dict[str, str] = {}
    for at, name in enumerate(names):
        if name not in stand_ins and _varies(logs[name]):
            equal = [other for other in names[at + 1 :] if _are_equal(logs[name], logs[other])]
            stand_ins |= {other: name for other in equal if other not in stand_ins}
    return stand_ins


def _logs_within_points(metric: str, points: Sequence[PointChange]) -> Logs:
    """The log of the metric in each usable run over that in the first run of its point; NaN where it is absent."""
    logs: list[float] = []
    for point in points:
        values = [run.metrics.get(metric, np.nan) for run in usable_runs((*point.base, *point.candidate))]
        positive = np.array([value if value > 0 else np.nan for value in values], dtype=np.float64)
        logs += (np.log(positive) - np.log(positive[:1])).tolist()
    return np.array(logs)


def _varies(logs: Logs) -> bool:
    """Whether there is anything to compare: constants are equal by chance."""
    return bool(np.any(np.abs(logs) > TOLERANCE))


def _are_equal(left: Logs, right: Logs) -> bool:
    if abs(left[-1] - right[-1]) > TOLERANCE:  # most pairs differ in any run: quicker than to compare all
        return False
    return np.allclose(left, right, rtol=0.0, atol=TOLERANCE, equal_nan=True)
