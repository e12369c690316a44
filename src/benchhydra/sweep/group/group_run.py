"""One job is one group: its points run one after another with one pool of servers, wherever the launcher put it."""

from __future__ import annotations

import base64
import gc
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from benchhydra import interruption
from benchhydra.config import BenchConfig
from benchhydra.errors import BenchhydraError, ConfigError, RunInvalid
from benchhydra.progress import Progress
from benchhydra.result import Result
from benchhydra.sweep import Identity, PlannedPoint
from benchhydra.sweep.outcomes import (
    Outcome,
    blank_outcome,
    counted_starts,
    first_line,
    narrow_enough,
    outcome_from_disk,
    outcome_json,
    outcome_of_result,
    write_json,
)
from benchhydra.sweep.plan import resume
from benchhydra.sweep.plan.directories import directory_name, point_label
from benchhydra.tracking.outbox import Outbox

JOURNALS = ".groups"
FAILURES = "failures"
#: A start that fails may be bad luck; after so many in a row the group's other points are not tried.
START_TRIES = 2


class GroupServers(Protocol):
    """What a job needs of the pool of servers."""

    starts: int
    on_start: Callable[[], None]

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class StopLimits:
    """When a sweep stops early, and when a point has been repeated enough."""

    fail_fast: bool = False
    max_failures: int | None = None
    deadline_s: float | None = None  # on the wall clock, since the epoch: jobs may run on other machines
    max_time_s: float | None = None
    ci_metric: str | None = None
    ci_share: float = 0.0
    max_repeats: int = 0


@dataclass(frozen=True, kw_only=True)
class GroupJob:
    """Everything a job must know: it travels as one text in ``sweep.job``."""

    sweep_id: str
    sweep_dir: str
    number: int
    points: tuple[PlannedPoint, ...]
    config_name: str = "config"
    hydra_overrides: tuple[str, ...] = ()
    limits: StopLimits = field(default_factory=StopLimits)
    swept: tuple[str, ...] = ()  # keys that vary: what points are called by
    engine_versions: tuple[str, ...] = ()  # of the results that are kept; others must not be mixed in

    @property
    def journal(self) -> Path:
        return Path(self.sweep_dir) / JOURNALS / f"{self.number:04d}.json"

    def encode(self) -> str:
        """The job as letters, digits, ``-`` and ``_``."""
        data = asdict(self)
        data["points"] = [[list(p.overrides), p.directory, list(p.identity)] for p in self.points]
        return base64.urlsafe_b64encode(zlib.compress(json.dumps(data).encode())).decode().rstrip("=")


def decode_job(text: str) -> GroupJob:
    """The inverse of ``encode``. Raises ConfigError for what is no job."""
    try:
        data = json.loads(zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))
        data["points"] = tuple(
            PlannedPoint(overrides=tuple(overrides), directory=directory, identity=Identity(*identity))
            for overrides, directory, identity in data["points"]
        )
        data["limits"] = StopLimits(**data["limits"])
        data["hydra_overrides"] = tuple(data["hydra_overrides"])
        data["swept"] = tuple(data["swept"])
        data["engine_versions"] = tuple(data["engine_versions"])
        return GroupJob(**data)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise ConfigError("sweep.job is not a group of points; the sweep sets it, nobody else") from error


Compose = Callable[[Sequence[str]], tuple[BenchConfig, dict[str, Any]]]


