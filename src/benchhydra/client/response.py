"""The answer to one request, and the reader that adds JSON documents to it with the help of the API."""

from __future__ import annotations

import msgspec

from benchhydra.client.apis import UNKNOWN_TOKENS, Api, ApiEvent
from benchhydra.records import Status

#: Exceptions that decoding of received bytes may raise.
BROKEN_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
MAX_ERROR = 500  # maximum length of an error's text

decode = msgspec.json.Decoder().decode


class Response:
    """The part of an answer that was received so far.

    ``chunks``: number of chunks with text (without role-only chunks and empty texts). ``complete``: the answer ended,
    successfully or not. ``status``: None, or the class of its failure, with its text in ``error``. ``prompt_tokens``
    and ``output_tokens`` are the server's usage (-1: not reported). ``texts``: only with keep_text.
    """

    __slots__ = ("chunks", "complete", "error", "keep_alive", "output_tokens", "prompt_tokens", "status", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Reset all fields for the next answer."""
        self.chunks = 0
        self.complete = self.keep_alive = False
        self.status: Status | None = None
        self.error = ""
        self.prompt_tokens = self.output_tokens = UNKNOWN_TOKENS
        if self.texts:
            self.texts = []

    def fail(self, status: Status, text: str) -> None:
        """Record a failure. Only the first one counts."""
        if self.status is None:
            self.status, self.error = status, text[:MAX_ERROR]

    def close(self) -> None:
        """Mark the answer as complete and the connection as not reusable."""
        self.complete, self.keep_alive = True, False


class ResponseReader:
    """Adds the content of documents and events to a ``Response``."""

    def __init__(self, api: Api, response: Response, *, keep_text: bool) -> None:
        self.keep_text = keep_text
        self._api = api
        self._response = response

    def read(self, data: bytes, event_name: bytes = b"") -> ApiEvent | None:
        """Read the JSON of a document or event. Returns None if it is an error or not a JSON object (a failure)."""
        response = self._response
        document = self._decode(data)
        if document is None:
            return None
        event = self._api.read(document)
        texts, usage, error, _ = event
        if error is None and event_name == b"error":
            error = self._api.error_message(document)
        if error is not None:
            response.fail(Status.ERROR_EVENT, error or data[:MAX_ERROR].decode(errors="replace"))
            return None
        if usage is not None:
            response.prompt_tokens, response.output_tokens = usage
        if texts:
            response.chunks += 1
            if self.keep_text:
                response.texts += texts
        return event

    def read_usage(self, data: bytes) -> None:
        """Read only the usage of an event whose text was counted before."""
        document = self._decode(data)
        usage = None if document is None else self._api.read(document).usage
        if usage is not None:
            self._response.prompt_tokens, self._response.output_tokens = usage

    def read_refusal(self, http_status: int, body: bytes) -> None:
        """Record an answer with a status other than 200: its JSON message, or the beginning of its body."""
        try:
            message = self._api.error_message(decode(body))
        except BROKEN_JSON:
            message = ""
        kind = {4: Status.HTTP_4XX, 5: Status.HTTP_5XX}.get(http_status // 100, Status.MALFORMED)
        self._response.fail(kind, f"HTTP {http_status}: {message or body[:MAX_ERROR].decode(errors='replace')}")

    def _decode(self, data: bytes) -> dict[str, object] | None:
        try:
            document = decode(data)
        except BROKEN_JSON as error:
            self._response.fail(Status.MALFORMED, f"not JSON ({error}): {data[:100]!r}")
            return None
        if not isinstance(document, dict):
            self._response.fail(Status.MALFORMED, f"not an object: {data[:100]!r}")
            return None
        return document
