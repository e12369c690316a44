"""What was received in answer to one request, and how JSON documents add to it, as the API reads them."""

from __future__ import annotations

import msgspec

from benchhydra.client.apis import UNKNOWN_TOKENS, Api, ApiEvent
from benchhydra.records import Status

#: What decoding may raise on bytes from outside.
BROKEN_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
MAX_ERROR = 500  # characters of an error's text that are kept

decode = msgspec.json.Decoder().decode


class Response:
    """The answer to one request, so far.

    ``chunks``: chunks with text (role-only chunks and empty texts are none). ``complete``: the answer ended, well or
    not. ``status`` is None until something is wrong with what was received; ``error`` says what. ``prompt_tokens`` and
    ``output_tokens`` are the server's usage (-1: not reported). ``texts``: kept on request only.
    """

    __slots__ = ("chunks", "complete", "error", "keep_alive", "output_tokens", "prompt_tokens", "status", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Forget the last answer."""
        self.chunks = 0
        self.complete = self.keep_alive = False
        self.status: Status | None = None
        self.error = ""
        self.prompt_tokens = self.output_tokens = UNKNOWN_TOKENS
        if self.texts:
            self.texts = []

    def fail(self, status: Status, text: str) -> None:
        """Note what is wrong. The first failure is the class of the request."""
        if self.status is None:
            self.status, self.error = status, text[:MAX_ERROR]

    def close(self) -> None:
        """Nothing more comes on this connection."""
        self.complete, self.keep_alive = True, False


class ResponseReader:
    """Adds what documents and events say to an answer."""

    def __init__(self, api: Api, response: Response, *, keep_text: bool) -> None:
        self.keep_text = keep_text
        self._api = api
        self._response = response

    def read(self, data: bytes, event_name: bytes = b"") -> ApiEvent | None:
        """Read the JSON of a document or event; None where it is an error, or no JSON object."""
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
        """Note an answer with another status than 200: its JSON message, or the beginning of its body."""
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