@dataclass(kw_only=True)
class GroupRun:
    """The parts a job works with: they are parameters so that tests can put others in their place."""

    job: GroupJob
    compose: Compose
    run_point: Callable[..., Result]
    check: Callable[[Result, BenchConfig], None]
    pool: GroupServers
    progress: Progress
    outbox: Outbox
    outcomes: list[Outcome] = field(default_factory=list)
    failed_starts: int = 0  # in a row
    earlier_starts: int = field(init=False)  # of a process that ended before its group did: the group is tried again

    def __post_init__(self) -> None:
        self.earlier_starts = counted_starts(self.job.journal)

    def all(self) -> list[Outcome]:
        """Run every point; what went wrong with one is its outcome, never an exception. KeyboardInterrupt passes."""
        self.pool.on_start = self._on_start
        with closing(self.pool):
            try:
                for point in self.points():
                    interruption.reraise_swallowed()
                    self._record(self._kept(point) or self._stopped(point) or self._one(point))
            finally:
                self.outbox.begin()  # while the server stops
                self._journal(finished=False)
        self._journal(finished=True)
        return self.outcomes

    def _on_start(self) -> None:
        self._journal(finished=False)
        self.outbox.begin()

    def points(self) -> Iterator[PlannedPoint]:
        """The planned points, then, with sweep.ci, more repeats of those whose interval is still too wide."""
        yield from self.job.points
        while wide := self._too_wide():
            yield from wide

    def _kept(self, point: PlannedPoint) -> Outcome | None:
        kept = outcome_from_disk(point, blank_outcome(point, status="failed"), kept=True)
        if kept.status != "ok" or kept.verdict == "INVALID":
            return None
        self.outbox.catch_up(self.compose(point.overrides)[0].tracking, Path(point.directory))
        return kept

    def _one(self, point: PlannedPoint) -> Outcome:
        if self.failed_starts >= START_TRIES:
            error = f"not tried: the server failed to start {self.failed_starts} times in a row"
            return blank_outcome(point, status="failed", error=error)
        directory = Path(point.directory)
        resume.clean_directory(directory)
        starts, begun = self.pool.starts, time.monotonic()
        self.progress.say(f"point {len(self.outcomes) + 1} of {self._planned()}: {self._label(point.overrides)}")
        outcome = self._measured(point, directory)
        wall_s = outcome.wall_s if outcome.wall_s is not None else time.monotonic() - begun
        starts = self.pool.starts - starts
        self.failed_starts = self.failed_starts + 1 if starts and _never_reached(outcome) else 0
        return replace(outcome, server_starts=starts, wall_s=wall_s)

    def _measured(self, point: PlannedPoint, directory: Path) -> Outcome:
        config: BenchConfig | None = None
        try:
            with interruption.reraising_interrupts():
                config, resolved = self.compose(point.overrides)
            result = self.run_point(
                config,
                resolved=resolved,
                out_dir=directory,
                pool=self.pool,
                overrides=point.overrides,
                sweep_id=self.job.sweep_id,
                progress=self.progress,
                outbox=self.outbox,
            )
            if result.status == "interrupted":
                raise interruption.interrupt_exception()
            self.check(result, config)
            return self._of_right_version(outcome_of_result(point, result))
        except RunInvalid as error:
            return outcome_from_disk(point, _failed(point, error), status="invalid", error=error.message)
        except Exception as error:  # noqa: BLE001 - one bad point does not stop the others; it is listed at the end
            return outcome_from_disk(point, _failed(point, error), status="failed", error=_line(error))

    def _of_right_version(self, outcome: Outcome) -> Outcome:
        version, allowed = outcome.engine_version, self.job.engine_versions
        if not allowed or version is None or version in allowed:
            return outcome
        error = f"engine version {version}: the results that sweep.resume keeps are of {', '.join(allowed)}"
        return replace(outcome, status="failed", error=error)

    def _stopped(self, point: PlannedPoint) -> Outcome | None:
        limits = self.job.limits
        reason = None
        if limits.deadline_s is not None and time.time() >= limits.deadline_s:
            reason = f"sweep.max_time_s={limits.max_time_s:g} has passed"
        failures = self._failures()
        if failures and limits.fail_fast:
            reason = "sweep.fail_fast=true and a point failed"
        elif limits.max_failures is not None and failures >= limits.max_failures:
            reason = f"sweep.max_failures={limits.max_failures} was reached"
        return None if reason is None else blank_outcome(point, status="skipped", error=reason)

    def _planned(self) -> int:
        return max(len(self.job.points), len(self.outcomes) + 1)

    def _label(self, overrides: Sequence[str]) -> str:
        return point_label(overrides, self.job.swept)

    def _failures(self) -> int:
        path = self.job.journal.with_name(FAILURES)
        return path.stat().st_size if path.exists() else 0

    def _record(self, outcome: Outcome) -> None:
        if not self.outcomes:
            _leave_alone_what_lasts()
        self.outcomes.append(outcome)
        if outcome.status in ("failed", "invalid"):
            self.progress.say(f"{outcome.status}: {self._label(outcome.overrides)}: {first_line(outcome.error)}")
            path = self.job.journal.with_name(FAILURES)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:  # one byte a failure: jobs on other machines count them too
                file.write(b"x")
        self._journal(finished=False)

    def _journal(self, *, finished: bool) -> None:
        known = [outcome_json(outcome) for outcome in self.outcomes]
        begun = self.earlier_starts + self.pool.starts
        write_json(self.job.journal, {"finished": finished, "server_starts": begun, "outcomes": known})

    def _too_wide(self) -> list[PlannedPoint]:
        limits = self.job.limits
        if limits.ci_metric is None or any(outcome.status == "skipped" for outcome in self.outcomes):
            return []
        values: dict[tuple[str, str], list[float]] = {}
        for outcome in self.outcomes:
            if outcome.status == "ok" and limits.ci_metric in outcome.metrics:
                values.setdefault(outcome.identity[:2], []).append(outcome.metrics[limits.ci_metric])
        tried = Counter(outcome.identity[:2] for outcome in self.outcomes)
        return [
            self._another(point, tried[point])
            for point, known in values.items()
            if tried[point] < limits.max_repeats and not narrow_enough(known, limits.ci_share)
        ]

    def _another(self, identity: tuple[str, str], repeat: int) -> PlannedPoint:
        first = next(point for point in self.job.points if point.identity[:2] == identity)
        overrides = (*(o for o in first.overrides if not o.startswith("repeat=")), f"repeat={repeat}")
        directory = str(Path(self.job.sweep_dir) / directory_name(overrides, self.job.swept))
        return PlannedPoint(overrides=overrides, directory=directory, identity=Identity(*identity, repeat))


def _leave_alone_what_lasts() -> None:
    """Modules that the first point has loaded stay: the collections before every load need not look at them.

    That is 35 ms a collection, of which every point makes two.
    """
    gc.collect()
    gc.freeze()


def _never_reached(outcome: Outcome) -> bool:
    """Whether the server of a point did not come up: one that did would have told its version."""
    return outcome.status == "failed" and outcome.engine_version is None


def _failed(point: PlannedPoint, error: Exception) -> Outcome:
    return blank_outcome(point, status="failed", error=_line(error))


def _line(error: Exception) -> str:
    if isinstance(error, BenchhydraError):
        return error.message
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
