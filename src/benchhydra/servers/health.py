"""Requests to a server apart from the load (health, models, resets), without redirects and with timeouts."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchhydra.errors import EngineError
from benchhydra.fetch import HttpResponse, fetch


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """A server's address and credentials for such requests. Headers may hold a key, so the repr omits them."""

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None
    timeout_s: float = 5.0

    def fetch(self, path: str, method: str = "GET") -> HttpResponse:
        """Send one request and return the response. Raises OSError if there is none."""
        return fetch(
            self.base_url + path,
            method=method,
            headers=self.headers,
            timeout_s=self.timeout_s,
            verify_tls=self.verify_tls,
            ca_file=self.ca_file,
        )

    def ask(self, path: str, method: str = "GET") -> HttpResponse | None:
        """Send one request and return the response; None if there is none."""
        try:
            return self.fetch(path, method)
        except OSError:
            return None

    def healthy(self) -> bool:
        """Return whether ``/health`` answers with a 2xx status."""
        answer = self.ask("/health")
        return answer is not None and answer.ok


def require_answer(control: ControlPlane) -> None:
    """Raise EngineError if an attached server does not answer, refuses the API key or fails on ``/v1/models``."""
    base_url = control.base_url
    try:
        answer = control.fetch("/v1/models")
    except OSError as error:
        text = error.strerror or str(error) or type(error).__name__
        hint = "engine.base_url=http://HOST:PORT"
        if isinstance(error, ssl.SSLCertVerificationError):
            hint = "engine.ca_file=CERTIFICATES to trust it, or engine.verify_tls=false"
        raise EngineError(f"no server answers at {base_url}: {text}", hint=hint) from error
    if answer.status in (401, 403):
        raise EngineError(f"{base_url} refuses the API key ({answer.status})", hint="engine.api_key_env=VARIABLE")
    if answer.status >= 500:
        raise EngineError(f"{base_url} answers {answer.status} to /v1/models")
