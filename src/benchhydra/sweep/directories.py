"""Names of point directories: readable, safe on every file system, never too long, never equal for two points."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

SLUG_LENGTH = 80


def slug(overrides: Sequence[str]) -> str:
    """``["model=llama2", "engine.args.x=1"]`` -> ``model=llama2,x=1-1f0c9a2b``: a part to read and a hash."""
    digest = hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:8]
    parts = [_short(override) for override in overrides]
    readable = re.sub(r"[^A-Za-z0-9=,._-]+", "_", ",".join(parts)).strip("._-,")[:SLUG_LENGTH]
    return f"{readable or 'point'}-{digest}"


def _short(override: str) -> str:
    key, separator, value = override.lstrip("+~").partition("=")
    return f"{key.rsplit('.', 1)[-1]}{separator}{value}"
