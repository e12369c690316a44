"""Server lifecycle: start, prove ready, reuse after a proven cache reset, stop the whole group, leave nothing behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(kw_only=True)
class Lease:
    """A server (or offline engine) for one point.

    ``fresh``: started for this lease. ``cache_reset``: proven before this point; None where nothing can be reset
    (fresh servers, engines without caches). ``log``: the server's whole log file (None: attached).
    """

    base_url: str = ""
    fresh: bool = True
    cache_reset: bool | None = None
    restarted: bool = False
    start_s: float | None = None
    log: Path | None = None
    pid: int | None = None

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask an offline engine, and wait for its answer. Raises EngineError."""
        raise NotImplementedError
