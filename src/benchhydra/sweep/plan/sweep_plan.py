"""The plan of a sweep: everything that is decided before anything is started."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchhydra.artifacts import SWEEP_FILE
from benchhydra.config import BenchConfig, Sweep
from benchhydra.errors import ConfigError
from benchhydra.points import Identity, PlannedPoint
from benchhydra.search import Search
from benchhydra.sweep.plan import check, groups, resume, versions
from benchhydra.sweep.plan.axes import Axis, expand
from benchhydra.sweep.sweep_file import read_earlier_sweep


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What is measured where.

    points: all planned points, each in its directory. groups: those that are launched. kept_results: those of an
    earlier run, which are not measured again. engine_versions: of the kept results, by engine; others must not be
    mixed in. swept: the keys that vary, by which points are called.
    """

    directory: Path
    settings: Sweep
    search: Search
    swept: tuple[str, ...]
    points: Sequence[PlannedPoint]
    configs: Mapping[Identity, BenchConfig]
    groups: Sequence[groups.ServerGroup]
    kept_results: Sequence[resume.EarlierResult]
    engine_versions: Mapping[str, tuple[str, ...]]


def make_plan(
    axes: Sequence[Axis],
    zips: Sequence[Sequence[str]],
    compose: check.Compose,
    spec_of: check.SpecOf,
    directory: Path,
) -> SweepPlan:
    """The plan of the points that the axes span, in ``directory`` or where an earlier sweep is resumed.

    Raises BenchhydraError; nothing has been started or written then.
    """
    swept = tuple(axis.key for axis in axes if len(axis.overrides) > 1)
    checked = check.check_points(expand(axes, zips), compose, spec_of, directory, swept)
    directory, results = _resume(checked, directory)
    points = resume.relocate_points(checked.points, results)
    missing_points, kept_results = resume.split_measured(points, results)
    # a search looks at all outcomes, those of an earlier run too
    work = points if checked.search.adds_points else missing_points
    engine_versions = {} if checked.sweep.any_engine_version else versions.kept_versions(kept_results, checked.configs)
    versions.refuse_mixed_versions(engine_versions, [point.identity for point in work], checked.configs)
    return SweepPlan(
        directory=directory,
        settings=checked.sweep,
        search=checked.search,
        swept=tuple(dict.fromkeys((*swept, *checked.search.varies))),
        points=points,
        configs=checked.configs,
        groups=groups.ordered_groups(work, checked.specs, checked.sweep.order, checked.seed),
        kept_results=kept_results,
        engine_versions=engine_versions,
    )


def _resume(checked: check.CheckedPoints, directory: Path) -> tuple[Path, list[resume.EarlierResult]]:
    """The directory of the sweep that is resumed, and the results in it; ``directory`` and none where it is new."""
    wanted = checked.sweep.resume
    if wanted is None:
        if (directory / SWEEP_FILE).exists() and not checked.sweep.plan:
            raise ConfigError(f"{directory} holds a sweep", hint=f"sweep.resume={directory} goes on with it")
        return directory, []
    if wanted == "auto":
        newest = resume.find_newest_sweep(directory.parents[1], {point.identity for point in checked.points})
        if newest is None:
            sys.stderr.write("sweep.resume=auto: no earlier sweep has the same points; this is a new one\n")
            return directory, []
        return newest, resume.read_earlier_results(newest)
    place = Path(wanted).absolute()
    if read_earlier_sweep(place) is None:
        raise ConfigError(f"sweep.resume={wanted}: no {SWEEP_FILE} is there", hint="sweep.resume=auto")
    return place, resume.read_earlier_results(place)
