"""The plan of a sweep: all decisions that are made before anything is started."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
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
    """The points of a sweep, their groups, and the results of an earlier run that are reused.

    points: all planned points. groups: the points to launch. kept_results: results of an earlier run, whose points are
    not measured again. engine_versions: engine -> its versions in the kept results; results of other versions are
    refused. swept: the keys that vary; labels and directories of points are made of them.
    """

    directory: Path
    resumed: bool
    settings: Sweep
    search: Search
    swept: tuple[str, ...]
    points: Sequence[PlannedPoint]
    configs: Mapping[Identity, BenchConfig]
    groups: Sequence[groups.ServerGroup]
    kept_results: Sequence[resume.EarlierResult]
    engine_versions: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class NewDirectory:
    """The directory of a sweep unless it resumes another.

    claim: returns the path to use, and makes sure that no other sweep uses it. Raises BenchhydraError.
    """

    path: Path
    claim: Callable[[], Path]


def make_plan(
    axes: Sequence[Axis],
    zips: Sequence[Sequence[str]],
    compose: check.Compose,
    spec_of: check.SpecOf,
    new_directory: NewDirectory,
) -> SweepPlan:
    """The plan of the product of the axes, in the directory of the sweep that is resumed, or in a new one.

    Only the directory is written, after every check; not if the plan is only to be printed. Raises BenchhydraError.
    """
    swept = tuple(axis.key for axis in axes if len(axis.overrides) > 1)
    checked = check.check_points(expand(axes, zips), compose, spec_of)
    resumed = _resumed_directory(checked, new_directory.path)
    results = resume.read_earlier_results(resumed) if resumed else []
    missing_points, kept_results = resume.split_measured(checked.points, results)
    # a search needs all outcomes, including those of an earlier run
    points_to_run = checked.points if checked.search.adds_points else missing_points
    engine_versions = {} if checked.sweep.any_engine_version else versions.kept_versions(kept_results, checked.configs)
    versions.refuse_mixed_versions(engine_versions, [point.identity for point in points_to_run], checked.configs)
    directory = resumed or (new_directory.path if checked.sweep.plan else new_directory.claim())
    placed = {point.identity: point for point in resume.place_points(checked.points, directory, swept, results)}
    to_run = [placed[point.identity] for point in points_to_run]
    return SweepPlan(
        directory=directory,
        resumed=resumed is not None,
        settings=checked.sweep,
        search=checked.search,
        swept=tuple(dict.fromkeys((*swept, *checked.search.varies))),
        points=tuple(placed.values()),
        configs=checked.configs,
        groups=groups.ordered_groups(to_run, checked.specs, checked.sweep.order, checked.seed),
        kept_results=kept_results,
        engine_versions=engine_versions,
    )


def _resumed_directory(checked: check.CheckedPoints, new_directory: Path) -> Path | None:
    """The directory of the sweep that is resumed; None if the sweep is new."""
    resume_from = checked.sweep.resume
    if resume_from is None:
        return None
    if resume_from == "auto":
        newest = resume.find_newest_sweep(new_directory.parents[1], {point.identity for point in checked.points})
        if newest is None:
            sys.stderr.write("sweep.resume=auto: no earlier sweep has the same points; starting a new one\n")
        return newest
    resumed = Path(resume_from).absolute()
    if read_earlier_sweep(resumed) is None:
        raise ConfigError(f"sweep.resume={resume_from} has no readable {SWEEP_FILE}", hint="sweep.resume=auto")
    return resumed
