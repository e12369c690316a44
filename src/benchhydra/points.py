"""The points of a sweep: what tells one from another, what is planned of it, and how its measurement ended.

Sweeps and searches both work on these. They travel to jobs of other processes and into files, so they hold plain
values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import ResultError
from benchhydra.result import Result, Verdict, flatten, point_key

#: Keys that do not identify a point (so that builds and seeds compare), and may be axes of a sweep all the same.
VARIANT_KEYS = ("seed", "engine.python", "engine.base_url", "load.processes", "load.executor")


class Identity(NamedTuple):
    """What tells one measurement of a sweep from another: the point, its variant (``VARIANT_KEYS``) and the repeat."""

    point_key: str
    variant: str
    repeat: int


def point_identity(resolved: Mapping[str, Any]) -> Identity:
    """The identity of a point, from its composed config as plain data (also as ``result.json`` holds it)."""
    flat = flatten(resolved)
    variant = " ".join(f"{key}={flat[key]}" for key in VARIANT_KEYS if flat.get(key) is not None)
    return Identity(point_key(resolved), variant, int(resolved.get("repeat") or 0))


def override_key(override: str) -> str:
    """The key of an override: ``engine.args.x`` of ``++engine.args.x=1``."""
    return override.lstrip("+~").partition("=")[0]


@dataclass(frozen=True, kw_only=True)
class PlannedPoint:
    """A point that is to be measured: its overrides, the directory of its files, its identity."""

    overrides: tuple[str, ...]
    directory: str
    identity: Identity


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the measurement of a point ended.

    status: ok; failed (an error); invalid (measured, and refused by script.fail_on); interrupted; skipped (not started
    because the sweep stopped). kept: from an earlier run of the sweep, not measured again. extra: a search asked for
    this point. metrics: by name, in the units of the metric table.
    """

    overrides: tuple[str, ...]
    directory: str
    point_key: str
    variant: str = ""
    repeat: int = 0
    status: str = "ok"
    verdict: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    log_tail: str | None = None
    engine_version: str | None = None
    server_starts: int = 0
    wall_s: float | None = None
    kept: bool = False
    extra: bool = False

    @classmethod
    def of_point(cls, point: PlannedPoint, *, status: str, error: str | None = None) -> Self:
        """An outcome without a result."""
        key, variant, repeat = point.identity
        return cls(
            overrides=point.overrides,
            directory=point.directory,
            point_key=key,
            variant=variant,
            repeat=repeat,
            status=status,
            error=error,
        )

    @classmethod
    def from_result(cls, point: PlannedPoint, result: Result) -> Self:
        """The outcome that a point's result describes."""
        key, variant, repeat = point.identity
        return cls(
            overrides=point.overrides,
            directory=point.directory,
            point_key=key,
            variant=variant,
            repeat=repeat,
            status=result.status,
            verdict=str(result.verdict),
            metrics={name: metric.value for name, metric in result.metrics.items()},
            error=result.error,
            log_tail=result.log_tail,
            engine_version=result.engine_version,
            wall_s=result.wall_s,
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        return cls(**{**data, "overrides": tuple(data["overrides"])})

    def to_json(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return asdict(self)

    @property
    def identity(self) -> Identity:
        """The identity of the point."""
        return Identity(self.point_key, self.variant, self.repeat)

    @property
    def believable(self) -> bool:
        """Whether it was measured and the verdict is not INVALID."""
        return self.status == "ok" and self.verdict != Verdict.INVALID

    @property
    def error_summary(self) -> str:
        """The error without the log that it quotes: its first line."""
        return ((self.error or "").strip().splitlines() or ["the reason is unknown"])[0]

    def override(self, key: str) -> str | None:
        """The value that the point's overrides give a key, as text; None where they do not name it."""
        values = [override.partition("=")[2] for override in self.overrides if override_key(override) == key]
        return values[-1] if values else None


def read_outcome(point: PlannedPoint) -> Outcome | None:
    """The outcome in the ``result.json`` of a point's directory; None where there is none that can be read."""
    directory = Path(point.directory)
    if not (directory / RESULT_FILE).exists():
        return None
    try:
        return Outcome.from_result(point, Result.read(directory))
    except ResultError:
        return None
