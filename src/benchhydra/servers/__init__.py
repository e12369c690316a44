"""Server lifecycle: start, prove ready, reuse after a proven cache reset, stop the whole group, leave nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchhydra.errors import EngineError


@dataclass(kw_only=True)
class Lease:
    """A server (or offline engine) for one point.

    ``fresh``: started for this lease. ``cache_reset``: proven before this point; None where nothing can be reset
    (fresh servers, engines without caches). ``restarted``: there was a server for this point, but it had died or its
    caches could not be reset. ``log``: the server's whole log file (None: attached); this point's part of it begins
    at ``log_offset``. ``pid``: the root of the server's process tree. ``gpus``: indices of the GPUs it holds.
    ``warmed``: the warm-ups that this server has had, by kind of request: how many at once, and their longest prompt.
    """

    base_url: str = ""
    fresh: bool = True
    cache_reset: bool | None = None
    restarted: bool = False
    start_s: float | None = None
    log: Path | None = None
    log_offset: int = 0
    pid: int | None = None
    gpus: tuple[int, ...] = ()
    warmed: dict[str, tuple[int, int]] = field(default_factory=dict)
    verify_tls: bool = True
    ca_file: str | None = None

    def call(self, request: dict[str, Any], *, timeout_s: float | None = None) -> dict[str, Any]:
        """Ask an offline engine, and wait for its answer (None: as long as it lives). Raises EngineError."""
        raise EngineError("this is an HTTP server, not an offline engine")

    def reset(self) -> bool | None:
        """Empty the caches now, inside a point (after a warm-up). True: proven; False: not; None: there are none."""
        raise NotImplementedError

    def write_log(self, path: Path) -> None:
        """Write this point's part of the server's log (with the start-up, where it was started for this point)."""
        if self.log is None or not self.log.exists():
            return
        with self.log.open("rb") as source, path.open("wb") as target:
            source.seek(self.log_offset)
            shutil.copyfileobj(source, target)
