"""The plan of a sweep: all decisions that are made before anything is started."""

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
    """The points of a sweep, their groups, and the results of an earlier run that are reused.

    points: all planned points. groups: the points to launch. kept_results: results of an earlier run, whose points are
    not measured again. engine_versions: engine -> its versions in the kept results; results of other versions are
    refused. swept: the keys that vary; labels and directories of points are made of them.
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
    """The plan of the product of the axes, in ``directory`` or in the directory of the sweep that is resumed.

    Raises BenchhydraError before anything is started or written.
    """
    swept = tuple(axis.key for axis in axes if len(axis.overrides) > 1)
    checked = check.check_points(expand(axes, zips), compose, spec_of, directory, swept)
    directory, results = _resume(checked, directory)
    points = resume.relocate_points(checked.points, results)
    missing_points, kept_results = resume.split_measured(points, results)
    # a search needs all outcomes, including those of an earlier run
    points_to_run = points if checked.search.adds_points else missing_points
    engine_versions = {} if checked.sweep.any_engine_version else versions.kept_versions(kept_results, checked.configs)
    versions.refuse_mixed_versions(engine_versions, [point.identity for point in points_to_run], checked.configs)
    return SweepPlan(
        directory=directory,
        settings=checked.sweep,
        search=checked.search,
        swept=tuple(dict.fromkeys((*swept, *checked.search.varies))),
        points=points,
        configs=checked.configs,
        groups=groups.ordered_groups(points_to_run, checked.specs, checked.sweep.order, checked.seed),
        kept_results=kept_results,
        engine_versions=engine_versions,
    )


def _resume(checked: check.CheckedPoints, directory: Path) -> tuple[Path, list[resume.EarlierResult]]:
    """(the directory of the resumed sweep, its results); (``directory``, no results) if the sweep is new."""
    resume_from = checked.sweep.resume
    if resume_from is None:
        if (directory / SWEEP_FILE).exists() and not checked.sweep.plan:
            raise ConfigError(f"{directory} already holds a sweep", hint=f"sweep.resume={directory} resumes it")
        return directory, []
    if resume_from == "auto":
        newest = resume.find_newest_sweep(directory.parents[1], {point.identity for point in checked.points})
        if newest is None:
            sys.stderr.write("sweep.resume=auto: no earlier sweep has the same points; starting a new one\n")
            return directory, []
        return newest, resume.read_earlier_results(newest)
    resumed = Path(resume_from).absolute()
    if read_earlier_sweep(resumed) is None:
        raise ConfigError(f"sweep.resume={resume_from} has no {SWEEP_FILE}", hint="sweep.resume=auto")
    return resumed, resume.read_earlier_results(resumed)
