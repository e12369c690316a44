"""Encodes requests as bytes before the window, so that sending one takes one system call.

In the body, everything that requests share comes first and the prompt last: ``Requests`` stores the shared part once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from benchhydra.client.apis import PromptContent, RequestOptions
from benchhydra.client.endpoint import Endpoint
from benchhydra.fetch import below_api_path
from benchhydra.http_exchange import with_user_agent


def request_path(endpoint: Endpoint) -> str:
    """Return the request path: the path of the base URL, then ``api_path`` unless that ends in it, then the API's."""
    base = urlsplit(endpoint.base_url).path.rstrip("/").removesuffix(endpoint.api_path.partition("?")[0])
    path = endpoint.api.path
    return base + (below_api_path(endpoint.api_path, path[3:]) if path.startswith("/v1/") else path)


def encode_request(endpoint: Endpoint, prompt: PromptContent, output_tokens: int, options: RequestOptions) -> bytes:
    """Return one complete HTTP/1.1 request. ``options.body`` overrides the API's fields (None leaves one out).

    The prompt's own fields (``prompt.body``) take precedence over both.
    Raises ValueError if a header or the URL contains a control character.
    """
    api = endpoint.api
    own = api.own_body(prompt, output_tokens)
    content = own.pop(api.prompt_key)
    body: dict[str, Any] = {**api.shared_body(endpoint.model, options), **own, **options.body, **prompt.body}
    body = {key: value for key, value in body.items() if value is not None and key != api.prompt_key}
    body[api.prompt_key] = content
    kind, payload = api.payload(body)
    more = ("Content-Type", kind), *endpoint.headers.items()
    head = _head(endpoint.base_url, request_path(endpoint), api.streamed(options), more)
    return b"%b%d\r\n\r\n%b" % (head, len(payload), payload)


@lru_cache(maxsize=64)  # all requests of a run to one server have the same head
def _head(base_url: str, path: str, stream: bool, more: tuple[tuple[str, str], ...]) -> bytes:
    host = urlsplit(base_url).netloc.rpartition("@")[2]
    headers = {
        "Host": host,
        "Accept": "text/event-stream" if stream else "application/json",
        "Accept-Encoding": "identity",
    }
    headers = with_user_agent(headers, dict(more))
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any(ord(character) < 32 for line in lines for character in line):
        raise ValueError("a header or the base URL contains a control character")
    return "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")
