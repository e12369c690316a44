"""Drop files from the kernel's page cache, so that the next reader reads them from the disk."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

#: Pages that another process uses stay resident; a file with more than this fraction resident counts as not dropped.
RESIDENT_LIMIT = 0.1


def drop_from_page_cache(files: Iterable[Path]) -> list[Path]:
    """Ask the kernel to drop files from its page cache. Returns those that were not dropped or cannot be read.

    Linux drops only pages that no process has mapped, and none of a tmpfs. For files of other users, mincore(2)
    reports all pages as resident, so these always count as not dropped.
    """
    return [path for path in files if not _drop(path)]


def _drop(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync: then unwritten pages stay in the cache
            os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return _resident_fraction(descriptor) <= RESIDENT_LIMIT
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _resident_fraction(descriptor: int) -> float:
    """Return the fraction of a file's pages that is in the page cache. Raises OSError if mincore(2) fails."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return 0.0
    resident = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as mapped:
        view = np.frombuffer(mapped, np.uint8)  # only for its address: reading it would load the page
        failed = libc.mincore(
            ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(size), ctypes.c_void_p(resident.ctypes.data)
        )
        del view  # a map cannot be closed while an array refers to it
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return float((resident & 1).mean())
