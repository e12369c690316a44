"""The endpoints that a load can go to: one file each says what a request holds and what an answer means.

An API is an option of the config group ``api``. The parser knows HTTP and server-sent events only, and asks the API for
the meaning of each JSON document. A new endpoint is one file with a subclass of ``Api``: ``path`` and ``own_body`` are
enough for one that neither streams nor generates text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

UNKNOWN_TOKENS = -1


class PromptContent(Protocol):
    """What an API reads of a prompt: its text, and its messages (role and content) where it is a conversation."""

    @property
    def text(self) -> str: ...
    @property
    def messages(self) -> Sequence[Mapping[str, str]] | None: ...


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """What a user chooses about all requests of a load.

    stream: ask for a stream of events, where the API has one; ignore_eos: ask for exactly the requested number of
    output tokens; body: further fields of the JSON body, which replace the API's own.
    """

    stream: bool = True
    ignore_eos: bool = True
    temperature: float = 0.0
    body: Mapping[str, Any] = field(default_factory=dict)


class Usage(NamedTuple):
    """The server's token counts; -1 for one that it does not report."""

    prompt_tokens: int
    output_tokens: int


class ApiEvent(NamedTuple):
    """What one event of a stream, or a whole document, says.

    texts: generated text, by choice, where there is some; usage: None where it reports none; error: the server's
    message ("" if it gives none) where this is an error instead of an answer; end: the stream ends with this event.
    """

    texts: Sequence[str] = ()
    usage: Usage | None = None
    error: str | None = None
    end: bool = False


@dataclass(kw_only=True)
class Api:
    """Base of the ``api`` group."""

    #: Of the endpoint, below the server's base URL.
    path: ClassVar[str]
    #: The body's last key: what precedes it is kept once for all requests.
    prompt_key: ClassVar[str] = "prompt"
    #: It answers with server-sent events where the user wants a stream.
    streams: ClassVar[bool] = True
    #: It generates text: answers have output tokens, and may be shorter than asked.
    generates: ClassVar[bool] = True
    #: JSON keys of generated text in an event, for ``chunk_template``; without any each event is parsed.
    text_keys: ClassVar[tuple[str, ...]] = ()
    #: The data of the event that ends a stream.
    end_mark: ClassVar[bytes] = b"[DONE]"

    def shared_body(self, model: str, options: RequestOptions) -> dict[str, Any]:
        """The part of the body that all requests share: the model, sampling, stream options."""
        return {"model": model}

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        """The part of the body that is this request's own; the prompt is the last key."""
        raise NotImplementedError

    def read(self, document: dict[str, Any]) -> ApiEvent:
        """What a document, or the data of an event, means. Called for whole answers with status 200 and for events."""
        if is_error(document):
            return ApiEvent(error=self.error_message(document))
        return ApiEvent(usage=usage_of(document))

    def error_message(self, document: Any) -> str:
        """The message in the body of a refusal, or in an error object; "" if there is none."""
        return error_message(document)

    def streamed(self, options: RequestOptions) -> bool:
        """Whether answers come as streams of events."""
        return self.streams and options.stream


def is_error(document: Mapping[str, Any]) -> bool:
    """Whether a document is an error object: {"error": ...}, or vLLM's older {"object": "error", ...}."""
    return bool(document.get("error")) or document.get("object") == "error"


def error_message(document: Any) -> str:
    """The message of an error object in any of the forms that servers use; "" if it has none."""
    if not isinstance(document, dict):
        return ""
    error = document.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    text = error if isinstance(error, str) else document.get("message") or document.get("detail")
    return text if isinstance(text, str) else ""


def usage_of(document: Mapping[str, Any]) -> Usage | None:
    """The token counts under ``usage``, or None where there is no such object."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 31 else UNKNOWN_TOKENS
