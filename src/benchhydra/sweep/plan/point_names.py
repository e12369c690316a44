"""What a point is called: a directory name that every file system takes, and a label for the terminal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from benchhydra.points import override_key

SLUG_LENGTH = 80


def directory_name(overrides: Sequence[str], swept: Sequence[str] = ()) -> str:
    """``["model=llama2", "engine.args.x=1"]`` -> ``model=llama2,x=1-1f0c9a2b``: a readable part and a hash.

    Overrides of swept keys come first because the readable part is cut off after ``SLUG_LENGTH`` characters.
    """
    digest = hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:8]
    parts = [_short(override) for override in sorted(overrides, key=lambda override: not _varies(override, swept))]
    readable = re.sub(r"[^A-Za-z0-9=,._-]+", "_", ",".join(parts)).strip("._-,")[:SLUG_LENGTH]
    return f"{readable or 'point'}-{digest}"


def point_label(overrides: Sequence[str], swept: Iterable[str]) -> str:
    """A point in words: its overrides of swept keys, or all of them where nothing is swept."""
    swept = tuple(swept)
    shown = [override for override in overrides if _varies(override, swept)] or overrides
    return " ".join(override.lstrip("+") for override in shown) or "(defaults)"


def _varies(override: str, swept: Sequence[str]) -> bool:
    """Whether an override is of a swept key, or numbers a repeat."""
    return override_key(override) in (*swept, "repeat")


def _short(override: str) -> str:
    key, separator, value = override.lstrip("+~").partition("=")
    return f"{key.rsplit('.', 1)[-1]}{separator}{value}"
