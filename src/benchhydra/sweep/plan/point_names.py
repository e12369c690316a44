"""Names of points: a directory name that is valid on every file system, and a label for the terminal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from benchhydra.points import override_key
from benchhydra.redaction import redact

SLUG_LENGTH = 80


def directory_name(overrides: Sequence[str], swept: Sequence[str] = ()) -> str:
    """``["model=llama2", "engine.args.x=1"]`` -> ``model=llama2,x=1-1f0c9a2b``: a readable part and a hash.

    Overrides of swept keys come first because the readable part is cut off after ``SLUG_LENGTH`` characters.
    """
    digest = hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:8]
    ordered = sorted(overrides, key=lambda override: not _varies(override, swept))
    parts = [_short(redact(override)) for override in ordered]
    readable = re.sub(r"[^A-Za-z0-9=,._-]+", "_", ",".join(parts)).strip("._-,")[:SLUG_LENGTH]
    return f"{readable or 'point'}-{digest}"


def point_label(overrides: Sequence[str], swept: Iterable[str]) -> str:
    """The label of a point: its overrides of swept keys, or all its overrides if none of its keys is swept."""
    swept = tuple(swept)
    label_overrides = [override for override in overrides if _varies(override, swept)] or overrides
    return " ".join(override.lstrip("+") for override in label_overrides) or "(defaults)"


def _varies(override: str, swept: Sequence[str]) -> bool:
    """Whether an override sets a swept key or ``repeat``."""
    return override_key(override) in (*swept, "repeat")


def _short(override: str) -> str:
    key, separator, value = override.lstrip("+~").partition("=")
    return f"{key.rsplit('.', 1)[-1]}{separator}{value}"
