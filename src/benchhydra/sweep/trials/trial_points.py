"""Planning a trial: the overrides of its configuration and of its own search, checked, and placed in the sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchhydra.errors import ConfigError
from benchhydra.nm_vllm_config import quoted
from benchhydra.overrides import grammar
from benchhydra.points import PlannedPoint, override_key
from benchhydra.registry import option_name
from benchhydra.result import flatten
from benchhydra.run import spec_of
from benchhydra.search.cut import Cut
from benchhydra.search.optimize import Optimize
from benchhydra.search.proposals import Settings, Space
from benchhydra.sweep.group.job import GroupJob
from benchhydra.sweep.group.study import study_key
from benchhydra.sweep.plan.check import Compose, check_points
from benchhydra.sweep.plan.resume import place_points, read_earlier_results

#: Keys of the sweep's points that its trials do not have: they have a search of their own.
OWN_KEYS = ("search", "objective", "repeats", "repeat")
OWN_PREFIXES = ("search.",)
MULTIRUN = "--multirun"


def default_overrides(points: Iterable[PlannedPoint], space: Space) -> list[tuple[str, ...]]:
    """The overrides of the default of each study: those of the planned points, without the search and repeats.

    Raises ConfigError if they set a key of the space.
    """
    defaults = dict.fromkeys(without_search(study_key(point.overrides, ())) for point in points)
    for overrides in defaults:
        for key in map(override_key, overrides):
            if key in space.values:
                raise ConfigError(f"{key} is set, and search.space varies it", hint=f"leave {key}=... out")
    return list(defaults)


def without_search(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides of a point itself, without its search, objective and repeat."""
    keys = {override: override_key(override) for override in overrides}
    return tuple(o for o, key in keys.items() if key not in OWN_KEYS and not key.startswith(OWN_PREFIXES))


def setting_overrides(settings: Settings) -> list[str]:
    """Settings as overrides in Hydra's grammar."""
    return [f"{key}={_value(value)}" for key, value in settings.items()]


def composable(overrides: Sequence[str]) -> list[str]:
    """Overrides as a command line's are rewritten before Hydra composes them: new keys need its ``++``."""
    return [word for word in grammar.rewrite(overrides) if word != MULTIRUN]


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else str(value)


def settings_of(resolved: Mapping[str, Any], space: Space) -> dict[str, Any] | None:
    """The settings in the space that a composed config has; None if one of them is not in the space, or unknown."""
    flat = flatten(resolved)
    settings = {key: flat[key] for key in space.values if key in flat}
    return settings if space.holds(settings) else None


@dataclass(kw_only=True)
class TrialPlanner:
    """Plans the trials of a sweep. template: a job with what all jobs of the sweep share, and the planned points."""

    search: Optimize
    compose: Compose
    template: GroupJob

    def check(self, defaults: Iterable[Sequence[str]]) -> None:
        """Check each default with each value of the space, before anything starts.

        Raises BenchhydraError, or what composing raises. Values that only fail together make a trial infeasible.
        """
        singles = [{key: value} for key, values in self.search.parsed_space().values.items() for value in values]
        for default in defaults:
            overrides = [[*default, *setting_overrides(single), *self.search.trial_overrides()] for single in singles]
            check_points(map(composable, overrides), self.compose, spec_of)

    def job(self, number: int, default: Sequence[str], settings: Settings, cut: Cut | None) -> GroupJob:
        """The job of a trial. Raises BenchhydraError, or what composing raises, if the configuration cannot run."""
        overrides = composable([*default, *setting_overrides(settings), *self.search.trial_overrides()])
        checked = check_points([overrides], self.compose, spec_of)
        swept = tuple(dict.fromkeys((*self.template.swept, *self.search.space, *checked.search.varies)))
        root = Path(self.template.sweep_dir)
        planned = {point.identity: point.directory for point in self.template.points}
        points = [
            replace(point, directory=planned.get(point.identity, point.directory))
            for point in place_points(checked.points, root, swept, read_earlier_results(root))
        ]
        return replace(
            self.template,
            number=number,
            points=tuple(points),
            swept=swept,
            search=option_name(checked.search),
            is_trial=True,
            cut=cut.to_json() if cut is not None else None,
        )
