"""Sweeps: what to run in which order on which server, what to skip, and what came of it.

Everything here is planning on plain values; Hydra's part (parsing, composing, launching) is in the plugin
``hydra_plugins.benchhydra``, which is a thin shell over this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchhydra.engines import ServerSpec
from benchhydra.result import flatten, point_key

SWEEP_FILE = "sweep.json"
#: Keys that do not identify a point (so that builds and seeds compare), and may be axes of a sweep all the same.
VARIANTS = ("seed", "engine.python", "engine.base_url", "load.processes", "load.executor")


class Identity(NamedTuple):
    """What tells one measurement of a sweep from another: a point, a variant of it (see ``VARIANTS``), a repeat."""

    point_key: str
    variant: str
    repeat: int


@dataclass(frozen=True, kw_only=True)
class PlannedPoint:
    """A point that is to be measured: its overrides, its directory, and what it needs."""

    overrides: tuple[str, ...]
    directory: str
    identity: Identity
    spec: ServerSpec | None = None


@dataclass(frozen=True, kw_only=True)
class ServerGroup:
    """The points that one server serves, in their order."""

    spec: ServerSpec | None
    points: tuple[PlannedPoint, ...]


def point_identity(resolved: Mapping[str, Any]) -> Identity:
    """The identity of a point, from its composed config as plain data (also as ``result.json`` keeps it)."""
    flat = flatten(resolved)
    variant = " ".join(f"{key}={flat[key]}" for key in VARIANTS if flat.get(key) is not None)
    return Identity(point_key(resolved), variant, int(resolved.get("repeat") or 0))
