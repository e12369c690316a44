"""Fisher's exact test of two fractions (Fisher, J. R. Stat. Soc. 85, 1922): for counts too small for a normal."""

from __future__ import annotations

import math


def p_value(hits: int, trials: int, other_hits: int, other_trials: int) -> float:
    """Two-sided p: the chance of tables with these margins that are no likelier than this one."""
    total = hits + other_hits
    lowest, highest = max(0, total - other_trials), min(total, trials)
    logs = {k: _log_choose(trials, k) + _log_choose(other_trials, total - k) for k in range(lowest, highest + 1)}
    norm = _log_choose(trials + other_trials, total)
    return min(1.0, sum(math.exp(log - norm) for log in logs.values() if log <= logs[hits] + 1e-9))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
