"""The APIs (endpoints) of a load: each is one file that builds request bodies and interprets answers.

An API is an option of the config group ``api``. The parser handles only HTTP and server-sent events, and passes each
JSON document to the API. A new endpoint is one file with a subclass of ``Api``; ``path`` and ``own_body`` are enough
for one that neither streams nor generates text. ``_items`` has what answers of vectors and scores have in common, and
``_openai`` what those of generated text have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import msgspec

from benchhydra.client.apis._errors import error_message, is_error, looks_like_error
from benchhydra.client.apis._finish_reasons import is_normal_end
from benchhydra.client.apis._texts import is_blank, joined_text
from benchhydra.records import Anomaly

__all__ = [
    "UNKNOWN_TOKENS",
    "Api",
    "ApiEvent",
    "MediaContent",
    "Payload",
    "PromptContent",
    "RequestOptions",
    "TextCheck",
    "Usage",
    "error_message",
    "is_blank",
    "is_error",
    "is_normal_end",
    "joined_text",
    "looks_like_error",
    "model_of",
    "token_count",
    "usage_anomalies",
    "usage_of",
]

UNKNOWN_TOKENS = UNKNOWN_ITEMS = -1
_MAX_TOKENS = (1 << 31) - 1
_DIFFERS, _IMPOSSIBLE = int(Anomaly.TOTAL_DIFFERS), int(Anomaly.IMPOSSIBLE_USAGE)  # operations on enums are slow


class MediaContent(Protocol):
    """An image or a recording as APIs read it. kind: "image" or "audio"; mime: ``image/png``, ``audio/wav``, ..."""

    @property
    def kind(self) -> str: ...
    @property
    def mime(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class PromptContent(Protocol):
    """A prompt as APIs read it.

    messages: in OpenAI's form, if it is a conversation; texts: of a request with several, see ``datasets.Prompt``;
    body: fields of this request alone.
    """

    @property
    def text(self) -> str: ...
    @property
    def texts(self) -> Sequence[str]: ...
    @property
    def media(self) -> Sequence[MediaContent]: ...
    @property
    def messages(self) -> Sequence[Mapping[str, Any]] | None: ...
    @property
    def body(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """The user's options for all requests of a load.

    stream: request a stream of events, if the API has one; ignore_eos: generate exactly the requested number of output
    tokens; body: further fields of the JSON body, which take precedence over the API's; None leaves a field out.
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
    object the server's message ("" if it has none); end: whether the stream ends with this event; finish: the reason
    why generation ended ("" if it goes on); model: the model's name ("" if not given); anomalies: bits of ``Anomaly``;
    whole: the texts are complete answers, not parts of one; silent: there are choices, and their text is empty, as that
    of special tokens is; reasoning: the texts are a reasoning model's reasoning, not its answer; reasoning_tokens: in
    ``usage`` (-1: not reported); items: vectors or scores in the document (-1: the API has none); malformed: why the
    document is no valid answer ("" for one that is).
    """

    texts: Sequence[str] = ()
    usage: Usage | None = None
    error: str | None = None
    end: bool = False
    finish: str = ""
    model: str = ""
    anomalies: int = 0
    whole: bool = False
    silent: bool = False
    reasoning: bool = False
    reasoning_tokens: int = UNKNOWN_TOKENS
    items: int = UNKNOWN_ITEMS
    malformed: str = ""


class Payload(NamedTuple):
    """The body of a request. kind: its Content-Type."""

    kind: str
    data: bytes


class TextCheck(NamedTuple):
    """What a check of an answer's text found. anomalies: bits of ``Anomaly``; tool_calls: how many the answer has."""

    anomalies: int = 0
    tool_calls: int = 0


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
    #: Whether the server puts a prompt into the model's chat template, whose tokens it counts too.
    templated: ClassVar[bool] = False
    #: JSON keys of generated text in an event, for ``chunk_template``; if empty, every event is parsed as JSON.
    text_keys: ClassVar[tuple[str, ...]] = ()
    #: The data of the event that ends a stream.
    end_mark: ClassVar[bytes] = b"[DONE]"
    #: What the names of the API's own events start with (``event: response.created``); None: its events have no names.
    event_prefix: ClassVar[bytes | None] = None
    #: Whether requests hold the prompt's text, so that the server counts its tokens.
    reads_text: ClassVar[bool] = True
    #: The kind of media that each prompt must have: "audio".
    needs_media: ClassVar[str | None] = None
    #: Kinds of media that prompts may have.
    takes_media: ClassVar[frozenset[str]] = frozenset()
    #: Whether the first text of a request with several is a query for the others.
    has_query: ClassVar[bool] = False

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

    def payload(self, body: dict[str, Any]) -> Payload:
        """Return the body of a request as bytes; ``prompt_key`` is its last key."""
        return Payload("application/json", msgspec.json.encode(body))

    def texts_per_request(self) -> int:
        """Return how many texts of the dataset one request holds."""
        return 1

    def asked_items(self, texts: int) -> int | None:
        """Return how many items the answer to a request with this many texts must have; None if it has none."""
        return None

    def asked_prompt_tokens(self, counts: Sequence[int]) -> int:
        """Return the prompt tokens that the server counts, from those of each text; 0 if that cannot be known."""
        return sum(counts)

    def key_metrics(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        """Return the metrics that tables show first; usual: those of the script."""
        return usual

    def capabilities(self) -> frozenset[str]:
        """Return what a measurement with this API has besides what every load has, for the metrics that need it."""
        return frozenset()

    def separates_reasoning(self) -> bool:
        """Return whether the rows hold where reasoning ends and the answer begins."""
        return False

    def checks_texts(self) -> bool:
        """Return whether ``check_text`` must see the texts of all answers."""
        return False

    def check_text(self, text: str) -> TextCheck:
        """Check the text of a complete answer. Called after the load."""
        return TextCheck()

    def error_message(self, document: Any) -> str:
        """Return the message in the body of an error status or in an error object; "" if there is none."""
        return error_message(document)

    def limits_length(self) -> bool:
        """Return whether requests ask for a number of output tokens."""
        return self.generates

    def fixed_length(self, options: RequestOptions) -> bool:
        """Return whether answers must have exactly the number of tokens that was asked for."""
        return options.ignore_eos and self.limits_length()

    def streamed(self, options: RequestOptions) -> bool:
        """Return whether answers are streams of events."""
        return self.streams and options.stream


def model_of(document: Mapping[str, Any]) -> str:
    """Return the name of the model that answered; "" if there is none."""
    model = document.get("model")
    return model if isinstance(model, str) else ""


def usage_of(document: Mapping[str, Any]) -> Usage | None:
    """Return the token counts under ``usage``; None if there is no such object."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens")))


def usage_anomalies(document: Mapping[str, Any]) -> int:
    """Return what contradicts itself, or is impossible, in the token counts under ``usage``: bits of ``Anomaly``."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return 0
    prompt, output, total = usage.get("prompt_tokens"), usage.get("completion_tokens"), usage.get("total_tokens")
    details = usage.get("completion_tokens_details")
    if details is None and type(prompt) is type(output) is type(total) is int and total == prompt + output:
        return 0 if 0 <= prompt <= _MAX_TOKENS and output >= 0 and total <= _MAX_TOKENS else _IMPOSSIBLE
    if any(count is not None and token_count(count) < 0 for count in (prompt, output, total)):
        return _IMPOSSIBLE
    if None not in (prompt, output, total) and token_count(total) != token_count(prompt) + token_count(output):
        return _DIFFERS
    reasoning = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return _DIFFERS if reasoning and output is not None and token_count(reasoning) > token_count(output) else 0


def token_count(value: Any) -> int:
    """Return a count of tokens, also one that is written as 8.0 or "8"; -1 if it is none, or impossible."""
    if type(value) is not int:
        digits = isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit()
        if not digits and not (isinstance(value, float) and value.is_integer()):
            return UNKNOWN_TOKENS
        value = int(value)
    return value if 0 <= value <= _MAX_TOKENS else UNKNOWN_TOKENS
