"""Permanent storage of results: ``root/date/event/label/python/branch/commit/run_id/``, written once.

A result's directory is first written under a temporary name and then renamed, so it is complete or absent. Nothing is
overwritten.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchhydra.artifacts import POINT_FILES, RESULT_FILE
from benchhydra.errors import ConfigError, ResultError
from benchhydra.redaction import redact_file
from benchhydra.result import Result

LEVELS = ("date", "event", "label", "python", "branch", "commit", "run_id")
EVENTS = ("push", "pull_request", "schedule", "workflow_dispatch", "manual")
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ArchivePlace:
    """The location of a result in an archive. Each field is one level of directories."""

    date: str
    event: str
    label: str
    python: str
    branch: str
    commit: str
    run_id: str

    @property
    def path(self) -> Path:
        """The directory, relative to the archive's root."""
        return Path(*(getattr(self, level) for level in LEVELS))


def place_of(result: Result, *, event: str, label: str | None = None, branch: str | None = None) -> ArchivePlace:
    """Return where a result belongs. By default, label (the machine) and branch come from the result's environment."""
    environment = result.environment
    git, packages = environment.get("git") or {}, environment.get("packages") or {}
    return ArchivePlace(
        date=time.strftime("%Y-%m-%d", time.gmtime(result.epoch_time)),
        event=_level(event),
        label=_level(label or environment.get("machine_class") or UNKNOWN),
        python=_level(packages.get("python") or environment.get("python") or UNKNOWN),
        branch=_level(branch or git.get("branch") or UNKNOWN),
        commit=_level(git.get("commit") or UNKNOWN),
        run_id=_level(result.run_id),
    )


def archive_result(source: Path, root: Path, place: ArchivePlace) -> Path:
    """Copy one result's files to ``root/place`` and return that. Raises ResultError if it exists or writing fails."""
    final = root / place.path
    if final.exists():
        raise ResultError(f"{final} is already archived", hint="an archive is never overwritten")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{place.run_id}-", dir=final.parent))
    except OSError as error:
        raise ResultError(f"cannot write to {root}: {error.strerror}", hint="--root DIR for another archive") from error
    try:
        _fill(source, partial)
        partial.rename(final)  # fails if another process was first: rename does not replace a directory with files
    except OSError as error:
        raise ResultError(f"cannot archive {source} to {final}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def find_archived(root: Path, level_globs: Mapping[str, str]) -> Iterator[tuple[ArchivePlace, Path]]:
    """Yield the archived results whose levels match ``level_globs`` (level -> glob with ``*``), oldest first.

    Raises ConfigError if ``root`` is not a directory.
    """
    if not root.is_dir():
        raise ConfigError(f"{root} is not a directory", hint="--root DIR names the archive")
    patterns = [re.compile(_pattern(level_globs.get(level, "*"))) for level in LEVELS]
    for directory in _walk(root, patterns):
        names = directory.relative_to(root).parts
        if (directory / RESULT_FILE).is_file():
            yield ArchivePlace(**dict(zip(LEVELS, names, strict=True))), directory


def _walk(directory: Path, patterns: Sequence[re.Pattern[str]]) -> Iterator[Path]:
    if not patterns:
        yield directory
        return
    for child in sorted(directory.iterdir()):
        if child.is_dir() and not child.name.startswith(".") and patterns[0].fullmatch(child.name):
            yield from _walk(child, patterns[1:])


def _pattern(glob: str) -> str:
    """Return a level's glob as a regular expression; its text is sanitized like the levels when they are stored."""
    return ".*".join(re.escape(_safe(part)) for part in glob.split("*"))


def _fill(source: Path, partial: Path) -> None:
    partial.chmod(0o755)  # mkdtemp creates it with mode 700
    for name in POINT_FILES:
        if (source / name).is_file():
            shutil.copy2(source / name, partial / name)
            if not name.endswith(".parquet"):
                redact_file(partial / name)  # a result of an earlier version may hold secrets
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _level(text: str) -> str:
    """Return a safe directory name: ``feature/x`` -> ``feature-x``; never hidden, never ``..``."""
    return _safe(str(text)).strip(".") or UNKNOWN


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.=+-]+", "-", text)
