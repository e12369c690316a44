"""A server that benchhydra did not start: it is checked once, and never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.fetch import check_base_url, split_api_path
from benchhydra.progress import Progress
from benchhydra.servers.caches import reset_caches
from benchhydra.servers.health import ControlPlane, wait_until_ready


class AttachedServer:
    """A running server. The constructor waits for it while it starts, and raises EngineError if it does not answer."""

    def __init__(
        self, spec: ServerSpec, headers: Mapping[str, str], progress: Progress, *, ready_timeout_s: float
    ) -> None:
        base_url = check_base_url("engine.base_url", spec.base_url)
        self.base_url, self.api_path = split_api_path(base_url, spec.api_path)
        self.control = ControlPlane(
            base_url=self.base_url,
            api_path=self.api_path,
            headers=headers,
            verify_tls=spec.verify_tls,
            ca_file=spec.ca_file,
        )
        self._cache_reset = spec.cache_reset
        self.ready = wait_until_ready(self.control, progress, ready_timeout_s)

    def call(self, request: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
        """Raise EngineError: only offline engines have calls."""
        raise EngineError("this is an HTTP server, not an offline engine")

    def reset(self) -> bool | None:
        """Empty its caches. Returns True if that is proven, False if not, None if it has no reset endpoint."""
        return reset_caches(self.control, how=self._cache_reset)
