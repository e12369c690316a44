"""The wire: request bytes out, SSE bytes in, timestamps. A pure incremental parser and one asyncio.Protocol."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

APIS = {"completions": "/v1/completions", "chat": "/v1/chat/completions"}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where requests go. ``headers`` may hold a secret: it is never shown, logged or stored."""

    base_url: str
    api: str = "completions"
    model: str = ""
    stream: bool = True
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None


@dataclass(kw_only=True)
class Requests:
    """Whole requests as bytes, prepared before the window: request i is ``blob[offsets[i]:offsets[i + 1]]``."""

    blob: bytearray = field(default_factory=bytearray)
    offsets: array[int] = field(default_factory=lambda: array("q", [0]))
    prompt_tokens: array[int] = field(default_factory=lambda: array("i"))
    output_tokens: array[int] = field(default_factory=lambda: array("i"))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def add(self, request: bytes, prompt_tokens: int, output_tokens: int) -> None:
        """Append one whole request (head and body)."""
        self.blob += request
        self.offsets.append(len(self.blob))
        self.prompt_tokens.append(prompt_tokens)
        self.output_tokens.append(output_tokens)
