"""Single HTTP requests outside the load: health, version, models, cache resets, hub look-ups.

Plain ``http.client``: no redirects (a header with a key must not reach another host), no proxies, always a timeout.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchhydra.errors import ConfigError

MAX_BODY = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class HttpResponse:
    """A server's answer: its status and its body."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx. This does not prove that the server did what was asked."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the body as JSON; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
    verify_tls: bool = True,
    ca_file: str | None = None,
) -> HttpResponse:
    """Send one request and return the response. Raises OSError: refused, timed out, reset, TLS error, not HTTP."""
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout_s, verify_tls, ca_file)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    try:
        connection.request(method, path, headers={"Accept": "*/*", "Content-Length": "0", **(headers or {})})
        response = connection.getresponse()
        return HttpResponse(status=response.status, body=response.read(MAX_BODY))
    except http.client.HTTPException as error:
        raise ConnectionError(f"not a valid HTTP response ({type(error).__name__})") from error
    finally:
        connection.close()


def check_base_url(field: str, url: str) -> str:
    """Return the URL without a trailing slash and ``/v1``. Raises ConfigError if it is not an HTTP server's URL.

    field: the config key that errors name.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"{field}={url!r} is not a server's URL", hint=f"{field}=http://HOST:PORT")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{field} must have only a scheme, host, port and path", hint="keys: engine.api_key_env=VARIABLE"
        )
    return url.rstrip("/").removesuffix("/v1")


def _connection(
    scheme: str, host: str, port: int | None, timeout_s: float, verify_tls: bool, ca_file: str | None
) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    context = ssl.create_default_context(cafile=ca_file)
    if not verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
