"""One server on loopback with many ways to lie: the first part of a path names the lie that its API tells."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Any

MODEL = "m"
TOKENS = 8
GAP_S = 0.002

Event = dict[str, Any] | str
#: The model and the number of tokens that were asked for -> the events of an answer.
Answer = Callable[[str, int], list[Event]]


def text_event(model: str, text: str | None = " a", finish: str | None = None, index: int = 0) -> Event:
    return {"model": model, "choices": [{"index": index, "text": text, "finish_reason": finish}]}


def usage_event(model: str, tokens: int) -> Event:
    usage = {"prompt_tokens": TOKENS, "completion_tokens": tokens, "total_tokens": TOKENS + tokens}
    return {"model": model, "choices": [], "usage": usage}


def answer(
    model: str,
    tokens: int,
    *,
    chunks: int | None = None,
    text: str | None = " a",
    finish: str | None = "length",
    end: tuple[Event, ...] = ("[DONE]",),
) -> list[Event]:
    """An honest answer, with what an argument changes; chunks: how many events have text."""
    chunks = tokens if chunks is None else chunks
    events = [text_event(model, text, finish if i == chunks - 1 else None) for i in range(chunks)]
    return [*events, usage_event(model, tokens), *end]


LIES: dict[str, Answer] = {
    "honest": answer,
    "aborted": lambda model, tokens: answer(model, 0, chunks=1, text="", finish="abort"),
    "error-finish": lambda model, tokens: answer(model, tokens, finish="error"),
    "empty": lambda model, tokens: answer(model, 0, chunks=0),
    "blank": lambda model, tokens: answer(model, tokens, text=""),
    "null-text": lambda model, tokens: answer(model, tokens, text=None),
    "error-code": lambda model, tokens: [{"code": 50001, "message": "no capacity"}, "[DONE]"],
    "error-text": lambda model, tokens: [{"error": "out of memory"}, "[DONE]"],
    "other-model": lambda model, tokens: answer("gpt-tiny", tokens),
    "too-long": lambda model, tokens: answer(model, 5 * tokens),
    "no-tokens-counted": lambda model, tokens: answer(model, 0, chunks=tokens),
    "absurd-count": lambda model, tokens: answer(model, 10**9, chunks=tokens),
    "cut": lambda model, tokens: answer(model, tokens, finish=None, end=()),
    "not-json": lambda model, tokens: ["<html>busy</html>", "[DONE]"],
}
#: Every second answer is the lie, the others are honest.
EVERY_SECOND = {"every-second-aborted": "aborted", "every-second-empty": "empty"}
#: Path -> (status, content type, body) of answers that are no stream.
BODIES: dict[str, tuple[int, str, bytes]] = {
    "html": (200, "text/html", b"<html>Sign in</html>"),
    "json": (200, "application/json", b'{"choices": [{"text": " a"}]}'),
    "server-error": (500, "application/json", b'{"error": {"message": "CUDA out of memory"}}'),
    "too-many": (429, "application/json", b'{"error": {"message": "slow down"}}'),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests = count()

    def do_GET(self) -> None:
        if self.path.endswith("/models"):
            self._body(200, "application/json", json.dumps({"data": [{"id": MODEL}]}).encode())
        else:
            self._body(200 if self.path.endswith("/health") else 404, "text/plain", b"")

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        lie = self.path.split("/")[1]
        if not self.path.endswith("/completions"):
            self._body(404, "text/plain", b"")
        elif lie in BODIES:
            self._body(*BODIES[lie])
        else:
            body = json.loads(data)
            if lie in EVERY_SECOND:
                lie = EVERY_SECOND[lie] if next(self.requests) % 2 else "honest"
            self._stream(LIES[lie](body["model"], body["max_tokens"]))

    def _body(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: list[Event]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            time.sleep(GAP_S)
            text = event if isinstance(event, str) else json.dumps(event)
            data = f"data: {text}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@contextmanager
def lying_server() -> Iterator[str]:
    """The server; its address, to which ``/NAME`` of a lie is added."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
