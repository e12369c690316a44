"""Archived results as table rows: the levels of their place in the archive, and the fields that identify them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchhydra.archive import LEVELS, ArchivePlace
from benchhydra.result import Result

#: The fields of a result that a listing shows after the levels of its place.
FIELDS = ("model", "dataset", "script", "verdict", "point_key")


@dataclass(frozen=True, kw_only=True)
class ArchiveRow:
    """One archived result, its place in the archive, and its directory."""

    place: ArchivePlace
    path: Path
    result: Result

    def values(self) -> Mapping[str, str]:
        """Levels and fields by name, then the path."""
        levels = {level: getattr(self.place, level) for level in LEVELS}
        return {**levels, **{name: str(getattr(self.result, name)) for name in FIELDS}, "path": str(self.path)}
