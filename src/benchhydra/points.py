"""The points of a sweep: identity, plan (``PlannedPoint``) and outcome (``Outcome``).

Sweeps and searches use these. They are sent to jobs in other processes and written to files, so their fields are plain
values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import ResultError
from benchhydra.redaction import redact_config
from benchhydra.result import Result, Verdict, flatten, point_key

#: Keys that are not part of a point's key (so that builds and seeds can be compared), but may be axes of a sweep.
VARIANT_KEYS = (
    *("seed", "engine.python", "engine.program", "engine.base_url", "load.processes", "load.executor"),
    *("engine.path", "engine.headers"),
)


class Identity(NamedTuple):
    """The identity of a measurement in a sweep: the point, its variant (``VARIANT_KEYS``) and the repeat."""

    point_key: str
    variant: str
    repeat: int


def point_identity(resolved: Mapping[str, Any]) -> Identity:
    """Return the identity of a point from its composed config as plain data (or ``config`` of its ``result.json``)."""
    flat = flatten(redact_config(resolved))  # as in result.json, which an address with a password is redacted in
    variants = [key for name in VARIANT_KEYS for key in flat if key == name or key.startswith(f"{name}.")]
    variant = " ".join(f"{key}={flat[key]}" for key in variants if flat[key] not in (None, {}))
    return Identity(point_key(resolved), variant, int(resolved.get("repeat") or 0))


def override_key(override: str) -> str:
    """Return the key of an override: ``++engine.args.x=1`` -> ``engine.args.x``."""
    return override.lstrip("+~").partition("=")[0]


@dataclass(frozen=True, kw_only=True)
class PlannedPoint:
    """A point to measure: its overrides, the directory for its files, its identity."""

    overrides: tuple[str, ...]
    directory: str
    identity: Identity


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the measurement of a point ended.

    status: ok; failed (an error); infeasible (a trial of a search failed, which is a result of the search); invalid
    (measured, but rejected by script.fail_on); interrupted; skipped (not started because the sweep stopped). kept:
    taken from an earlier run of the sweep, not measured again. extra: added by a search. metrics: by name, in
    the units of the metric table. invalid_checks: the rules that made the result INVALID.
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
    invalid_checks: tuple[str, ...] = ()

    @classmethod
    def of_point(cls, point: PlannedPoint, *, status: str, error: str | None = None) -> Self:
        """Return the outcome of a point that has no result."""
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
        """Return the outcome of a point that has a result."""
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
            invalid_checks=tuple(reason.check for reason in result.reasons if reason.severity is Verdict.INVALID),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        texts = {name: tuple(data.get(name, ())) for name in ("overrides", "invalid_checks")}
        return cls(**{**data, **texts})

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as a JSON object."""
        return asdict(self)

    @property
    def identity(self) -> Identity:
        """The identity of the point."""
        return Identity(self.point_key, self.variant, self.repeat)

    @property
    def believable(self) -> bool:
        """Whether the status is ok and the verdict is not INVALID."""
        return self.status == "ok" and self.verdict != Verdict.INVALID

    @property
    def error_summary(self) -> str:
        """The first line of the error, without the log lines that may follow."""
        return ((self.error or "").strip().splitlines() or ["the reason is unknown"])[0]

    def override(self, key: str) -> str | None:
        """Return the value of a key in the point's overrides, as text; None if no override sets it."""
        values = [override.partition("=")[2] for override in self.overrides if override_key(override) == key]
        return values[-1] if values else None


def read_outcome(point: PlannedPoint) -> Outcome | None:
    """Return the outcome in the ``result.json`` of a point's directory; None if there is no readable one."""
    directory = Path(point.directory)
    if not (directory / RESULT_FILE).exists():
        return None
    try:
        return Outcome.from_result(point, Result.read(directory))
    except ResultError:
        return None
