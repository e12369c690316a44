"""The body of a streamed answer: counts its content events, mostly with the template of the first one.

The first content event of a stream is parsed as JSON (unless it differs from another stream's only in id and text), and
gives the template. A later body that matches it counts as a content chunk. So does a body that only starts like the
template, has a text, and is exactly one event without anything remarkable: its JSON is not checked after the start of
the text, so broken JSON there is not detected. All other bodies are split into events and parsed. Nothing is counted
with a template before a text that is not blank, so that an answer without any is detected, and after a finish reason.
"""

from __future__ import annotations

import re

from benchhydra.client.answer_ids import find_answer_id
from benchhydra.client.chunk_template import ChunkTemplate, TemplateLearner
from benchhydra.client.response import Response, ResponseReader, is_error_name
from benchhydra.client.sse import FIELD, EventSplitter, is_event
from benchhydra.records import Anomaly, Status

MAX_EVENT_BYTES = 16 << 20
_REPEATED = int(Anomaly.REPEATED)  # operations on enums are slow
#: Data of heartbeats that some gateways send as events, without JSON.
_HEARTBEAT = re.compile(rb"(?i)\W*(ping|pong|heart[-_ ]?beat|keep[-_ ]?alive|null)?\W*")
_MAX_HEARTBEAT_BYTES = 32
#: What an event that is only like the template may have after its text, and must be read for: another choice, an error,
#: a finish reason. Group 1: a frequent finish reason, for which nothing need be read.
_REMARKABLE = re.compile(
    rb'"finish_reason"\s*:\s*(?:"(length|stop)"|"[^"]|\{)|"index"\s*:\s*[1-9]|"error"\s*:\s*[^n\s]'
)


class EventStream:
    """Processes the bodies of one stream after another (``begin``).

    ``template``: of the content events, once learnt. ``learner``: finds it; it may be replaced between answers.
    ``between``: whether only complete events were received so far.
    """

    def __init__(self, response: Response, reader: ResponseReader, learner: TemplateLearner, end_mark: bytes) -> None:
        self.template: ChunkTemplate | None = None
        self._response = response
        self._reader = reader
        self.learner = learner
        self._end_mark = end_mark
        self._end_event = FIELD + end_mark + b"\n\n"  # as most servers write it
        self._splitter = EventSplitter()
        self.between = True
        self._ended = self._was_split = False
        self._unread = b""  # the last content event that was not parsed, which may contain usage
        self._identified = False  # an event with an id was read

    def begin(self) -> None:
        """Start a new stream."""
        self.template = None
        self._unread = b""
        self._ended = self._identified = False
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
            if template.is_like(body) and self._take_like(body, len(template.prefix)):
                return
        if body == self._end_event:
            self._end()
        elif is_event(body):
            self._dispatch(body[len(FIELD) : -2], b"")
        else:
            self._split(body)

    def _take_like(self, body: bytes, skip: int) -> bool:
        """Count an event that is only like the template; return False if it must be read.

        skip: length of the template's prefix, where the text starts.
        """
        remarkable = _REMARKABLE.search(body, skip)
        if remarkable is not None:
            if not remarkable[1] or _REMARKABLE.search(body, remarkable.end()):
                return False
            self._response.finish = remarkable[1].decode()
            self.template = None
        self._response.chunks += 1
        self._unread = body
        return True

    def finish(self) -> None:
        """End the stream. A last event without its empty line is dropped (SSE specification), except the end mark."""
        response, splitter = self._response, self._splitter
        self.template = None
        if self._unread:
            self._reader.read_rest(self._unread.partition(b":")[2])
        if not (self._ended or splitter.finish().strip() == self._end_mark or response.finish):
            if splitter.junk:
                self._reader.read_no_stream(splitter.junk)
            mark = self._end_mark.decode(errors="replace")
            text = f"the answer ended without finish_reason and {mark} after {response.chunks} chunks"
            response.fail(Status.EARLY_END, text)
        self._reader.check_end(streamed=True)

    def _split(self, body: bytes) -> None:
        self._was_split = True
        response, splitter = self._response, self._splitter
        for event in splitter.split(body):
            if not self._ended:
                self._dispatch(event.data, event.name)
            elif not response.anomalies & _REPEATED and event.data.strip() != self._end_mark:
                self._reader.read_after_end(event.data)
        if splitter.pending_bytes > MAX_EVENT_BYTES:
            if not response.complete:
                response.fail(Status.MALFORMED, f"an event of more than {MAX_EVENT_BYTES >> 20} MiB")
                response.close()
            splitter.drop()
        self.between = splitter.between

    def _dispatch(self, data: bytes, name: bytes) -> None:
        response, reader = self._response, self._reader
        if data.strip() == self._end_mark:
            self._end()
            return
        if response.finish and not name and (usage := self.learner.recall_usage(data)) is not None:
            response.prompt_tokens, response.output_tokens = usage
            self._unread = b""
            return
        if not (response.chunks or name or reader.keep_text):
            recalled = self.learner.recall(data)
            if recalled is not None:
                self._identified = self._identified or reader.identify(recalled.answer_id)
                self.template = recalled.template
                response.chunks += 1
                response.has_text = True
                response.answered = not self.learner.starts_with_reasoning
                return
        if not self._identified:
            self._identified = reader.identify(find_answer_id(data))
        if len(data) < _MAX_HEARTBEAT_BYTES and _HEARTBEAT.fullmatch(data) and not is_error_name(name):
            return
        event = reader.read(data, name)
        if event is None:
            return
        if event.usage is not None or event.texts:
            self._unread = b""
            if not event.texts and response.status is None:
                self.learner.learn_usage(data)
        if event.finish:
            self.template = None
        elif event.texts:
            self.template = self.learner.learn(data) if self._learnable() else None
        if event.end:
            self._end()

    def _learnable(self) -> bool:
        """Return whether later events like the last one need not be read."""
        response = self._response
        return response.has_text and response.status is None and not (response.finish or self._reader.keep_text)

    def _end(self) -> None:
        """Ignore all later events. Without a finish reason, generation ends here."""
        response = self._response
        response.finish = response.finish or self._end_mark.decode(errors="replace")
        self._ended = True
        self.template = None
