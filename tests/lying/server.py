"""The simulated server: turns a request and its time of arrival into timed bytes, and knows the truth about them.

It is pure: no socket and no clock. ``tests.lying.virtual`` and ``tests.lying.sockets`` play its answers.
"""

from __future__ import annotations

import gzip
import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from tests.lying.behaviour import Behaviour

MODEL = "test-model"
MS = 1e6
ABORTS = ("abort", "error", "cancelled", "content_filter")
#: Events that say that generation has failed.
ERRORS = (
    b'data: {"error": {"message": "out of memory", "code": 500}}\n\n',
    b'data: {"error": "out of memory"}\n\n',
    b'data: {"object": "error", "message": "out of memory"}\n\n',
    b'data: {"code": 50001, "message": "upstream failed"}\n\n',
    b'data: {"detail": "out of memory"}\n\n',
    b'data: {"errors": [{"message": "out of memory"}]}\n\n',
    b'data: {"error": {"code": 500}, "choices": []}\n\n',
    b'data: {"status": "error", "msg": "out of memory"}\n\n',
    b'event: error\ndata: {"message": "out of memory"}\n\n',
    b"event: error\ndata: out of memory\n\n",
    b'data: {"choices": [{"index": 0, "error": {"message": "out of memory"}, "finish_reason": null}]}\n\n',
)
STATUSES = (429, 500, 503)


