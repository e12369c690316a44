"""Parses requests for text, and builds answers in OpenAI's JSON formats. One word counts as one token."""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import math
import random
import struct
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchhydra.fakeserver.constrained import example_text, tool_call
from benchhydra.fakeserver.plan import AnswerPlan

#: An image has a token for each square of this many pixels a side, as Qwen2-VL's images do.
IMAGE_SQUARE_PIXELS = 28
DONE = b"data: [DONE]\n\n"


class Piece(NamedTuple):
    """The text of one chunk, and where it goes: content, reasoning_content or tool_calls. first: of a tool call."""

    text: str
    place: str = "content"
    first: bool = False


class CompletionRequest:
    """A request to /v1/completions, and the parts of its answer.

    Raises ValueError, KeyError, TypeError or AttributeError for a body that is not one. truth: what ``/stats`` counts
    of an answered request besides its class.
    """

    kind, whole_kind = "text_completion", "text_completion"
    id_prefix = "cmpl"

    def __init__(self, body: dict[str, Any], reasoning_tokens: int = 0) -> None:
        self.model = str(body.get("model", ""))
        self.stream = bool(body.get("stream", False))
        self.usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self.tokens = max(1, int(body.get("max_completion_tokens") or body.get("max_tokens") or 16))
        self.words = self.prompt_words(body)
        self.salt = str(body.get("cache_salt") or "")
        self.priority = int(body.get("priority") or 0)
        self.id = f"{self.id_prefix}-{random.getrandbits(64):x}"
        self.reasoning_tokens = reasoning_tokens
        self.truth: dict[str, int] = {}

    def prompt_words(self, body: dict[str, Any]) -> list[Any]:
        """Return the words of the prompt; of one in token ids, these."""
        prompt = body["prompt"]
        return prompt.split() if isinstance(prompt, str) else list(prompt)

    def plan(self, args: argparse.Namespace, index: int) -> AnswerPlan:
        """Return the plan of the answer; index: of the request."""
        return AnswerPlan(args, index, self.tokens)

    def pieces(self, plan: AnswerPlan) -> list[Piece]:
        """Return the text of each chunk of a plan."""
        return [Piece(text) for text in plan.texts()]

    def usage_of(self, tokens: int) -> dict[str, Any]:
        return {"prompt_tokens": len(self.words), "completion_tokens": tokens, "total_tokens": len(self.words) + tokens}

    def event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        head = {"id": self.id, "object": self.kind, "created": int(time.time()), "model": self.model}
        return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"

    def opening(self) -> bytes:
        """The events before the first text."""
        return b""

    def chunk(self, piece: Piece, finish: str | None = None, *, choices: int = 1) -> bytes:
        """The events of one text, one for each choice."""
        ends = {"logprobs": None, "finish_reason": finish}
        return b"".join(self.event([{"index": index, **self.delta(piece), **ends}]) for index in range(choices))

    def delta(self, piece: Piece) -> dict[str, Any]:
        """What a choice has of one text."""
        return {"text": piece.text}

    def closing(self, plan: AnswerPlan) -> bytes:
        """The events after the last text, before the end of the stream."""
        return self.event([], usage=self.usage_of(plan.reported_tokens * plan.choices)) if self.usage else b""

    def end(self) -> bytes:
        """The event that ends a stream."""
        return DONE

    def whole(self, pieces: Sequence[Piece], plan: AnswerPlan) -> dict[str, Any]:
        """The answer as one document."""
        ends = {"logprobs": None, "finish_reason": plan.finish}
        all_choices = [{"index": index, **self.message(pieces), **ends} for index in range(plan.choices)]
        head = {"id": self.id, "object": self.whole_kind, "created": int(time.time()), "model": self.model}
        return {**head, "choices": all_choices, "usage": self.usage_of(plan.reported_tokens * plan.choices)}

    def message(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """What a choice of a whole answer has."""
        return {"text": "".join(piece.text for piece in pieces)}


class ChatRequest(CompletionRequest):
    """A request to /v1/chat/completions: with images, tools, a schema or choice, and reasoning before the answer."""

    kind, whole_kind = "chat.completion.chunk", "chat.completion"
    id_prefix = "chatcmpl"

    def __init__(self, body: dict[str, Any], reasoning_tokens: int = 0) -> None:
        self._images = self._image_tokens = 0
        super().__init__(body, reasoning_tokens)
        self.truth = {"images": self._images} if self._images else {}
        self._call = tool_call(body)
        self._text = None if self._call is not None else example_text(body)

    def prompt_words(self, body: dict[str, Any]) -> list[Any]:
        """Return the words of all messages, and one for each token of their images."""
        parts = [part for message in body["messages"] for part in _parts(message.get("content") or "")]
        images = [_image_tokens(part["image_url"]["url"]) for part in parts if part.get("type") == "image_url"]
        self._images, self._image_tokens = len(images), sum(images)
        texts = [str(part.get("text", "")) for part in parts]
        return [word for text in texts for word in text.split()] + [f"<image {self._images}>"] * self._image_tokens

    def pieces(self, plan: AnswerPlan) -> list[Piece]:
        """Return the text of each chunk: reasoning, then words, or equal parts of what must be answered."""
        ends, reasoning = _cumulated(plan.sizes), self.reasoning_tokens
        pieces = [
            Piece(text, "reasoning_content" if end <= reasoning else "content")
            for text, end in zip(plan.texts(), ends, strict=True)
        ]
        fixed = self._text if self._call is None else self._call.arguments
        answer = [at for at, piece in enumerate(pieces) if piece.place == "content"]
        if fixed is None or plan.fault == "invalid_output" or not answer:
            return pieces
        place = "content" if self._call is None else "tool_calls"
        for number, (at, text) in enumerate(zip(answer, _cut(fixed, len(answer)), strict=True)):
            pieces[at] = Piece(text, place, first=number == 0)
        return pieces

    def usage_of(self, tokens: int) -> dict[str, Any]:
        usage = super().usage_of(tokens)
        details = {"completion_tokens_details": {"reasoning_tokens": min(tokens, self.reasoning_tokens)}}
        return usage | (details if self.reasoning_tokens else {})

    def opening(self) -> bytes:
        """The first event of a chat: it has the role, and no token."""
        delta = {"role": "assistant", "content": ""}
        return self.event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])

    def delta(self, piece: Piece) -> dict[str, Any]:
        if piece.place != "tool_calls":
            return {"delta": {piece.place: piece.text}}
        assert self._call is not None
        begin = {"id": f"call-{self.id}", "type": "function"} if piece.first else {}
        name = {"name": self._call.name} if piece.first else {}
        return {"delta": {"tool_calls": [{"index": 0, **begin, "function": {**name, "arguments": piece.text}}]}}

    def message(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        texts = {place: _joined(pieces, place) for place in ("content", "reasoning_content", "tool_calls")}
        message: dict[str, Any] = {"role": "assistant", "content": texts["content"]}
        message |= {"reasoning_content": texts["reasoning_content"]} if texts["reasoning_content"] else {}
        if texts["tool_calls"] and self._call is not None:
            function = {"name": self._call.name, "arguments": texts["tool_calls"]}
            message["tool_calls"] = [{"id": f"call-{self.id}", "type": "function", "function": function}]
        return {"message": message}


def _joined(pieces: Sequence[Piece], place: str) -> str:
    return "".join(piece.text for piece in pieces if piece.place == place)


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _image_tokens(url: str) -> int:
    """Return the tokens of a PNG in a ``data:`` URL, by the size in its header."""
    data = base64.b64decode(url.partition(",")[2])
    if not data.startswith(b"\x89PNG"):
        raise ValueError("the fake engine reads only PNG")
    width, height = map(int, struct.unpack(">II", data[16:24]))
    return math.ceil(width / IMAGE_SQUARE_PIXELS) * math.ceil(height / IMAGE_SQUARE_PIXELS)


def _cumulated(sizes: Sequence[int]) -> list[int]:
    return list(itertools.accumulate(sizes))


def _cut(text: str, count: int) -> list[str]:
    """Return a text in ``count`` parts, none of them empty: white space is added to one that is too short."""
    text += " " * max(0, count - len(text))
    return [text[at * len(text) // count : (at + 1) * len(text) // count] for at in range(count)]
