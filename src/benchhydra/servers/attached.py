"""A server that benchhydra did not start: it is checked once, and never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.fetch import check_base_url
from benchhydra.servers.caches import reset_caches
from benchhydra.servers.health import ControlPlane, require_answer


class AttachedServer:
    """A running server. The constructor raises EngineError if it does not answer."""

    def __init__(self, spec: ServerSpec, headers: Mapping[str, str]) -> None:
        self.base_url = check_base_url("engine.base_url", spec.base_url)
        self._control = ControlPlane(
            base_url=self.base_url, headers=headers, verify_tls=spec.verify_tls, ca_file=spec.ca_file
        )
        require_answer(self._control)

    def call(self, request: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
        """Raise EngineError: only offline engines have calls."""
        raise EngineError("this is an HTTP server, not an offline engine")

    def reset(self) -> bool | None:
        """Empty its caches. Returns True if that is proven, False if not, None if it has no reset endpoint."""
        return reset_caches(self._control)
