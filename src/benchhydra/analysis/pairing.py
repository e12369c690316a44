"""Which runs of two sources belong together, and which of them may be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchhydra.analysis.runs import Run


def runs_by_point(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs of each point_key, in order."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.point_key, []).append(run)
    return groups


def paired_points(base: Mapping[str, object], candidate: Mapping[str, object]) -> list[tuple[str, str]]:
    """Pairs of equal point keys; one point and one point are a pair whatever their keys are."""
    shared = [(key, key) for key in base if key in candidate]
    if not shared and len(base) == len(candidate) == 1:
        return [(next(iter(base)), next(iter(candidate)))]
    return shared


def usable_runs(runs: Iterable[Run]) -> list[Run]:
    """Runs that may be used and that produced anything: metrics, and tokens where they count tokens."""
    return [run for run in runs if run.usable and run.metrics and run.metrics.get("output_throughput", 1.0) > 0]
