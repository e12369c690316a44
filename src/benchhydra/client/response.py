"""The answer to one request, and the reader that adds JSON documents to it with the help of the API."""

from __future__ import annotations

from collections.abc import Sequence, Set

from benchhydra.client.answer_ids import LEAST_CHARACTERS, AnswerIds
from benchhydra.client.answer_text import REASONING_END
from benchhydra.client.apis import (
    UNKNOWN_ITEMS,
    UNKNOWN_TOKENS,
    Api,
    ApiEvent,
    error_message,
    is_blank,
    is_error,
    is_normal_end,
)
from benchhydra.client.lenient_json import BROKEN_JSON, decode
from benchhydra.client.model_names import ANY, same_model
from benchhydra.fetch import describe_redirect
from benchhydra.records import Anomaly, Status
from benchhydra.redaction import excerpt

MAX_ERROR = 500  # maximum length of an error's text
MAX_TEXT_CHARACTERS = 64 << 20  # with keep_text
#: Words in the names of events that are errors. Other events with a name are skipped if they have no content.
_ERROR_NAMES = (b"error", b"exception")
_GZIP = b"\x1f\x8b"


class Response:
    """The part of an answer that was received so far.

    ``chunks``: number of chunks with text (without role-only chunks and empty texts). ``has_text``: one of them is not
    blank. ``silent``: number of events whose text is empty. ``whole``: the last text was a whole answer, not a part of
    one. ``complete``: the answer ended, successfully or not. ``status``: None, or the class of its failure, with its
    text in ``error``. ``prompt_tokens`` and ``output_tokens`` are the server's usage (-1: not reported). ``finish``:
    the finish reason, or the end mark of a stream without any ("": none yet). ``anomalies``: bits of ``Anomaly``.
    ``texts``: only with keep_text; ``REASONING_END`` stands between reasoning and answer. ``answered``: a text that is
    no reasoning was received, after ``reasoning_chunks`` chunks. ``reasoning_tokens``, ``items``: as in ``ApiEvent``.
    """

    __slots__ = (
        *("anomalies", "answered", "chunks", "complete", "error", "finish", "has_text", "items", "keep_alive"),
        *("output_tokens", "prompt_tokens", "reasoning_chunks", "reasoning_tokens", "silent", "status"),
        *("texts", "whole"),
    )

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Reset all fields for the next answer."""
        self.chunks = self.silent = self.anomalies = self.reasoning_chunks = 0
        self.complete = self.keep_alive = self.has_text = self.whole = self.answered = False
        self.finish = ""
        self.status: Status | None = None
        self.error = ""
        self.prompt_tokens = self.output_tokens = self.reasoning_tokens = UNKNOWN_TOKENS
        self.items = UNKNOWN_ITEMS
        if self.texts:
            self.texts = []

    def text(self) -> str:
        """Return the text that was received, with the separators of ``answer_text``. Only with keep_text."""
        reasoning_alone = self.chunks > 0 and not self.answered
        return "".join(self.texts) + REASONING_END * reasoning_alone

    def fail(self, status: Status, text: str) -> None:
        """Record a failure. Only the first one counts."""
        if self.status is None:
            self.status, self.error = status, excerpt(text, MAX_ERROR)

    def close(self) -> None:
        """Mark the answer as complete and the connection as not reusable."""
        self.complete, self.keep_alive = True, False


class ResponseReader:
    """Adds the content of documents and events to a ``Response``."""

    def __init__(
        self, api: Api, response: Response, answer_ids: AnswerIds, *, keep_text: bool, model: str = ""
    ) -> None:
        self.keep_text = keep_text
        self._model = model
        self._other_models: Set[str] = frozenset()
        self._api = api
        self._response = response
        self._answer_ids = answer_ids
        self._answer_id = b""  # of the last answer on this connection
        self._text_characters = 0

    def expect(self, model: str, others: Set[str]) -> None:
        """Set the name that answers must have. others: names that are never taken for it, however alike."""
        self._model, self._other_models = model, others

    def read(self, data: bytes, event_name: bytes = b"") -> ApiEvent | None:
        """Read the JSON of a document or event. Returns None if it has no content, or is a failure."""
        foreign = bool(event_name) and event_name != b"message" and not self._is_own(event_name)
        if foreign and is_error_name(event_name):
            self.read_error(data)
            return None
        document = self._decode(data, foreign=foreign)
        if document is None:
            return None
        event = self._api.read(document)
        if event.error is not None:
            if not foreign or is_error(document):
                self._response.fail(Status.ERROR_EVENT, event.error or _beginning(data))
            return None
        if event.malformed:
            self._response.fail(Status.MALFORMED, event.malformed)
            return None
        self._add(event)
        return event

    def _is_own(self, event_name: bytes) -> bool:
        """Return whether an event's name is one that the API gives to its events."""
        prefix = self._api.event_prefix
        return prefix is not None and event_name.startswith(prefix)

    def read_rest(self, data: bytes) -> None:
        """Read what an event has apart from its text, which was counted before."""
        document = self._decode(data)
        if document is None:
            return
        event = self._api.read(document)
        if event.error is not None:
            self._response.fail(Status.ERROR_EVENT, event.error or _beginning(data))
        self._add(event._replace(texts=()))

    def check_end(self, *, streamed: bool) -> None:
        """Check a complete answer with status 200: it must have text, or show that it has tokens without any.

        That is an event for each token in a stream, and a finish reason in a document.
        """
        response = self._response
        if not self._api.generates or response.has_text or response.status is not None:
            return
        events, tokens = response.chunks + response.silent, response.output_tokens
        if tokens > 0 and (events >= tokens if streamed else events and response.finish):
            response.anomalies |= Anomaly.BLANK
            return
        usage = "no usage" if tokens < 0 else f"usage says {tokens} tokens"
        text = f"only white space in {response.chunks} chunks" if response.chunks else "no text"
        response.fail(Status.EMPTY, f"the answer has {text} ({usage})")

    def _add(self, event: ApiEvent) -> None:
        """Add an event to the response."""
        response = self._response
        texts, usage, _, _, finish, model, anomalies, whole, silent, reasoning, reasoning_tokens, items, _ = event
        if usage is not None:
            response.prompt_tokens, response.output_tokens = usage
        if anomalies:
            response.anomalies |= anomalies
        if model and model != self._model:
            self._check_model(model)
        if reasoning_tokens >= 0:
            response.reasoning_tokens = reasoning_tokens
        if items >= 0:
            response.items = items
        if texts:
            self._add_texts(texts, finish, whole, reasoning)
        elif silent:
            response.silent += 1
        if finish:
            response.finish = finish
            if not is_normal_end(finish):
                response.fail(Status.ABORTED, f"finish_reason {finish!r} after {response.chunks} chunks")

    def _check_model(self, model: str) -> None:
        """Fail an answer whose model's name, which is not the expected one, does not mean the same model."""
        others = self._other_models
        if model in others or not same_model(self._model, model):
            text = f"another model answered: {model!r}; {self._model!r} was asked for"
            same = ANY if others else model  # the name of one adapter would not do for the others
            self._response.fail(Status.OTHER_MODEL, f"{text} (script.answer_model={same} if it is the same)")

    def _add_texts(self, texts: Sequence[str], finish: str, whole: bool, reasoning: bool) -> None:
        """Count texts as one chunk; those that only repeat the answer, after its parts or its end, do not count."""
        response = self._response
        if (whole and response.chunks and not response.whole) or (response.finish and not finish):
            response.anomalies |= Anomaly.REPEATED
            return
        response.whole = whole
        if not reasoning and not response.answered:
            response.answered = True
            response.reasoning_chunks = response.chunks
            if self.keep_text and response.chunks:
                response.texts.append(REASONING_END)
        response.chunks += 1
        response.has_text = response.has_text or not all(map(is_blank, texts))
        if self.keep_text:
            response.texts += texts
            self._text_characters = sum(map(len, texts)) + (self._text_characters if response.chunks > 1 else 0)
            if self._text_characters > MAX_TEXT_CHARACTERS:
                response.fail(Status.MALFORMED, f"an answer of more than {MAX_TEXT_CHARACTERS >> 20} Mi characters")
                response.close()

    def read_refusal(self, http_status: int, body: bytes, location: str = "") -> None:
        """Record an answer with a status other than 200: its JSON message, or the beginning of its body."""
        try:
            message = self._api.error_message(decode(body))
        except BROKEN_JSON:
            message = ""
        if location and 300 <= http_status < 400:
            message = describe_redirect(location, self._api.path)
        kind = {4: Status.HTTP_4XX, 5: Status.HTTP_5XX}.get(http_status // 100, Status.MALFORMED)
        self._response.fail(kind, f"HTTP {http_status}: {message or _beginning(body) or 'no body'}")

    def identify(self, answer_id: bytes) -> bool:
        """Process the id of an answer; False if it may not be unique. Ends an answer to the request before."""
        if len(answer_id) < LEAST_CHARACTERS:
            return False
        if self._answer_ids.is_repeated(self._answer_id, answer_id):
            self._response.fail(Status.MALFORMED, "the server sent the answer to the request before again")
            self._response.close()
        self._answer_id = answer_id
        return True

    def read_after_end(self, data: bytes) -> None:
        """Read an event after the end of the stream, which must have no text."""
        try:
            document = decode(data)
        except BROKEN_JSON:
            return
        if isinstance(document, dict) and self._api.read(document).texts:
            self._response.anomalies |= Anomaly.REPEATED

    def read_error(self, data: bytes) -> None:
        """Record the data of an event that is called an error."""
        try:
            message = error_message(decode(data))
        except BROKEN_JSON:
            message = ""
        self._response.fail(Status.ERROR_EVENT, message or _beginning(data) or "an error without a message")

    def read_no_stream(self, body: bytes) -> None:
        """Record an answer with status 200 that is not an event stream; body: its beginning, at least."""
        try:
            document = decode(body)
        except BROKEN_JSON:
            document = None
        if isinstance(document, dict) and self._api.read(document).error is not None:
            self.read_error(body)
        elif body.startswith(_GZIP):
            self._response.fail(Status.MALFORMED, "the answer is compressed with gzip, which was not asked for")
        else:
            self._response.fail(Status.MALFORMED, f"not an event stream: {excerpt(body, 100).encode()!r}")

    def _decode(self, data: bytes, *, foreign: bool = False) -> dict[str, object] | None:
        """Return the JSON object in ``data``; None if there is none, which is a failure unless the event is foreign."""
        try:
            document = decode(data)
        except BROKEN_JSON as error:
            if not foreign:
                self._response.fail(Status.MALFORMED, f"not JSON ({error}): {excerpt(data, 100).encode()!r}")
            return None
        if not isinstance(document, dict):
            if not foreign:
                self._response.fail(Status.MALFORMED, f"not an object: {excerpt(data, 100).encode()!r}")
            return None
        return document


def is_error_name(event_name: bytes) -> bool:
    """Return whether an event with this name is an error: ``error``, ``upstream_error``."""
    return any(name in event_name.lower() for name in _ERROR_NAMES)


def _beginning(data: bytes) -> str:
    return excerpt(data, MAX_ERROR)
