"""Parses OpenAI requests, and builds answers in OpenAI's JSON formats. One word counts as one token."""

from __future__ import annotations

import json
import random
import time
from typing import Any


class CompletionRequest:
    """A request to /v1/completions or /v1/chat/completions, and the parts of its answer.

    Raises ValueError, KeyError, TypeError or AttributeError for a body that is not one.
    """

    def __init__(self, body: dict[str, Any], chat: bool) -> None:
        self.chat = chat
        self.model = str(body.get("model", ""))
        self.stream = bool(body.get("stream", False))
        self.usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self.tokens = max(1, int(body.get("max_completion_tokens") or body.get("max_tokens") or 16))
        self.words = _words(body["messages"] if chat else body["prompt"])
        self.salt = str(body.get("cache_salt") or "")
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{random.getrandbits(64):x}"

    def usage_of(self, tokens: int) -> dict[str, int]:
        return {"prompt_tokens": len(self.words), "completion_tokens": tokens, "total_tokens": len(self.words) + tokens}

    def event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        head = {"id": self.id, "object": kind, "created": int(time.time()), "model": self.model}
        return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"

    def chunk(self, text: str, finish: str | None = None, *, choices: int = 1) -> bytes:
        """The events of one text, one for each choice."""
        part: dict[str, Any] = {"delta": {"content": text}} if self.chat else {"text": text}
        ends = {"logprobs": None, "finish_reason": finish}
        return b"".join(self.event([{"index": index, **part, **ends}]) for index in range(choices))

    def role(self) -> bytes:
        """The first event of a chat: it has the role, and no token."""
        delta = {"role": "assistant", "content": ""}
        return self.event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])

    def whole(self, text: str, finish: str, tokens: int, *, choices: int = 1) -> dict[str, Any]:
        part: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        kind = "chat.completion" if self.chat else "text_completion"
        ends = {"logprobs": None, "finish_reason": finish}
        all_choices = [{"index": index, **part, **ends} for index in range(choices)]
        head = {"id": self.id, "object": kind, "created": int(time.time()), "model": self.model}
        return {**head, "choices": all_choices, "usage": self.usage_of(tokens)}


def _words(prompt: Any) -> list[Any]:
    if isinstance(prompt, str):
        return prompt.split()
    if prompt and isinstance(prompt[0], dict):
        return [word for message in prompt for word in str(message.get("content", "")).split()]
    return list(prompt)
