"""A listing of archived results for programs: as paths, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TextIO

from benchhydra.render import renderer
from benchhydra.render.archive_rows import ArchiveRow


@renderer("archive", "paths")
def write_archive_paths(rows: Sequence[ArchiveRow], stream: TextIO) -> None:
    """One line a result: its directory."""
    stream.write("".join(f"{row.path}\n" for row in rows))


@renderer("archive", "json")
def write_archive_json(rows: Sequence[ArchiveRow], stream: TextIO) -> None:
    """A JSON list with one object a result."""
    stream.write(json.dumps([dict(row.values()) for row in rows], indent=1) + "\n")
