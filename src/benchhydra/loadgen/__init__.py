"""The load generator: sends the requests of a plan at their scheduled times, and returns a row for each."""

from __future__ import annotations

from benchhydra.loadgen.plan import LoadPlan, LoadResult
from benchhydra.progress import Progress

__all__ = ["LoadPlan", "LoadResult", "run_load"]


def run_load(plan: LoadPlan, progress: Progress) -> LoadResult:
    """Send a plan and wait for all answers. Failed requests are rows; a signal stops sending and returns partial rows.

    Raises EngineError if no client process returned rows or the pacing stops early. Raises ConfigError if ``processes``
    is neither "auto" nor a number that the pacing allows, or if Ray is needed and not installed.
    """
    from benchhydra.loadgen import driver  # start-up time: asyncio, uvloop and httptools

    return driver.run_load(plan, progress)
