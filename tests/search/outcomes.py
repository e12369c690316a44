"""Points and outcomes as a search sees them."""

from __future__ import annotations

from dataclasses import replace

from benchhydra.points import Identity, Outcome, PlannedPoint


def planned(*overrides: str, repeat: int = 0) -> PlannedPoint:
    """A planned point that is told apart by its overrides."""
    key = " ".join(o for o in overrides if not o.startswith("repeat="))
    return PlannedPoint(overrides=overrides, directory=f"/sweep/{key}", identity=Identity(key, "", repeat))


def measured(point: PlannedPoint, **metrics: float) -> Outcome:
    """The outcome of a point that was measured."""
    key, variant, repeat = point.identity
    return Outcome(
        overrides=point.overrides,
        directory=point.directory,
        point_key=key,
        variant=variant,
        repeat=repeat,
        verdict="VALID",
        metrics=metrics,
    )


def invalid(point: PlannedPoint, *checks: str, **metrics: float) -> Outcome:
    """The outcome of a point whose result these rules made INVALID."""
    return replace(measured(point, **metrics), verdict="INVALID", invalid_checks=checks)