def _http(status: str, kind: str, body: bytes, *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


NO_ANSWERS = (
    _http("200 OK", "text/html", b"<html><body>Welcome</body></html>"),
    _http("200 OK", "text/event-stream", b""),
    _http("200 OK", "application/json", b"{}"),
    _http("200 OK", "application/json", b"null"),
    _http("200 OK", "text/event-stream", gzip.compress(b"data: [DONE]\n\n"), "content-encoding: gzip"),
    _http("200 OK", "text/event-stream", b"data: [DONE]\n\n"),
    _http("307 Temporary Redirect", "text/plain", b"", "location: http://127.0.0.1:1/other"),
    b"HTTP/1.1 204 No Content\r\n\r\n",
)
ODD_TEXTS = (" a", ' "q"', "\\", "\n", " ", "\U0001f600", "ä", "data: ", "\u2028", "[DONE]", "}")
BROKEN = (b'{"choices":[{"text":', b"{broken", b'{"choices":[{"index":0,"text":" x"}]', b"[1, 2]")


#: By (spaces between, only ASCII).
_ENCODERS = {
    (spaces, ascii_only): json.JSONEncoder(
        separators=(", ", ": ") if spaces else (",", ":"), ensure_ascii=bool(ascii_only)
    )
    for spaces in (False, True)
    for ascii_only in (0, 1)
}


class Packet(NamedTuple):
    """Bytes that the server sends at a time. ``data``: None for an orderly end of the connection, b"" for a reset."""

    at_ns: int
    data: bytes | None


@dataclass(kw_only=True)
class TrueAnswer:
    """What is true of one request.

    steps_ns: times of the steps of generation that gave text, by choice; generated_ns: the last step, with or without
    text; end_ns: the end of the answer at the server (-1: it has none).
    """

    received_ns: int
    completed: bool
    steps_ns: list[list[int]] = field(default_factory=list)
    generated_ns: int = -1
    tokens: int = 0
    end_ns: int = -1


class Request(NamedTuple):
    """A request as the server reads it."""

    row: int
    output_tokens: int
    stream: bool
    chat: bool


class _Event(NamedTuple):
    at_ns: int
    lines: bytes  # of the event stream, with LF


def read_request(data: bytes) -> Request:
    """Read an encoded request; its prompt is the number of its row."""
    head, _, body = data.partition(b"\r\n\r\n")
    document = json.loads(body)
    chat = b"/chat/" in head.split(b"\r\n", 1)[0]
    prompt = document["messages"][0]["content"] if chat else document["prompt"]
    return Request(int(prompt), document["max_tokens"], bool(document["stream"]), chat)


class LyingServer:
    """Answers requests in order of their arrival. ``truth``: by row."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.truth: dict[int, TrueAnswer] = {}
        self._free_ns: list[int] = [0] * (behaviour.slots or 0)

    def read(self, data: bytes) -> Request:
        """Read an encoded request."""
        return read_request(data)

    def answer(self, request: Request, received_ns: int) -> list[Packet]:
        """Return what the server sends for a request that has arrived at ``received_ns``, in order of time."""
        rng = np.random.default_rng([self.behaviour.seed, request.row])  # whatever the order of arrival
        faults = {fault.name: fault.variant for fault in self.behaviour.faults if rng.random() < fault.fraction}
        if {"http_error", "no_answer", "dropped"} & faults.keys():
            return self._refusal(request, received_ns, faults)
        if "wrong_kind" in faults:
            request = request._replace(stream=not request.stream)
        return _Answer(self, request, received_ns, faults, rng).packets()

    def start_ns(self, received_ns: int) -> int:
        """Return when a request's work begins."""
        free_ns = heapq.heappop(self._free_ns) if self.behaviour.slots else received_ns
        return max(received_ns, free_ns)

    def ends(self, at_ns: int) -> None:
        """Free a slot at a time."""
        if self.behaviour.slots:
            heapq.heappush(self._free_ns, at_ns)

    def _refusal(self, request: Request, received_ns: int, faults: dict[str, int]) -> list[Packet]:
        at_ns = received_ns + int(2 * MS)
        self.truth[request.row] = TrueAnswer(received_ns=received_ns, completed=False, end_ns=at_ns)
        if "dropped" in faults:
            return [Packet(received_ns, b"")]
        if "no_answer" in faults:
            return [Packet(at_ns, NO_ANSWERS[faults["no_answer"] % len(NO_ANSWERS)])]
        status = STATUSES[faults["http_error"] % len(STATUSES)]
        return [Packet(at_ns, _http(f"{status} Busy", "application/json", b'{"error": {"message": "busy"}}'))]


class _Answer:
    """One answer while it is built: tokens, events, HTTP, packets."""

    def __init__(
        self, server: LyingServer, request: Request, received_ns: int, faults: dict[str, int], rng: np.random.Generator
    ) -> None:
        self._behaviour = server.behaviour
        self._request = request
        self._faults = faults
        self._rng = rng
        self._choices = 3 if "several_choices" in faults else 1
        behaviour = self._behaviour
        length = request.output_tokens
        if behaviour.natural_end:
            length = max(1, round(length * (1 - behaviour.natural_end * rng.random())))
        length = 2 * length if "too_many" in faults else max(1, length // 2) if "too_few" in faults else length
        self._eos = behaviour.eos and length < request.output_tokens
        steps = -(-length // behaviour.step_tokens)
        self._tokens = length + self._eos
        start_ns = server.start_ns(received_ns)
        prefill_ns = behaviour.prefill_ms * MS * (1 + behaviour.prefill_spread * rng.uniform(-1, 1))
        gaps_ns = behaviour.decode_ms * MS * (1 + behaviour.decode_spread * rng.uniform(-1, 1, steps - 1 + self._eos))
        self._start_ns = start_ns
        times_ns = start_ns + prefill_ns + np.concatenate(([0.0], np.cumsum(gaps_ns)))
        self._steps_ns: list[int] = times_ns.astype(np.int64).tolist()
        self._generated_ns: int = self._steps_ns[-1]
        server.ends(self._generated_ns)
        del self._steps_ns[steps:]
        self._kept = len(self._steps_ns)  # steps until the answer breaks off
        if {"aborted", "error_event", "early_end", "reset", "malformed", "stalled"} & faults.keys():
            self._kept = int(rng.integers(0, len(self._steps_ns)))
        if "empty" in faults:
            self._kept = 0
        failing = {
            "empty", "blank", "aborted", "other_model", "error_event", "early_end", "reset", "malformed", "stalled",
            "wrong_kind",
        }  # fmt: skip
        self._truth = server.truth[request.row] = TrueAnswer(
            received_ns=received_ns,
            completed=not failing & faults.keys(),
            steps_ns=[self._steps_ns] * self._choices,
            generated_ns=self._generated_ns,
            tokens=self._tokens * self._choices,
        )

    @property
    def _end_ns(self) -> int:
        if self._kept == len(self._steps_ns):
            return self._generated_ns
        return self._steps_ns[max(0, self._kept - 1)]

    def packets(self) -> list[Packet]:
        self._truth.end_ns = self._end_ns
        bodies = self._stream_bodies() if self._request.stream else [(self._end_ns, self._document())]
        bodies = self._gathered(bodies)
        if self._request.stream and self._behaviour.chunks_anywhere:
            bodies = self._recut(bodies)
        packets = self._framed(bodies)
        if "stalled" in self._faults:
            self._truth.end_ns = -1
            return [packet for packet in packets[: max(1, len(packets) // 2)] if packet.data is not None]
        if "reset" in self._faults:
            return [*packets[: max(1, len(packets) - 2)], Packet(packets[-1].at_ns, b"")]
        if "repeated_message" in self._faults:
            packets += self._repeated(packets)
        return self._cut(packets) if self._behaviour.cuts else packets

    # events

    def _stream_bodies(self) -> list[tuple[int, bytes]]:
        behaviour = self._behaviour
        events = [*self._before(), *self._content(), *self._after()]
        if "repeated_events" in self._faults:
            events = [event for event in events for _ in range(2)]
        if "repeated_answer" in self._faults:
            ends = [event for event in events if b"[DONE]" in event.lines]
            once = [event for event in events if event not in ends]
            events = [*once, *(_Event(self._end_ns, event.lines) for event in once), *ends]
        newline = behaviour.newline.encode()
        bodies = [(event.at_ns, event.lines.replace(b"\n", newline)) for event in events]
        if behaviour.bom and bodies:
            bodies[0] = (bodies[0][0], b"\xef\xbb\xbf" + bodies[0][1])
        return bodies

    def _before(self) -> list[_Event]:
        behaviour, start_ns, first_ns = self._behaviour, self._start_ns, self._steps_ns[0]
        events = []
        for part in range(1, 4):
            at_ns = start_ns + (first_ns - start_ns) * part // 4
            if behaviour.comments:
                events.append(_Event(at_ns, b": keep-alive\n\n"))
            if behaviour.empty_data:
                events.append(_Event(at_ns, b"data: \n\n"))
            if behaviour.pings:
                events.append(_Event(at_ns, b'event: ping\ndata: {"type":"ping","n":1}\n\n'))
        if behaviour.filter_first:
            events.append(self._event(start_ns, {"choices": [], "prompt_filter_results": []}))
        if behaviour.role_first and self._request.chat:
            delta = {"role": "assistant", "content": ""}
            events.append(self._event(start_ns, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
        if "early_space" in self._faults:
            events.append(self._event(start_ns, {"choices": [self._choice(" ", 0, 0)]}))
        return sorted(events, key=lambda event: event.at_ns)

    def _content(self) -> list[_Event]:
        events = []
        for step in range(self._kept):
            at_ns, tokens = self._steps_ns[step], self._tokens_of(step)
            if self._behaviour.empty_texts and step % 3 == 1:
                events.append(self._event(at_ns, {"choices": [self._choice("", 0, step)]}))
            for index in range(self._choices):
                choice = self._choice(self._text(step, tokens), index, step)
                last = step == self._kept - 1 and self._kept == len(self._steps_ns) and not self._eos
                if last and self._behaviour.finish_in_last and "aborted" not in self._faults:
                    choice["finish_reason"] = self._behaviour.finish_reason
                more: dict[str, Any] = {}
                if self._behaviour.usage_in == "every" and "no_usage" not in self._faults:
                    more["usage"] = self._usage((step + 1) * self._behaviour.step_tokens)
                events.append(self._event(at_ns, {"choices": self._choices_of(choice), **more}))
        return events

    def _choices_of(self, choice: dict[str, Any]) -> list[dict[str, Any]] | None:
        if "blank" not in self._faults:
            return [choice]
        return ([choice], [], None)[self._faults["blank"] % 5 % 3]

    def _after(self) -> list[_Event]:
        behaviour, faults, at_ns = self._behaviour, self._faults, self._end_ns
        if "error_event" in faults:
            error = ERRORS[faults["error_event"] % len(ERRORS)]
            return [_Event(at_ns, error), _Event(at_ns, self._done())]
        if "malformed" in faults:
            lines = b"data: %b\n\n" % BROKEN[faults["malformed"] % len(BROKEN)]
            return [_Event(at_ns, lines), _Event(at_ns, self._done())]
        if "early_end" in faults or "reset" in faults:
            return []
        events = []
        usage = {} if "no_usage" in faults else {"usage": self._usage(self._tokens)}
        finish = "abort" if "aborted" in faults else behaviour.finish_reason
        if "aborted" in faults:
            finish = ABORTS[faults["aborted"] % len(ABORTS)]
        if not behaviour.finish_in_last or self._kept < len(self._steps_ns) or self._eos:
            for index in range(self._choices):
                choice = {**self._choice("", index, 0), "finish_reason": finish}
                more = usage if behaviour.usage_in == "last" else {}
                events.append(self._event(at_ns, {"choices": [choice], **more}))
        elif behaviour.usage_in == "last":
            events.append(self._event(at_ns, {"choices": [], **usage}))
        if behaviour.usage_in in ("own", "every") and usage:
            events.append(self._event(at_ns, {"choices": [], **usage}))
        if behaviour.done:
            events.append(_Event(at_ns, self._done()))
        return events

    def _done(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _event(self, at_ns: int, content: dict[str, Any]) -> _Event:
        behaviour = self._behaviour
        kind = "chat.completion.chunk" if self._request.chat else "text_completion"
        data = self._json({"id": f"cmpl-{self._request.row:032x}", "object": kind, "created": 1}, content)
        field = b"data: " if behaviour.space else b"data:"
        if behaviour.split_data:
            cut = data.index(b",") + 1
            lines = field + data[:cut] + b"\n" + field + data[cut:] + b"\n\n"
        else:
            lines = field + data + b"\n\n"
        before = b"id: 7\nretry: 100\n" if behaviour.ids else b""
        return _Event(at_ns, before + b"event: message\n" + lines if behaviour.message_events else before + lines)

    def _json(self, head: dict[str, Any], content: dict[str, Any]) -> bytes:
        behaviour = self._behaviour
        model = {"model": "other" if "other_model" in self._faults else MODEL} if behaviour.model_named else {}
        if "other_model" in self._faults:
            model = {"model": "other"}
        if behaviour.nulls:
            content = {"usage": None, "error": None, "system_fingerprint": None, **content}
        document = {**head, **content, **model} if behaviour.model_last else {**head, **model, **content}
        return _ENCODERS[behaviour.json_spaces, self._request.row % 2].encode(document).encode()

    def _choice(self, text: str, index: int, step: int) -> dict[str, Any]:
        if not self._request.chat:
            return {"index": index, "text": text, "logprobs": None, "finish_reason": None}
        return {"index": index, "delta": self._delta(text, step), "finish_reason": None}

    def _delta(self, text: str, step: int) -> dict[str, Any]:
        thinking = step < len(self._steps_ns) // 2
        kind = self._behaviour.text_as
        if not text:
            return {} if self._faults.get("blank", 0) % 2 == 0 else {"content": text}
        if kind == "parts":
            return {"content": [{"type": "text", "text": text}]}
        if kind == "thinking_parts" and thinking:
            return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}
        if kind in ("reasoning", "reasoning_content") and thinking:
            return {kind: text, "content": None}
        if kind == "tool_calls":
            return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        return {"content": text}

    def _tokens_of(self, step: int) -> int:
        return min(self._behaviour.step_tokens, self._tokens - self._eos - step * self._behaviour.step_tokens)

    def _text(self, step: int, tokens: int) -> Any:
        if "blank" in self._faults:
            return ("", "", "", None, " ")[self._faults["blank"] % 5]
        if self._behaviour.odd_texts and step:
            return "".join(ODD_TEXTS[(step + i) % len(ODD_TEXTS)] for i in range(tokens))
        return "".join(f" w{(step + i) % 17}" for i in range(tokens))

    def _usage(self, tokens: int) -> dict[str, int]:
        faults = self._faults
        output = min(tokens, self._tokens) * self._choices
        output = 0 if "empty" in faults else output
        if "aborted" in faults:
            output = (self._kept * self._behaviour.step_tokens) * (faults["aborted"] % 2)
        if "usage_low" in faults:
            output //= 2
        if "usage_high" in faults:
            output *= (2, 10, 1000)[faults["usage_high"] % 3]
        usage = {"prompt_tokens": 8, "completion_tokens": output, "total_tokens": 8 + output}
        if "total_differs" in faults:
            usage["total_tokens"] += max(3, output)
        return usage

    def _document(self) -> bytes:
        text = "" if {"empty", "blank"} & self._faults.keys() else "".join(
            self._text(step, self._tokens_of(step)) or "" for step in range(self._kept)
        )  # fmt: skip
        finish = self._behaviour.finish_reason
        if "aborted" in self._faults:
            finish = ABORTS[self._faults["aborted"] % len(ABORTS)]
        key = "message" if self._request.chat else "text"
        value: Any = {"role": "assistant", "content": text} if self._request.chat else text
        choices = [{"index": index, key: value, "finish_reason": finish} for index in range(self._choices)]
        usage = {} if "no_usage" in self._faults else {"usage": self._usage(self._tokens)}
        if "error_event" in self._faults:
            return ERRORS[self._faults["error_event"] % len(ERRORS)].partition(b"data: ")[2].strip()
        if "malformed" in self._faults:
            return BROKEN[self._faults["malformed"] % len(BROKEN)]
        return self._json({"id": f"cmpl-{self._request.row:032x}", "object": "x"}, {"choices": choices, **usage})

    # HTTP

    def _gathered(self, bodies: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        behaviour, end_ns = self._behaviour, bodies[-1][0] if bodies else 0
        if "one_piece" in self._faults:
            return [(end_ns, body) for _, body in bodies]
        if "gathered" not in self._faults:
            return bodies
        if behaviour.gather_ms is not None:
            grid_ns = int(behaviour.gather_ms * MS)
            return [(-(-at_ns // grid_ns) * grid_ns, body) for at_ns, body in bodies]
        size = behaviour.gather_events
        before = sum(at_ns < self._steps_ns[0] for at_ns, _ in bodies)  # passed on: else the first token may be alone
        ends = [
            bodies[i if i < before else min(len(bodies), before + ((i - before) // size + 1) * size) - 1][0]
            for i in range(len(bodies))
        ]
        return [(at_ns, body) for at_ns, (_, body) in zip(ends, bodies, strict=True)]

    def _recut(self, bodies: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Cut the same stream elsewhere: every body ends at a random byte of what was to be sent by then."""
        parts: list[tuple[int, bytes]] = []
        for at_ns, body in bodies:
            cut = int(self._rng.integers(0, len(body)))
            parts += [(at_ns, body[:cut]), (at_ns, body[cut:])]
        return [(at_ns, body) for at_ns, body in parts if body]

    def _framed(self, bodies: list[tuple[int, bytes]]) -> list[Packet]:
        behaviour = self._behaviour
        first_ns = bodies[0][0] if bodies else self._end_ns
        end_ns = bodies[-1][0] if bodies else self._end_ns
        self._truth.end_ns = end_ns
        chunked = behaviour.framing == "chunked" and self._request.stream
        packets = [Packet(self._start_ns if behaviour.head_early else first_ns, self._head(bodies, chunked))]
        for at_ns, body in bodies:
            extension = b";name=value" if behaviour.extensions else b""
            packets.append(Packet(at_ns, b"%x%b\r\n%b\r\n" % (len(body), extension, body) if chunked else body))
        if chunked:
            trailer = b"x-trailer: 1\r\n" if behaviour.extensions else b""
            packets.append(Packet(end_ns, b"0\r\n" + trailer + b"\r\n"))
        if self._closes:
            packets.append(Packet(end_ns, None))
        return packets

    @property
    def _closes(self) -> bool:
        return self._behaviour.closes or self._behaviour.framing in ("close", "http10")

    def _head(self, bodies: Sequence[tuple[int, bytes]], chunked: bool) -> bytes:
        behaviour = self._behaviour
        kind = "text/event-stream" if self._request.stream else "application/json"
        version = "1.0" if behaviour.framing == "http10" else "1.1"
        lines = [f"HTTP/{version} 200 OK", f"content-type: {kind}"]
        if behaviour.odd_headers:
            lines += [
                "X-Accel-Buffering: no",
                "Set-Cookie: a=b; c",
                "Server:",
                "VARY:   Accept",
                f"x-long: {'y' * 900}",
            ]
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        elif behaviour.framing in ("length", "chunked"):
            lines.append(f"Content-Length: {sum(len(body) for _, body in bodies)}")
        if self._closes and version == "1.1":
            lines.append("connection: close")
        head = "\r\n".join([*lines, "", ""]).encode()
        return b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + head if behaviour.early_hints else head

    def _repeated(self, packets: list[Packet]) -> list[Packet]:
        """The same answer again, with the end of the first one or up to 20 ms later, when the next request is sent."""
        at_ns = packets[-1].at_ns + int(self._rng.choice([0.0, self._rng.uniform(0.2, 20.0)]) * MS)
        return [Packet(at_ns, packet.data) for packet in packets if packet.data is not None]

    def _cut(self, packets: list[Packet]) -> list[Packet]:
        """Join what is sent at one time, and cut it anywhere."""
        parts: list[Packet] = []
        waiting, at_ns = b"", 0
        for packet in [*packets, Packet(packets[-1].at_ns + 1, None)]:
            if waiting and (packet.at_ns != at_ns or not packet.data):
                cuts = sorted(self._rng.integers(0, len(waiting) + 1, 2).tolist())
                pieces = [waiting[: cuts[0]], waiting[cuts[0] : cuts[1]], waiting[cuts[1] :]]
                parts += [Packet(at_ns, piece) for piece in pieces if piece]
                waiting = b""
            if packet.data:
                waiting, at_ns = waiting + packet.data, packet.at_ns
            else:
                parts.append(packet)
        return parts[:-1]
