"""The server's endpoint: URL, API, model and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchhydra.client.apis import Api


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A server's endpoint. ``headers`` may contain the API key: never show, log or store them."""

    base_url: str
    api: Api
    model: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None
