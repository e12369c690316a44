"""Requests to a server apart from the load (health, models, resets), without redirects and with timeouts."""

from __future__ import annotations

import json as jsons
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchhydra.client.apis import error_message
from benchhydra.errors import EngineError
from benchhydra.escaping import printable
from benchhydra.fetch import HttpResponse, below_api_path, fetch
from benchhydra.progress import Progress
from benchhydra.redaction import excerpt

#: What a proxy or a server answers while the server behind it, or its model, is still starting.
STARTING = (502, 503)
POLL_S = 0.5
HEALTH_TIMEOUT_S = 2.0
#: How many characters of a server's own words are shown.
WORDS = 200


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """A server's address and credentials for such requests. Headers may hold a key, so the repr omits them."""

    base_url: str
    api_path: str = "/v1"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None
    timeout_s: float = 5.0

    def fetch(
        self, path: str, method: str = "GET", *, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Send one request, with a JSON body if there is one, and return the response. Raises OSError without one."""
        content_type = {"Content-Type": "application/json"} if json is not None else {}
        return fetch(
            self.base_url + path,
            method=method,
            headers={**content_type, **self.headers, **(headers or {})},
            body=jsons.dumps(json).encode() if json is not None else b"",
            timeout_s=self.timeout_s,
            verify_tls=self.verify_tls,
            ca_file=self.ca_file,
        )

    def ask(
        self, path: str, method: str = "GET", *, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> HttpResponse | None:
        """Send one request and return the response; None if there is none."""
        try:
            return self.fetch(path, method, json=json, headers=headers)
        except OSError:
            return None

    def api(self, endpoint: str) -> str:
        """Return the path of an endpoint of the API: ``/models`` -> ``/v1/models``."""
        return below_api_path(self.api_path, endpoint)

    def healthy(self, path: str = "/health") -> bool:
        """Return whether a path answers with a 2xx status."""
        answer = self.ask(path)
        return answer is not None and answer.ok


@dataclass(frozen=True, kw_only=True)
class _Obstacle:
    """Why an attached server is not ready yet. listed: it does list its models."""

    text: str
    listed: bool = False


def wait_until_ready(control: ControlPlane, progress: Progress, timeout_s: float) -> bool:
    """Wait for an attached server that is starting: it refuses connections, or answers 502 or 503.

    Returns whether it is ready; False if it lists its models, but its ``/health`` is 503 even in the end. Raises
    EngineError if it does not list them in time, and at once if it refuses the key, fails otherwise or has no address.
    """
    start_s = time.monotonic()
    first = obstacle = _obstacle(control)
    if first is not None and timeout_s > 0:
        progress.say(f"waiting up to {timeout_s:g} s for {control.base_url}: {first.text}")
    while obstacle is not None and (age_s := time.monotonic() - start_s) < timeout_s:
        time.sleep(min(POLL_S, timeout_s - age_s))
        obstacle = _obstacle(control)
        if obstacle is not None:
            progress.status(f"waiting for {control.base_url} ({age_s:.0f} of {timeout_s:g} s): {obstacle.text}")
    if obstacle is not None and not obstacle.listed:
        waited = f" (waited {timeout_s:g} s)" if timeout_s > 0 else ""
        raise EngineError(
            f"no server answers at {control.base_url}: {obstacle.text}{waited}",
            hint="engine.base_url=http://HOST:PORT, or engine.ready_timeout_s=600 to wait while it starts",
        )
    if first is not None and obstacle is None:
        progress.say(f"{control.base_url} ready after {time.monotonic() - start_s:.1f} s")
    return obstacle is None


def _obstacle(control: ControlPlane) -> _Obstacle | None:
    """Return why the server is not ready; None if it is. Raises EngineError if waiting does not help."""
    path = control.api("/models")
    try:
        answer = control.fetch(path)
    except OSError as error:
        return _Obstacle(text=_refused(control, error))
    if answer.status in STARTING:
        return _Obstacle(text=f"{path} answers {answer.status}{_words_of(answer)}")
    if answer.status in (401, 403):
        raise EngineError(
            f"{control.base_url} refuses the API key or a header ({answer.status}){_words_of(answer)}",
            hint="engine.api_key_env=VARIABLE for an API key, engine.headers.NAME=VARIABLE for any other header",
        )
    if answer.status >= 500:
        raise EngineError(f"{control.base_url} answers {answer.status} to {path}{_words_of(answer)}")
    health = replace(control, timeout_s=HEALTH_TIMEOUT_S).ask("/health")
    if health is not None and health.status in STARTING:
        return _Obstacle(text=f"/health answers {health.status}{_words_of(health)}", listed=answer.ok)
    return None


def _refused(control: ControlPlane, error: OSError) -> str:
    """Return the text of an error that may end when the server has started. Raises EngineError for any other."""
    text = error.strerror or str(error) or type(error).__name__
    if not isinstance(error, (ssl.SSLError, socket.gaierror)):
        return text
    hint = "engine.base_url=http://HOST:PORT"
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "engine.ca_file=CERTIFICATES to trust it, or engine.verify_tls=false"
    raise EngineError(f"no server answers at {control.base_url}: {text}", hint=hint) from error


def _words_of(answer: HttpResponse) -> str:
    """Return the server's own words in an error answer, after a colon; "" if there are none."""
    text = excerpt(printable(error_message(answer.json())), WORDS)
    return f": {text}" if text else ""
