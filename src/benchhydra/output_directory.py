"""Output directories: claim a new one, and lock one in use, so that two programs never write into the same one.

A lock is advisory (flock), and ends with the process that holds it, also after SIGKILL. Where the file system has no
locks (some network mounts), a lock is always granted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Self

from benchhydra.artifacts import CONFIG_FILE
from benchhydra.errors import ResultError

POLL_S = 0.1
HINT = "hydra.run.dir=DIR or hydra.sweep.dir=DIR moves the output"


def claim_directory(directory: Path, *, hint: str = HINT) -> Path:
    """Create a directory that did not exist: ``directory``, else ``directory.2``, ``directory.3``, ...

    Two programs that begin within one second get two directories. Raises ResultError if none can be created.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        for candidate in _candidates(directory):
            with suppress(FileExistsError):
                candidate.mkdir()
                return candidate
    except OSError as error:
        raise ResultError(f"cannot create {directory}: {error.strerror}", hint=hint) from error
    raise AssertionError("an infinite loop has ended")


def claim_run_directory(directory: Path) -> Path:
    """Claim a directory that Hydra has created for a single run: no other run has begun to write into it.

    The claim is the exclusive creation of the run's config file. Raises ResultError if nothing can be written.
    """
    try:
        for candidate in _candidates(directory):
            candidate.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError), (candidate / CONFIG_FILE).open("x"):
                return candidate
    except OSError as error:
        raise ResultError(f"cannot write to {directory}: {error.strerror}", hint=HINT) from error
    raise AssertionError("an infinite loop has ended")


class PathLock:
    """A lock on a directory or a file. ``create``: create the file, with its directory. ``close`` releases the lock."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self._create = create
        self._fd: int | None = None

    def acquire(self, *, shared: bool = False, timeout_s: float = 0.0) -> bool:
        """Return whether the lock was granted within ``timeout_s``. Raises OSError if the path cannot be opened."""
        if self._fd is None:
            self._fd = self._open()
        deadline_s = time.monotonic() + timeout_s
        while not _lock(self._fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(POLL_S)
        return True

    def close(self) -> None:
        """Release the lock."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> int:
        if self._create:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            return os.open(self._path, os.O_RDWR)  # network mounts lock only writable files
        except OSError:  # a directory, or a read-only file
            return os.open(self._path, os.O_RDONLY)


def _lock(fd: int, kind: int) -> bool:
    """Try to get a lock; False if another process holds it."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _candidates(directory: Path) -> Iterator[Path]:
    yield directory
    yield from (directory.with_name(f"{directory.name}.{number}") for number in count(2))
