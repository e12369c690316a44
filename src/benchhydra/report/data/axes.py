"""The ends of a chart's vertical axis: what matters is visible, and a few saturated points do not flatten the rest."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchhydra.report.data.benchmarks import rounded

#: Values above this multiple of the median are cut off.
MOST_TIMES_THE_MEDIAN = 6.0
#: Room above and below the values, as a fraction of their range.
ROOM = 0.08


def value_axis(values: Sequence[float], *, from_zero: bool = False) -> dict[str, Any]:
    """``min`` and ``max`` of the axis, and how many values are ``above`` it; {} without values.

    from_zero: whether the axis begins at 0, so that heights are in proportion.
    """
    if not values:
        return {}
    limit = MOST_TIMES_THE_MEDIAN * median(values)
    shown = [value for value in values if value <= limit or limit <= 0]
    low, high = min(shown), max(shown)
    room = ROOM * ((high - low) or abs(high) or 1.0)
    return {
        "min": 0 if from_zero and low >= 0 else rounded(max(low - room, 0) if low >= 0 else low - room),
        "max": rounded(high + room),
        "above": len(values) - len(shown),
    }
