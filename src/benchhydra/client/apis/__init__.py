"""The APIs (endpoints) of a load: each is one file that builds request bodies and interprets answers.

An API is an option of the config group ``api``. The parser handles only HTTP and server-sent events, and passes each
JSON document to the API. A new endpoint is one file with a subclass of ``Api``; ``path`` and ``own_body`` are enough
for one that neither streams nor generates text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

UNKNOWN_TOKENS = -1


class PromptContent(Protocol):
    """A prompt as APIs read it: its text, and its messages (role and content) if it is a conversation."""

    @property
    def text(self) -> str: ...
    @property
    def messages(self) -> Sequence[Mapping[str, str]] | None: ...


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """The user's options for all requests of a load.

    stream: request a stream of events, if the API has one; ignore_eos: generate exactly the requested number of output
    tokens; body: further fields of the JSON body, which take precedence over the API's.
    """

    stream: bool = True
    ignore_eos: bool = True
    temperature: float = 0.0
    body: Mapping[str, Any] = field(default_factory=dict)


class Usage(NamedTuple):
    """The server's token counts; -1 for a count that it does not report."""

    prompt_tokens: int
    output_tokens: int


class ApiEvent(NamedTuple):
    """The content of one event of a stream, or of a whole document.

    texts: generated texts of its choices, without empty ones; usage: None if not reported; error: None, or for an error
    object the server's message ("" if it has none); end: whether the stream ends with this event.
    """

    texts: Sequence[str] = ()
    usage: Usage | None = None
    error: str | None = None
    end: bool = False


@dataclass(kw_only=True)
class Api:
    """Base of the ``api`` group."""

    #: Path of the endpoint, relative to the server's base URL.
    path: ClassVar[str]
    #: The last key of the body: everything before it is stored once for all requests.
    prompt_key: ClassVar[str] = "prompt"
    #: Whether the endpoint can stream answers as server-sent events.
    streams: ClassVar[bool] = True
    #: Whether the endpoint generates text: answers have output tokens, and may be shorter than requested.
    generates: ClassVar[bool] = True
    #: JSON keys of generated text in an event, for ``chunk_template``; if empty, every event is parsed as JSON.
    text_keys: ClassVar[tuple[str, ...]] = ()
    #: The data of the event that ends a stream.
    end_mark: ClassVar[bytes] = b"[DONE]"

    def shared_body(self, model: str, options: RequestOptions) -> dict[str, Any]:
        """Return the part of the body that all requests share: model, sampling, stream options."""
        return {"model": model}

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        """Return the part of the body that is specific to one request; ``prompt_key`` is the last key."""
        raise NotImplementedError

    def read(self, document: dict[str, Any]) -> ApiEvent:
        """Interpret a document: a whole answer with status 200, or the data of an event."""
        if is_error(document):
            return ApiEvent(error=self.error_message(document))
        return ApiEvent(usage=usage_of(document))

    def error_message(self, document: Any) -> str:
        """Return the message in the body of an error status or in an error object; "" if there is none."""
        return error_message(document)

    def streamed(self, options: RequestOptions) -> bool:
        """Return whether answers are streams of events."""
        return self.streams and options.stream


def is_error(document: Mapping[str, Any]) -> bool:
    """Return whether a document is an error object: {"error": ...}, or vLLM's older {"object": "error", ...}."""
    return bool(document.get("error")) or document.get("object") == "error"


def error_message(document: Any) -> str:
    """Return the message of an error object, in any of the forms that servers use; "" if it has none."""
    if not isinstance(document, dict):
        return ""
    error = document.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    text = error if isinstance(error, str) else document.get("message") or document.get("detail")
    return text if isinstance(text, str) else ""


def usage_of(document: Mapping[str, Any]) -> Usage | None:
    """Return the token counts under ``usage``; None if there is no such object."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 31 else UNKNOWN_TOKENS
