"""The best configuration of ``search=optimize``: its trials as table rows, and what follows from them as lines.

All functions take one answer of ``sweep.json``, with its field ``optimum``; they return nothing for other answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchhydra.render.figures import leaf_names, number, quantity

#: So many trials are shown in a table; all are in ``sweep.json``.
MOST_TRIALS = 12
MOST_REASON = 80


def optimum_of(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The optimum of an answer; None if its search was another one."""
    optimum = answer.get("optimum")
    return optimum if isinstance(optimum, Mapping) else None


def trial_columns(optimum: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of the table of trials."""
    objectives = [str(objective["name"]) for objective in optimum["objectives"]]
    intervals = [column for name in objectives for column in (name, "95 %")]
    front = ["front"] if len(objectives) > 1 else []
    return ("rank", *leaf_names(list(optimum["space"])), *intervals, *front, "status", "why")


def trial_rows(optimum: Mapping[str, Any], most: int = MOST_TRIALS) -> list[tuple[str, ...]]:
    """A row a trial, the best first; the default is always among them."""
    trials = list(enumerate(optimum["trials"], 1))
    shown = [(rank, trial) for rank, trial in trials if rank <= most or trial["number"] == 0]
    return [_row(optimum, rank, trial) for rank, trial in shown]


def optimum_lines(answer: Mapping[str, Any]) -> list[str]:
    """The winner's settings and command lines, the confirmation, which keys matter, and what was left out."""
    optimum = optimum_of(answer)
    if optimum is None:
        return []
    confirmation = optimum.get("confirmation") or {}
    server = optimum.get("server")
    return [
        f"best configuration: {_settings(optimum)}",
        *([f"against the default: {confirmation['text']}"] if confirmation.get("text") else []),
        *_front_line(optimum),
        *_importance_line(optimum),
        *([f"to measure it: {optimum['command']}"] if optimum.get("command") else []),
        *([f"its server: {server}"] if server else []),
    ]


def trial_settings(trial: Mapping[str, Any]) -> str:
    """``engine.args.max_num_seqs=64 gpus=tp2``; the default has no settings."""
    return " ".join(f"{key}={value}" for key, value in trial["settings"].items()) or "the default"


def _row(optimum: Mapping[str, Any], rank: int, trial: Mapping[str, Any]) -> tuple[str, ...]:
    settings = [str(trial["settings"].get(key, "default")) for key in optimum["space"]]
    values: list[str] = []
    for i, objective in enumerate(optimum["objectives"]):
        estimate = trial["estimates"][i] if i < len(trial["estimates"]) else None
        values += [quantity(estimate["value"], objective["unit"]), _interval(estimate)] if estimate else ["", ""]
    front = [("yes" if trial.get("front") else "")] if len(optimum["objectives"]) > 1 else []
    reason = str(trial.get("reason") or "").splitlines()[:1]
    return (str(rank), *settings, *values, *front, str(trial["status"]), (reason or [""])[0][:MOST_REASON])


def _interval(estimate: Mapping[str, Any]) -> str:
    low, high = estimate.get("low"), estimate.get("high")
    return f"{number(low)} to {number(high)}" if low is not None and high is not None else ""


def _settings(optimum: Mapping[str, Any]) -> str:
    return trial_settings(next(trial for trial in optimum["trials"] if trial["number"] == optimum["best"]))


def _front_line(optimum: Mapping[str, Any]) -> list[str]:
    """The Pareto front: for each of its trials the value of every objective."""
    front: Sequence[Mapping[str, Any]] = [trial for trial in optimum["trials"] if trial.get("front")]
    if not front:
        return []
    points = "; ".join(
        f"{trial_settings(trial)}: "
        + ", ".join(
            quantity(estimate["value"], objective["unit"])
            for estimate, objective in zip(trial["estimates"], optimum["objectives"], strict=False)
        )
        for trial in front
    )
    return [f"Pareto front: {points}"]


def _importance_line(optimum: Mapping[str, Any]) -> list[str]:
    """Which keys matter, by Optuna's PED-ANOVA, and the mean of the objective at each of their settings."""
    importance = sorted((optimum.get("importance") or {}).items(), key=lambda item: -item[1])
    if not importance:
        return []
    parts = [f"{key} {fraction * 100:.0f} %{_effect(optimum, key)}" for key, fraction in importance]
    return [f"which keys matter for the best tenth (PED-ANOVA): {', '.join(parts)}"]


def _effect(optimum: Mapping[str, Any], key: str) -> str:
    effects = (optimum.get("effects") or {}).get(key) or {}
    return f" ({', '.join(f'{setting}: {number(mean)}' for setting, mean in effects.items())})" if effects else ""
