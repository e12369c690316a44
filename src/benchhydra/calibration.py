"""What this machine's own error is: the rate up to which its client is known to be exact, kept for the verdict.

A calibration belongs to a class of machines (``environment.machine_class``) and lies in the user's cache directory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path


def directory() -> Path:
    """Where calibrations are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "benchhydra" / "calibration"


def load(machine_class: str) -> float | None:
    """The highest rate in requests/s known to be exact on such a machine, or None where nobody calibrated it."""
    try:
        kept = json.loads((directory() / f"{machine_class}.json").read_text(encoding="utf-8"))
        return float(kept["exact_up_to_rps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(machine_class: str, exact_up_to_rps: float) -> Path:
    """Keep it, and return the file."""
    path = directory() / f"{machine_class}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps({"exact_up_to_rps": exact_up_to_rps}) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path
