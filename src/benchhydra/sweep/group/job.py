"""A group's job: all that the process which measures the group needs, encoded as one text in ``sweep.job``."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchhydra.artifacts import FAILURES_FILE, JOURNALS_DIR
from benchhydra.errors import ConfigError
from benchhydra.points import Identity, PlannedPoint
from benchhydra.sweep.group.limits import StopLimits


@dataclass(frozen=True, kw_only=True)
class GroupJob:
    """The points of one group, and the settings of their sweep.

    swept: the keys that vary; labels and directories of points are made of them. engine_versions: the versions that a
    result of the resumed sweep may have; empty for any. search: the option's name if the search may add points; its
    settings are in the config of the first point. points_before: the points of the groups before; sweep_points: the
    points of the sweep to measure (0: those of this group), for the progress display. is_trial: the group is a trial of
    a search, whose failures are its result. cut: what a trial must be able to beat (``search.cut.Cut`` as JSON).
    """

    sweep_id: str
    sweep_dir: str
    number: int
    points: tuple[PlannedPoint, ...]
    config_name: str = "config"
    hydra_overrides: tuple[str, ...] = ()
    limits: StopLimits = field(default_factory=StopLimits)
    swept: tuple[str, ...] = ()
    engine_versions: tuple[str, ...] = ()
    search: str | None = None
    points_before: int = 0
    sweep_points: int = 0
    is_trial: bool = False
    cut: dict[str, Any] | None = None

    @property
    def journal(self) -> Path:
        """The path of the group's journal: its outcomes so far."""
        return Path(self.sweep_dir) / JOURNALS_DIR / f"{self.number:04d}.json"

    @property
    def failures(self) -> Path:
        """The path of the file in which all jobs of the sweep count failed points."""
        return Path(self.sweep_dir) / JOURNALS_DIR / FAILURES_FILE

    def encode(self) -> str:
        """The job as letters, digits, ``-`` and ``_``."""
        data = asdict(self)
        data["points"] = [[list(p.overrides), p.directory, list(p.identity)] for p in self.points]
        return base64.urlsafe_b64encode(zlib.compress(json.dumps(data).encode())).decode().rstrip("=")


def decode_job(text: str) -> GroupJob:
    """The inverse of ``encode``. Raises ConfigError if the text is not an encoded job."""
    try:
        data = json.loads(zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))
        data["points"] = tuple(
            PlannedPoint(overrides=tuple(overrides), directory=directory, identity=Identity(*identity))
            for overrides, directory, identity in data["points"]
        )
        data["limits"] = StopLimits(**data["limits"])
        for name in ("hydra_overrides", "swept", "engine_versions"):
            data[name] = tuple(data[name])
        return GroupJob(**data)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise ConfigError("sweep.job is not a group of points; only the sweep itself sets it") from error
