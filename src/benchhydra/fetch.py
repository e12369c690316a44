"""Single HTTP requests outside the load: health, version, models, cache resets, hub look-ups.

Each is one ``http_exchange``: a deadline for the whole of it, no redirects, no proxies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchhydra.errors import ConfigError
from benchhydra.http_exchange import exchange
from benchhydra.redaction import excerpt

DEFAULT_API_PATH = "/v1"
#: The end of a base URL's path that is the API's own path, as clients of OpenAI take it.
API_VERSION = re.compile(r"/v\d[\w.-]*(/openai)?$")


@dataclass(frozen=True, kw_only=True)
class HttpResponse:
    """A server's answer: its status, its body, and where a redirect leads to."""

    status: int
    body: bytes
    location: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx. This does not prove that the server did what was asked."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the body as JSON; None if it is not JSON."""
        try:
            return json.loads(self.body.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError):
            return None


def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float = 10.0,
    verify_tls: bool = True,
    ca_file: str | None = None,
) -> HttpResponse:
    """Send one request and return the response. timeout_s: for the whole exchange, from connecting to the last byte.

    Raises OSError: refused, timed out, reset, TLS error, not HTTP, truncated or too long.
    """
    answer = exchange(
        url,
        method=method,
        headers=headers,
        body=body,
        timeout_s=timeout_s,
        verify_tls=verify_tls,
        ca_file=ca_file,
    )
    return HttpResponse(status=answer.status, body=answer.body, location=answer.location)


def describe_redirect(location: str, endpoint: str) -> str:
    """Return where a redirect of an endpoint (``/v1/completions``) leads to, and what to type to go there."""
    parts = urlsplit(location)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    root = plain if parts.netloc else f"http://HOST:PORT{plain}"
    for path in (endpoint, endpoint.removeprefix(DEFAULT_API_PATH)):
        root = root.removesuffix("/").removesuffix(path)
    return f"redirects to {excerpt(plain, 200)}, which is not followed: engine.base_url={excerpt(root, 200)}"


def check_base_url(field: str, url: str) -> str:
    """Return the URL without a trailing slash. Raises ConfigError if it is not an HTTP server's URL.

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
    return url.rstrip("/")


def split_api_path(base_url: str, path: str | None) -> tuple[str, str]:
    """Return a server's URL and the path below it of its OpenAI-compatible API: ("http://host", "/v1").

    path: may have a query, which is sent with every request; a URL that already ends in the path is not extended by it.
    None: the URL's own end if that is a version (/v1, /api/v3, /v1beta/openai), else /v1.
    """
    parts = urlsplit(base_url)
    if path is None:
        version = API_VERSION.search(parts.path)
        path = version[0] if version else DEFAULT_API_PATH
    plain, question_mark, query = path.partition("?")
    plain = f"/{plain.strip('/')}" if plain.strip("/") else ""
    root = parts._replace(path=parts.path.removesuffix(plain)).geturl()
    return root, plain + question_mark + query


def below_api_path(api_path: str, endpoint: str) -> str:
    """Return the path of an endpoint (``/models``) below an API's path; a query of the API's path stays at the end."""
    path, question_mark, query = api_path.partition("?")
    return path + endpoint + question_mark + query
