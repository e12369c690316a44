"""What the JSON of a completion server means: generated text, usage, errors. Pure functions of decoded values."""

from __future__ import annotations

from typing import Any

import msgspec

#: What decoding may raise on bytes from outside.
BROKEN_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
MAX_ERROR = 500  # characters of an error's text that are kept
#: Keys whose text is generated output, in the order in which servers name them.
TEXT_KEYS = ("content", "reasoning_content", "reasoning")

decode = msgspec.json.Decoder().decode


def text_of(choice: Any) -> str:
    """The generated text of a choice of a chunk or a document, reasoning and tool calls included; "" if it has none."""
    if not isinstance(choice, dict):
        return ""
    text = choice.get("text")
    if isinstance(text, str):
        return text
    message = choice.get("delta") or choice.get("message")
    if not isinstance(message, dict):
        return ""
    for key in TEXT_KEYS:
        text = message.get(key)
        if isinstance(text, str) and text:
            return text
    calls = message.get("tool_calls")
    return msgspec.json.encode(calls).decode() if calls else ""


def texts_of(event: dict[str, Any]) -> list[str]:
    """The texts of all choices that have one."""
    choices = event.get("choices")
    return [text for choice in choices if (text := text_of(choice))] if isinstance(choices, list) else []


def usage_of(event: Any) -> tuple[int, int] | None:
    """(prompt tokens, output tokens) of an event that reports usage; -1 for what it leaves out."""
    usage = event.get("usage") if isinstance(event, dict) else None
    if not isinstance(usage, dict):
        return None
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def is_error(event: dict[str, Any]) -> bool:
    """Whether an event is an error object: {"error": ...}, or vLLM's older {"object": "error", ...}."""
    return bool(event.get("error")) or event.get("object") == "error"


def error_text(event: Any) -> str:
    """The message of an error object; "" if it has none."""
    if not isinstance(event, dict):
        return ""
    error = event.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    text = error if isinstance(error, str) else event.get("message") or event.get("detail")
    return text if isinstance(text, str) else ""


def message_of(body: bytes) -> str:
    """What the body of a refusal says: its JSON message, or its beginning."""
    try:
        text = error_text(decode(body))
    except BROKEN_JSON:
        text = ""
    return text or body[:MAX_ERROR].decode(errors="replace")


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 31 else -1
