"""Where requests go."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchhydra.client.apis import Api


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A server's endpoint. ``headers`` may hold a secret: it is never shown, logged or stored."""

    base_url: str
    api: Api
    model: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None
