"""The load generator: sends a plan's requests at their times and returns a row for each."""

from __future__ import annotations

from benchhydra.loadgen.plan import LoadPlan, LoadResult
from benchhydra.progress import Progress

__all__ = ["LoadPlan", "LoadResult", "run_load"]


def run_load(plan: LoadPlan, progress: Progress) -> LoadResult:
    """Send a plan and wait for all answers. Failed requests are rows; a signal ends it with what there is so far.

    Raises EngineError where no client process brought rows or the pacing stops early, ConfigError where ``processes``
    is neither "auto" nor a number that fits the pacing, or Ray is missing.
    """
    from benchhydra.loadgen import driver  # start-up time: asyncio, uvloop and httptools

    return driver.run_load(plan, progress)
