"""Requests as bytes: built before the window, so that sending one costs one system call.

Everything that requests share comes first in the body and the prompt last: ``Requests`` keeps the shared part once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchhydra.client import APIS, Endpoint


def request_path(endpoint: Endpoint) -> str:
    """The request path: the API's, below whatever path the base URL has (its own trailing /v1 counts once)."""
    base = urlsplit(endpoint.base_url).path.rstrip("/")
    return base.removesuffix("/v1") + APIS[endpoint.api]


def encode_request(
    endpoint: Endpoint,
    prompt_text: str,
    messages: Sequence[Mapping[str, str]] | None,
    output_tokens: int,
    body_extra: Mapping[str, Any],
) -> bytes:
    """One whole HTTP/1.1 request. ``body_extra`` (sampling parameters and whatever else) overrides our own keys.

    Raises ValueError where a header or the URL would break out of its line.
    """
    body: dict[str, Any] = {"model": endpoint.model, "max_tokens": output_tokens, "stream": endpoint.stream}
    if endpoint.stream:
        body["stream_options"] = {"include_usage": True}
    body.update(body_extra)
    if endpoint.api == "chat":
        body["messages"] = messages or ({"role": "user", "content": prompt_text},)
    else:
        body["prompt"] = prompt_text
    payload = msgspec.json.encode(body)
    head = _head(endpoint.base_url, request_path(endpoint), endpoint.stream, tuple(endpoint.headers.items()))
    return b"%b%d\r\n\r\n%b" % (head, len(payload), payload)


@lru_cache(maxsize=4)  # all requests of a run have the same
def _head(base_url: str, path: str, stream: bool, more: tuple[tuple[str, str], ...]) -> bytes:
    host = urlsplit(base_url).netloc.rpartition("@")[2]
    headers = {"Host": host, "Accept": "text/event-stream" if stream else "application/json"}
    headers |= {"Content-Type": "application/json", **dict(more)}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any(ord(character) < 32 for line in lines for character in line):
        raise ValueError("a header or the base URL holds a control character")
    return "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")
