"""Archived results as rows: their place in the archive and what identifies them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchhydra.archive import LEVELS, ArchivePlace
from benchhydra.result import Result

#: The fields of a result that a listing has beside the levels of its place.
FIELDS = ("model", "dataset", "script", "verdict", "point_key")


@dataclass(frozen=True, kw_only=True)
class ArchiveRow:
    """One archived result: where it is, in the archive and on the disk."""

    place: ArchivePlace
    path: Path
    result: Result

    def values(self) -> Mapping[str, str]:
        """Levels and fields by name, then the path."""
        levels = {level: getattr(self.place, level) for level in LEVELS}
        return {**levels, **{name: str(getattr(self.result, name)) for name in FIELDS}, "path": str(self.path)}
