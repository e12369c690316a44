"""Parses requests to /v1/responses, and builds its events and documents."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from typing import Any

from benchhydra.fakeserver.answers import CompletionRequest, Piece
from benchhydra.fakeserver.plan import AnswerPlan

#: Why an answer ended -> (status, reason of an incomplete one).
_STATUS = {"length": ("incomplete", "max_output_tokens"), "stop": ("completed", None), "abort": ("failed", None)}


class ResponsesRequest(CompletionRequest):
    """A request to /v1/responses, and the parts of its answer."""

    id_prefix = "resp"

    def __init__(self, body: dict[str, Any], reasoning_tokens: int = 0) -> None:
        super().__init__(body, reasoning_tokens)
        self.tokens = max(1, int(body.get("max_output_tokens") or 16))
        self._numbers = itertools.count()

    def prompt_words(self, body: dict[str, Any]) -> list[Any]:
        prompt = body["input"]
        texts = [prompt] if isinstance(prompt, str) else [str(message["content"]) for message in prompt]
        return [word for text in texts for word in text.split()]

    def pieces(self, plan: AnswerPlan) -> list[Piece]:
        ends = itertools.accumulate(plan.sizes)
        places = ("reasoning_content" if end <= self.reasoning_tokens else "content" for end in ends)
        return [Piece(text, place) for text, place in zip(plan.texts(), places, strict=True)]

    def opening(self) -> bytes:
        response = self._response("in_progress", None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def chunk(self, piece: Piece, finish: str | None = None, *, choices: int = 1) -> bytes:
        kind = "output_text" if piece.place == "content" else "reasoning_text"
        place = {"item_id": f"msg-{self.id}", "content_index": 0}
        events = (
            self._event(f"response.{kind}.delta", **place, output_index=index, delta=piece.text)
            for index in range(choices)
        )
        return b"".join(events)

    def closing(self, plan: AnswerPlan) -> bytes:
        pieces = self.pieces(plan)
        text = "".join(piece.text for piece in pieces if piece.place == "content")
        done = self._event("response.output_text.done", item_id=f"msg-{self.id}", text=text)
        response = self.whole(pieces, plan)
        return done + self._event(f"response.{response['status']}", response=response)

    def end(self) -> bytes:
        return b""

    def whole(self, pieces: Sequence[Piece], plan: AnswerPlan) -> dict[str, Any]:
        status, reason = _STATUS[plan.finish]
        output: list[dict[str, Any]] = []
        for place, kind, part in (
            ("reasoning_content", "reasoning", "reasoning_text"),
            ("content", "message", "output_text"),
        ):
            text = "".join(piece.text for piece in pieces if piece.place == place)
            output += [{"type": kind, "content": [{"type": part, "text": text}]}] * (plan.choices if text else 0)
        tokens = plan.reported_tokens * plan.choices
        usage = {
            "input_tokens": len(self.words),
            "output_tokens": tokens,
            "total_tokens": len(self.words) + tokens,
            "output_tokens_details": {"reasoning_tokens": min(tokens, self.reasoning_tokens)},
        }
        return self._response(status, reason) | {"output": output, "usage": usage}

    def _response(self, status: str, reason: str | None) -> dict[str, Any]:
        details = {"incomplete_details": {"reason": reason}} if reason else {}
        error = {"error": {"message": "the fake engine was configured to fail"}} if status == "failed" else {}
        head = {"id": self.id, "object": "response", "created_at": int(time.time()), "model": self.model}
        return {**head, "status": status, "output": [], **details, **error}

    def _event(self, kind: str, **content: Any) -> bytes:
        data = {"type": kind, "sequence_number": next(self._numbers), **content}
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
