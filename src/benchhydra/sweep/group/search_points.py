"""Planning the points that a search asks for: each is composed and checked, and gets a directory, like other points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchhydra.points import Identity, PlannedPoint, point_identity
from benchhydra.run import spec_of
from benchhydra.sweep.group.job import GroupJob
from benchhydra.sweep.plan.check import Compose
from benchhydra.sweep.plan.point_names import directory_name
from benchhydra.sweep.plan.resume import read_earlier_results


@dataclass(kw_only=True)
class SearchPointPlanner:
    """Plans points in the sweep directory of a job."""

    job: GroupJob
    compose: Compose

    def plan(self, overrides: tuple[str, ...]) -> PlannedPoint:
        """The point of these overrides. Raises what composing raises, and BenchhydraError if it cannot run."""
        config, resolved = self.compose(overrides)
        spec_of(config)
        identity = point_identity(resolved)
        new_directory = Path(self.job.sweep_dir) / directory_name(overrides, self.job.swept)
        directory = self._earlier_directories.get(identity, new_directory)
        return PlannedPoint(overrides=overrides, directory=str(directory), identity=identity)

    @cached_property
    def _earlier_directories(self) -> dict[Identity, Path]:
        """The directories of existing results: a run with its keys in another order named them differently."""
        return {result.identity: result.directory for result in read_earlier_results(Path(self.job.sweep_dir))}
