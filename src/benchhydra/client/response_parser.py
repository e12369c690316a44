"""Parses HTTP answers incrementally: bytes in, a ``Response`` out. Pure: no socket, no clock, independent of packets.

Most packets take a fast path: HTTP chunks that match the stream's template, one or several at the start of a packet,
are counted without httptools. Everything else is parsed as HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Set

from benchhydra.client.answer_ids import AnswerIds, find_answer_id
from benchhydra.client.apis import Api
from benchhydra.client.chunk_template import ChunkTemplate, TemplateLearner
from benchhydra.client.event_stream import EventStream
from benchhydra.client.http_framing import LOCATION, Body, HttpFraming
from benchhydra.client.response import Response, ResponseReader
from benchhydra.client.retry_after import retry_after_s
from benchhydra.records import Status

_CHUNK_END = b"\n\n\r\n"  # the end of an HTTP chunk that ends with an event
MAX_BODY_BYTES = 64 << 20  # of a document; no completion server sends more
_EVENTS_BEFORE_CONTENT = 2  # events until a template is known: the role of a chat, and the first content


class ResponseParser:
    """The answer to one request, then to the next one on the same connection (after ``begin``).

    learner, answer_ids: shared by all connections to a server. model: the name that answers must have; "": any.
    """

    def __init__(
        self,
        api: Api,
        learner: TemplateLearner,
        answer_ids: AnswerIds | None = None,
        *,
        stream: bool = True,
        keep_text: bool = False,
        model: str = "",
    ) -> None:
        self.response = Response()
        self._reader = ResponseReader(api, self.response, answer_ids or AnswerIds(), keep_text=keep_text, model=model)
        self._stream = EventStream(self.response, self._reader, learner, api.end_mark) if stream else None
        self._document = _Document(self.response, self._reader)
        self._framing = HttpFraming(self.response, self)
        self._next: ChunkTemplate | None = None  # the template if the next byte starts an HTTP chunk and an event

    def begin(self) -> None:
        """Prepare for the next answer on the same connection."""
        self._next = None
        self.response.begin()
        self._framing.begin()
        if self._stream is not None:
            self._stream.begin()

    def expect(self, model: str, others: Set[str], learner: TemplateLearner) -> None:
        """Set the model's name that answers must have from now on. Call it between answers.

        others: names of the load's other models, which are never taken for this one. learner: has read answers with
        this name only, because events that match a template are not read for their model.
        """
        self._reader.expect(model, others)
        if self._stream is not None:
            self._stream.learner = learner

    def feed(self, data: bytes) -> int:
        """Process received bytes. Returns the number of chunks with text in them."""
        return 1 if self.take_chunk(data) else self.take(data)

    def take_chunk(self, data: bytes) -> bool:
        """Process a packet that is exactly one chunk matching the template, as most are; else return False."""
        template = self._next
        if template is None or not template.is_chunk(data):
            return False
        self.response.chunks += 1
        return True

    def take(self, data: bytes) -> int:
        """Process any packet for which ``take_chunk`` returned False. Returns the number of chunks with text in it."""
        response = self.response
        before = response.chunks
        if not before and self._stream is not None:
            data = self._take_beginning(data)
        template = self._next
        if template is not None:
            chunks, length = template.leading_chunks(data)
            response.chunks += chunks
            data = data[length:]
        if data:
            self._frame(data)
        return response.chunks - before

    def retry_after_s(self) -> float | None:
        """Return the wait in seconds that the server asks for before another try; None if it asks for none."""
        return retry_after_s(self._framing.headers, time.time())

    def end(self, error: str = "") -> None:
        """Process the end of the connection. error: the system error as text; "": the server closed it normally."""
        self._framing.end(error)

    def body_for(self, http_status: int) -> Body:
        """Return the receiver of an answer's body: the stream of events, or a buffered document."""
        if self._stream is not None and http_status == 200:
            return self._stream
        self._document.begin()
        return self._document

    def finish(self, http_status: int) -> None:
        """Finish the answer."""
        if self._stream is not None and http_status == 200:
            self._stream.finish()
        else:
            self._document.finish(http_status, self._framing.headers.get(LOCATION, b"").decode("latin-1"))

    def _take_beginning(self, data: bytes) -> bytes:
        """Process the events of a packet up to the first one with content. Returns the remaining bytes."""
        for _ in range(_EVENTS_BEFORE_CONTENT):
            if self.response.chunks:
                break
            cut = data.find(_CHUNK_END) + len(_CHUNK_END)
            if not len(_CHUNK_END) <= cut < len(data):
                break
            self._frame(data[:cut])
            data = data[cut:]
        return data

    def _frame(self, data: bytes) -> None:
        self._framing.feed(data)
        stream = self._stream
        if stream is not None:
            self._next = stream.template if stream.between and data.endswith(_CHUNK_END) else None


class _Document:
    """A body that is buffered until it is complete: one JSON document, or the body of an error status."""

    def __init__(self, response: Response, reader: ResponseReader) -> None:
        self._response = response
        self._reader = reader
        self._data = bytearray()

    def begin(self) -> None:
        """Start a new body."""
        self._data = bytearray()

    def take(self, body: bytes) -> None:
        """Append a part of the body."""
        if len(self._data) + len(body) <= MAX_BODY_BYTES:
            self._data += body
        elif not self._response.complete:
            self._response.fail(Status.MALFORMED, f"an answer of more than {MAX_BODY_BYTES >> 20} MiB")
            self._response.close()

    def finish(self, http_status: int, location: str) -> None:
        """Read the complete body."""
        data, self._data = bytes(self._data), bytearray()
        if http_status != 200:
            self._reader.read_refusal(http_status, data, location)
        elif self._response.status is None:
            self._reader.identify(find_answer_id(data))
            self._reader.read(data)
            self._reader.check_end(streamed=False)
