"""Names of point directories: readable, safe on every file system, never too long, never equal for two points."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

SLUG_LENGTH = 80


def directory_name(overrides: Sequence[str], swept: Sequence[str] = ()) -> str:
    """``["model=llama2", "engine.args.x=1"]`` -> ``model=llama2,x=1-1f0c9a2b``: a part to read and a hash.

    Overrides of swept keys come first, because the part to read is cut off.
    """
    digest = hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:8]
    parts = [_short(override) for override in sorted(overrides, key=lambda override: not varies(override, swept))]
    readable = re.sub(r"[^A-Za-z0-9=,._-]+", "_", ",".join(parts)).strip("._-,")[:SLUG_LENGTH]
    return f"{readable or 'point'}-{digest}"


def varies(override: str, swept: Sequence[str]) -> bool:
    """Whether an override is of a swept key, or tells a repeat."""
    return override.lstrip("+~").partition("=")[0] in (*swept, "repeat")


def point_label(overrides: Sequence[str], swept: Sequence[str]) -> str:
    """A point in words: its overrides of swept keys, or all of them where nothing is swept."""
    picked = [override for override in overrides if varies(override, swept)] or overrides
    return " ".join(override.lstrip("+") for override in picked) or "(defaults)"


def _short(override: str) -> str:
    key, separator, value = override.lstrip("+~").partition("=")
    return f"{key.rsplit('.', 1)[-1]}{separator}{value}"
