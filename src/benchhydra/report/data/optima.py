"""The trials of ``search=optimize`` for the page: as a table, by rank with intervals, and which keys matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchhydra.render.optimum_rows import optimum_lines, optimum_of, trial_columns, trial_rows, trial_settings
from benchhydra.report.data.axes import value_axis
from benchhydra.report.data.benchmarks import rounded


def optimum_data(name: str, answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the page shows of one optimization; None for the answer of another search. name: of its study."""
    optimum = optimum_of(answer)
    if optimum is None:
        return None
    trials = [_trial(optimum, rank, trial) for rank, trial in enumerate(optimum["trials"], 1)]
    return {
        "name": name,
        "lines": optimum_lines(answer),
        "columns": list(trial_columns(optimum)),
        "rows": [list(row) for row in trial_rows(optimum, len(trials))],
        "objectives": [
            {"name": str(objective["name"]), "unit": str(objective["unit"]), "range": _range(trials, place)}
            for place, objective in enumerate(optimum["objectives"])
        ],
        "trials": trials,
        "importance": _importance(optimum),
    }


def _trial(optimum: Mapping[str, Any], rank: int, trial: Mapping[str, Any]) -> dict[str, Any]:
    """A trial. values: [value, low, high] of each objective; none of a trial that measured nothing."""
    return {
        "rank": rank,
        "settings": trial_settings(trial),
        "status": str(trial["status"]),
        "reason": str(trial.get("reason") or ""),
        "is_best": trial["number"] == optimum["best"],
        "is_default": trial["number"] == 0,
        "is_on_front": bool(trial.get("front")),
        "values": [[rounded(estimate.get(key)) for key in ("value", "low", "high")] for estimate in trial["estimates"]],
    }


def _range(trials: Sequence[Mapping[str, Any]], place: int) -> dict[str, Any]:
    values = [trial["values"][place] for trial in trials if place < len(trial["values"])]
    return value_axis([number for triple in values for number in triple if number is not None])


def _importance(optimum: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The keys that matter, the most important first, with the mean of the objective at each setting."""
    items: Iterable[tuple[str, float]] = (optimum.get("importance") or {}).items()
    effects = optimum.get("effects") or {}
    return [
        {
            "key": key,
            "fraction": rounded(fraction),
            "effects": [[str(setting), rounded(mean)] for setting, mean in (effects.get(key) or {}).items()],
        }
        for key, fraction in sorted(items, key=lambda item: -item[1])
    ]
