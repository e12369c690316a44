"""The estimated time of a sweep, from the wall times of earlier measurements of its points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchhydra.artifacts import RESULT_FILE, read_json_or_none
from benchhydra.points import Identity
from benchhydra.render.figures import duration
from benchhydra.sweep.plan.resume import modified_s, result_identity

#: Only the newest results are read: a tree of outputs may hold years of them.
HISTORY_FILES = 2000


def read_history_s(root: Path) -> dict[Identity, float]:
    """Wall times in seconds of the newest ok results anywhere below ``root``; results that cannot be read count not."""
    files = sorted(root.glob(f"**/{RESULT_FILE}"), key=modified_s)[-HISTORY_FILES:]
    history: dict[Identity, float] = {}
    for result in (read_json_or_none(path) or {} for path in files):
        identity, wall_s = result_identity(result), result.get("wall_s")
        if identity is not None and result.get("status") == "ok" and isinstance(wall_s, int | float):
            history[identity] = float(wall_s)
    return history


def estimate_line(
    identities: Sequence[Identity], history: Mapping[Identity, float], loads_s: Mapping[Identity, float] | None = None
) -> str:
    """The estimated time of the points, as a sentence.

    A point without history counts as the mean of the others, and at least as its load. history: wall times in seconds;
    loads_s: lengths of the loads in seconds, where they are known before.
    """
    loads_s = loads_s or {}
    by_point: dict[str, list[float]] = {}
    for identity, wall_s in history.items():
        by_point.setdefault(identity.point_key, []).append(wall_s)
    estimates_s = [_mean(by_point[i.point_key]) for i in identities if i.point_key in by_point]
    new_loads_s = [loads_s.get(i, 0.0) for i in identities if i.point_key not in by_point]
    if not estimates_s and not any(new_loads_s):
        return "estimated time: unknown, none of these points has been measured before"
    if not estimates_s:
        source = f"the loads of {sum(load_s > 0 for load_s in new_loads_s)} of {len(identities)} points"
        return f"estimated time: at least {duration(sum(new_loads_s))} ({source}; starts of servers come on top)"
    total_s = sum(estimates_s) + sum(max(load_s, _mean(estimates_s)) for load_s in new_loads_s)
    source = f"from earlier results of {len(estimates_s)} of {len(identities)} points"
    return f"estimated time: {duration(total_s)} ({source})"


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
