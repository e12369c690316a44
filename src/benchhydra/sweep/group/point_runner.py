"""Measuring one point of a group. An error becomes the point's outcome, so that the next point is still measured."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from benchhydra import interruption
from benchhydra.config import BenchConfig
from benchhydra.errors import BenchhydraError, RunInvalid
from benchhydra.points import Outcome, PlannedPoint, read_outcome
from benchhydra.progress import Progress
from benchhydra.result import Result
from benchhydra.run import refuse_verdict
from benchhydra.search.probe_faults import has_client_fault
from benchhydra.servers import SERVER_START_S, SERVER_STARTED
from benchhydra.sweep.plan.check import Compose
from benchhydra.sweep.plan.resume import read_earlier_results
from benchhydra.tracking.outbox import Outbox

#: A single server start may fail by accident; after this many failures in a row the group's other points are not tried.
START_TRIES = 2


class GroupServers(Protocol):
    """The part of a server pool that a group uses."""

    starts: int
    on_start: Callable[[], None]

    def close(self) -> None: ...


@dataclass(kw_only=True)
class PointRunner:
    """Measures points on a pool of servers. ``run_point`` is a parameter for tests.

    engine_versions: those that a result may have; empty for any. search_judges: a search for a limit decides what an
    INVALID result means, so that it is no failure, and is kept when the sweep is resumed.
    """

    sweep_id: str
    engine_versions: tuple[str, ...]
    compose: Compose
    run_point: Callable[..., Result]
    pool: GroupServers
    progress: Progress
    outbox: Outbox
    search_judges: bool = False
    failed_starts: int = 0  # in a row
    result: Result | None = None  # of the point measured last, if it has one

    def earlier_outcome(self, point: PlannedPoint) -> Outcome | None:
        """The outcome of an earlier run if it is ok and not INVALID; None if the point must be measured.

        An INVALID result that a search has used is kept too: the search asks for the same points after it.
        """
        outcome = read_outcome(point)
        if outcome is None or not (outcome.believable or self._used_by_search(outcome)):
            return None
        self.outbox.catch_up(self.compose(point.overrides)[0].tracking, Path(point.directory))
        return replace(outcome, kept=True)

    def _used_by_search(self, outcome: Outcome) -> bool:
        """Whether a search has used an INVALID result. It has repeated a disturbed probe if there is a later repeat."""
        if not self.search_judges or outcome.status != "ok":
            return False
        return not has_client_fault(outcome) or _has_later_repeat(outcome)

    @property
    def start_s(self) -> float | None:
        """The time of the server's start for the point measured last; None if it was not started for it."""
        facts = self.result.metadata if self.result else {}
        start_s: float | None = facts.get(SERVER_START_S) if facts.get(SERVER_STARTED) else None
        return start_s

    def refusal(self, point: PlannedPoint) -> Outcome | None:
        """The outcome of a point that is not tried because the server keeps failing to start; None if it may be."""
        if self.failed_starts < START_TRIES:
            return None
        error = f"not tried: the server failed to start {self.failed_starts} times in a row"
        return Outcome.of_point(point, status="failed", error=error)

    def measure(self, point: PlannedPoint) -> Outcome:
        """Measure a point and return its outcome, also after an error. Raises only KeyboardInterrupt."""
        directory = Path(point.directory)
        if directory.is_dir():  # the files of an unfinished or failed measurement
            shutil.rmtree(directory)
        self.result = None
        starts, started_s = self.pool.starts, time.monotonic()
        outcome = self._measure(point, directory)
        wall_s = outcome.wall_s if outcome.wall_s is not None else time.monotonic() - started_s
        starts = self.pool.starts - starts
        self.failed_starts = self.failed_starts + 1 if starts and _never_served(outcome) else 0
        return replace(outcome, server_starts=starts, wall_s=wall_s)

    def _measure(self, point: PlannedPoint, directory: Path) -> Outcome:
        try:
            with interruption.reraising_interrupts():
                config, resolved = self.compose(point.overrides)
            result = self.run_point(
                config,
                resolved=resolved,
                out_dir=directory,
                pool=self.pool,
                overrides=point.overrides,
                sweep_id=self.sweep_id,
                progress=self.progress,
                outbox=self.outbox,
            )
            self.result = result
            if result.status == "interrupted":
                raise interruption.interrupt_exception()
            return self._outcome(point, result, config)
        except Exception as error:  # noqa: BLE001 - one bad point does not stop the others; it is listed at the end
            outcome = read_outcome(point) or Outcome.of_point(point, status="failed")
            return replace(outcome, status="failed", error=error_line(error))

    def _outcome(self, point: PlannedPoint, result: Result, config: BenchConfig) -> Outcome:
        """The outcome of a result: "invalid" or "failed" if its verdict or its engine's version is refused."""
        outcome = Outcome.from_result(point, result)
        try:
            if not self.search_judges:
                refuse_verdict(result, config)
        except RunInvalid as error:
            return replace(outcome, status="invalid", error=error.message)
        version, allowed = outcome.engine_version, self.engine_versions
        if allowed and version is not None and version not in allowed:
            error_text = f"engine version {version}, but the results of the resumed sweep have {', '.join(allowed)}"
            return replace(outcome, status="failed", error=error_text)
        return outcome


def error_line(error: Exception) -> str:
    """An exception as one line: its message, with the class name unless it is one of ours."""
    if isinstance(error, BenchhydraError):
        return error.message
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"


def _has_later_repeat(outcome: Outcome) -> bool:
    """Whether the sweep's directory holds a later repeat of the same point."""
    results = read_earlier_results(Path(outcome.directory).parent)
    later = (result.identity for result in results if result.identity.repeat > outcome.repeat)
    return any(identity[:2] == outcome.identity[:2] for identity in later)


def _never_served(outcome: Outcome) -> bool:
    """Whether the point's server never got ready: a server that does reports its version."""
    return outcome.status == "failed" and outcome.engine_version is None
