"""Which runs of two sources belong together, and which of them may be used.

A point has a workload (script, API, dataset, load, rate, lengths) and a system (model, engine and its arguments, GPUs).
Points with equal keys are a pair. If no key is on both sides, points of equal workloads are: then two systems are
compared. The user may choose other keys, or compare parts of one source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import yaml

from benchhydra.analysis.runs import Run, Runs
from benchhydra.artifacts import RESULT_FILE, read_json
from benchhydra.errors import ConfigError, ResultError
from benchhydra.result import point_settings

#: Root keys of the workload; all others are the system's.
WORKLOAD_ROOTS = frozenset({"api", "dataset", "load", "num_prompts", "qps", "script", "slo"})

#: What identifies a point, or half of it.
Settings = Mapping[str, Any]
#: The runs of each point, by its key.
Points = Mapping[str, Sequence[Run]]


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """How points are paired. by: keys whose values must agree, whatever else differs. ignored: keys that may differ."""

    by: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def pairs(self, base: Points, candidate: Points) -> list[tuple[str, str]]:
        """The keys of the points that belong together.

        Raises ConfigError if ``by`` is no key of theirs, or does not tell the points of a side apart.
        """
        if self.by:
            groups = self._groups_by(base, "base"), self._groups_by(candidate, "candidate")
            return [(keys[0], groups[1][value][0]) for value, keys in groups[0].items() if value in groups[1]]
        shared = [(key, key) for key in base if key in candidate]
        if shared:
            return shared
        pairs = _unique_pairs(self._groups(base), self._groups(candidate))
        if not pairs and len(base) == len(candidate) == 1:
            return [(next(iter(base)), next(iter(candidate)))]
        return pairs

    def _groups_by(self, points: Points, side: str) -> dict[tuple[Any, ...], list[str]]:
        settings = {key: point_settings_of(runs[-1]) for key, runs in points.items()}
        names = [_selected(name, settings.values()) for name in self.by]
        groups: dict[tuple[Any, ...], list[str]] = {}
        for key, of_point in settings.items():
            value = tuple(repr(of_point.get(each)) for selected in names for each in selected)
            groups.setdefault(value, []).append(key)
        for keys in groups.values():
            if len(keys) > 1:
                differing = ", ".join(differing_settings([settings[key] for key in keys]))
                text = f"--by {','.join(self.by)} does not tell {len(keys)} points of the {side} apart"
                raise ConfigError(f"{text}: they differ in {differing}", hint="add one of these keys to --by")
        return groups

    def _groups(self, points: Points) -> dict[Any, list[str]]:
        """The points of each workload; of all settings that are not ignored, if some are."""
        groups: dict[Any, list[str]] = {}
        for key, runs in points.items():
            settings = point_settings_of(runs[-1])
            if settings:
                groups.setdefault(tuple(sorted(map(repr, self._paired_settings(settings)))), []).append(key)
        return groups

    def _paired_settings(self, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for item in settings.items():
            if item[0] not in self.ignored if self.ignored else _root(item[0]) in WORKLOAD_ROOTS:
                yield item


def _unique_pairs(base: Mapping[Any, Sequence[str]], candidate: Mapping[Any, Sequence[str]]) -> list[tuple[str, str]]:
    """The pairs of groups that hold one point on both sides."""
    shared = [(keys, candidate[value]) for value, keys in base.items() if value in candidate]
    return [(left[0], right[0]) for left, right in shared if len(left) == len(right) == 1]


def runs_by_point(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs of each point_key, in order."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.point_key, []).append(run)
    return groups


def usable_runs(runs: Iterable[Run]) -> list[Run]:
    """Runs that may be used and that produced anything: metrics, and tokens where they count tokens."""
    return [run for run in runs if run.usable and run.metrics and run.metrics.get("output_throughput", 1.0) > 0]


def point_settings_of(run: Run) -> dict[str, Any]:
    """What identifies a run's point, from its file; empty if that is unknown."""
    if run.settings:
        return run.settings
    file = run.file(RESULT_FILE)
    if file is None:
        return {}
    try:
        return point_settings(read_json(file).get("config", {}))
    except ResultError:  # it was readable when the run was read; without its config the run pairs by its key alone
        return {}


def workload_and_system(settings: Settings) -> tuple[Settings, Settings]:
    """The settings of a point that are its workload, and those that are its system."""
    workload = {key: value for key, value in settings.items() if _root(key) in WORKLOAD_ROOTS}
    return workload, {key: value for key, value in settings.items() if key not in workload}


