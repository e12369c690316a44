"""The body of a streamed answer: counts its content events, mostly with the template of the first one.

The first content event of a stream is parsed as JSON (unless it differs from another stream's only in id and text), and
gives the template. A later body that matches it counts as a content chunk. So does a body that only starts like the
template, has a text, and is exactly one event: its JSON is not checked after the start of the text, so broken JSON
there is not detected. All other bodies are split into events and parsed.
"""

from __future__ import annotations

from benchhydra.client.chunk_template import ChunkTemplate, TemplateLearner
from benchhydra.client.response import Response, ResponseReader
from benchhydra.client.sse import FIELD, EventSplitter, is_event
from benchhydra.records import Status

MAX_BODY_BYTES = 64 << 20  # limit for buffered data; no completion server sends more


class EventStream:
    """Processes the bodies of one stream after another (``begin``).

    ``template``: of the content events, once learnt. ``between``: whether only complete events were received so far.
    """

    def __init__(self, response: Response, reader: ResponseReader, learner: TemplateLearner, end_mark: bytes) -> None:
        self.template: ChunkTemplate | None = None
        self._response = response
        self._reader = reader
        self._learner = learner
        self._end_mark = end_mark
        self._end_event = FIELD + end_mark + b"\n\n"  # as most servers write it
        self._splitter = EventSplitter()
        self.between = True
        self._ended = self._was_split = False
        self._unread = b""  # the last content event that was not parsed, which may contain usage

    def begin(self) -> None:
        """Start a new stream."""
        self.template = None
        self._unread = b""
        self._ended = False
        if self._was_split:
            self._was_split = False
            self.between = True
            self._splitter.begin()

    def take(self, body: bytes) -> None:
        """Process a part of the stream: the body of one HTTP chunk."""
        if not self.between or self._ended:
            self._split(body)
            return
        template = self.template
        if template is not None and body.startswith(template.prefix):
            if template.is_body(body):
                self._response.chunks += 1
                return
            if template.is_like(body):
                self._response.chunks += 1
                self._unread = body
                return
        if body == self._end_event:
            self._end()
        elif is_event(body):
            self._dispatch(body[len(FIELD) : -2], b"")
        else:
            self._split(body)

    def finish(self) -> None:
        """End the stream. A last event without its empty line is dropped (SSE specification), except the end mark."""
        response, splitter = self._response, self._splitter
        self.template = None
        if self._unread:
            self._reader.read_usage(self._unread.partition(b":")[2])
        if self._ended or splitter.finish().strip() == self._end_mark:
            return
        if splitter.junk:
            response.fail(Status.MALFORMED, f"not an event stream: {splitter.junk!r}")
        mark = self._end_mark.decode(errors="replace")
        response.fail(Status.EARLY_END, f"the answer ended without {mark} after {response.chunks} chunks")

    def _split(self, body: bytes) -> None:
        self._was_split = True
        for event in self._splitter.split(body):
            if not self._ended:
                self._dispatch(event.data, event.name)
        if len(self._splitter.line) > MAX_BODY_BYTES:
            self._response.fail(Status.MALFORMED, f"a line of more than {MAX_BODY_BYTES >> 20} MiB")
            self._splitter.drop_line()
        self.between = self._splitter.between

    def _dispatch(self, data: bytes, name: bytes) -> None:
        response, reader = self._response, self._reader
        if data.strip() == self._end_mark:
            self._end()
            return
        if not (response.chunks or name or reader.keep_text):
            self.template = self._learner.recall(data)
            if self.template is not None:
                response.chunks += 1
                return
        event = reader.read(data, name)
        if event is None:
            return
        if event.usage is not None or event.texts:
            self._unread = b""
        if event.texts:
            self.template = None if reader.keep_text else self._learner.learn(data)
        if event.end:
            self._end()

    def _end(self) -> None:
        """Ignore all later events."""
        self._ended = True
        self.template = None
