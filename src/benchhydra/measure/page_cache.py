"""The kernel's page cache: dropping files from it, so that they are read from the disk again."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

#: Pages of a file that is in use elsewhere may stay; more than this fraction of a file means that it was not dropped.
RESIDENT_LIMIT = 0.1


def drop_from_page_cache(files: Iterable[Path]) -> list[Path]:
    """Ask the kernel to drop files from its page cache. Returns those that are still there, or cannot be read.

    Linux lets go of pages that nobody has mapped, and of none of a tmpfs. Of files that belong to other users it says
    that all pages are there, whatever is true.
    """
    return [path for path in files if not _drop(path)]


def _drop(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with contextlib.suppress(OSError):  # not all file systems can: then what was just written stays in the cache
            os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return _resident_fraction(descriptor) <= RESIDENT_LIMIT
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _resident_fraction(descriptor: int) -> float:
    """The part of a file that is in the page cache. Raises OSError where the kernel does not say."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return 0.0
    resident = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as mapped:
        view = np.frombuffer(mapped, np.uint8)  # for its address; reading it would load the page
        failed = libc.mincore(
            ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(size), ctypes.c_void_p(resident.ctypes.data)
        )
        del view  # a map cannot be closed while something refers to it
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return float((resident & 1).mean())