def select(runs: Runs, words: Sequence[str]) -> Runs:
    """The runs whose points have these settings (KEY=VALUE). Raises ConfigError if there is none."""
    settings = {key: point_settings_of(of_point[-1]) for key, of_point in runs_by_point(runs.runs).items()}
    keys = [key for key, of_point in settings.items() if all(_has(of_point, word, settings.values()) for word in words)]
    if not keys:
        raise ConfigError(f"no run has {' '.join(words)}", hint=_values_hint(words, settings.values()))
    selected = [run for run in runs.runs if run.point_key in keys]
    return Runs(selected, runs.kinds, runs.faults, runs.scripts)


def selected_keys(words: Iterable[str], runs: Runs) -> tuple[str, ...]:
    """The settings that KEY=VALUE words speak of."""
    settings = [point_settings_of(of_point[-1]) for of_point in runs_by_point(runs.runs).values()]
    return tuple(dict.fromkeys(key for word in words for key in _selected(word.partition("=")[0], settings)))


def differing_settings(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values are not the same in all points."""
    keys = dict.fromkeys(key for settings in points for key in settings)
    return [key for key in keys if len({repr(settings.get(key)) for settings in points}) > 1]


def varying_settings(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Of each run, the settings in which the runs differ; a key that repeats a root key (``load.qps``) is left out.

    The settings of a point are read from one of its runs.
    """
    of_points = {key: point_settings_of(of_point[-1]) for key, of_point in runs_by_point(runs).items()}
    keys = differing_settings(list(of_points.values()))
    repeated = {
        key
        for key in keys
        if _leaf(key) != key
        and _leaf(key) in keys
        and all(settings.get(key) == settings.get(_leaf(key)) for settings in of_points.values())
    }
    return [{key: of_points[run.point_key].get(key) for key in keys if key not in repeated} for run in runs]


def differing_workload(base: Run, candidate: Run) -> list[str]:
    """A line for each setting of the workload that differs between two runs: ``qps: 1 -> 2``."""
    left, right = point_settings_of(base), point_settings_of(candidate)
    if not left or not right:
        return []
    keys = [key for key in differing_settings([left, right]) if _root(key) in WORKLOAD_ROOTS]
    return [f"{key}: {left.get(key)} -> {right.get(key)}" for key in keys]


def why_unpaired(base: Points, candidate: Points) -> str:
    """Why no point has a partner: which keys differ, or which systems share a workload. Empty if that is unknown."""
    sides = [[point_settings_of(runs[-1]) for runs in points.values()] for points in (base, candidate)]
    for points, side in zip(sides, ("base", "candidate"), strict=True):
        workloads = {tuple(sorted(f"{k}={v!r}" for k, v in s.items() if _root(k) in WORKLOAD_ROOTS)) for s in points}
        systems = [key for key in differing_settings(points) if _root(key) not in WORKLOAD_ROOTS]
        if systems and len(workloads) < len(points):
            text = f"the {side} has several systems for a workload, which differ in {', '.join(systems)}"
            return f"{text}: --{side} KEY=VALUE selects one"
    keys = differing_settings([settings for points in sides for settings in points])
    values = [[{repr(settings.get(key)) for settings in points} for points in sides] for key in keys]
    apart = [key for key, (left, right) in zip(keys, values, strict=True) if not left & right]
    return f"they differ in {', '.join(apart or keys)}" if keys else ""


def _selected(name: str, points: Iterable[Mapping[str, Any]]) -> list[str]:
    """The settings of a name: the key itself, those below it, or those that end with it. Raises ConfigError."""
    keys = dict.fromkeys(key for settings in points for key in settings)
    for matches in (lambda key: key == name, lambda key: key.startswith(f"{name}."), lambda key: _leaf(key) == name):
        selected = [key for key in keys if matches(key)]
        if selected:
            return selected
    near = get_close_matches(name, [*map(_leaf, keys), *keys], n=1)
    raise ConfigError(
        f"no run has a setting {name}", hint=f"did you mean {near[0]}?" if near else f"one of {', '.join(keys)}"
    )


def _has(settings: Mapping[str, Any], word: str, points: Iterable[Mapping[str, Any]]) -> bool:
    name, is_pair, text = word.partition("=")
    if not is_pair:
        raise ConfigError(f"{word} is not KEY=VALUE")
    values = [settings.get(key) for key in _selected(name, points)]
    return any(text == str(value) or yaml.safe_load(text) == value for value in values)


def _values_hint(words: Sequence[str], points: Iterable[Mapping[str, Any]]) -> str:
    points = list(points)
    keys = [key for word in words for key in _selected(word.partition("=")[0], points)]
    return "; ".join(f"{key} is one of {', '.join(sorted({str(s.get(key)) for s in points}))}" for key in keys[:3])


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def _root(key: str) -> str:
    return key.partition(".")[0]
