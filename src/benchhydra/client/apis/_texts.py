"""Generated text in the forms that servers give it: a string, a list of parts, reasoning in parts of its own."""

from __future__ import annotations

from typing import Any

#: Keys of a part that hold text, or more parts.
_PART_KEYS = ("text", "thinking", "reasoning", "content", "summary", "refusal", "output_text", "parts", "value")
_MAX_DEPTH = 6
_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\x00"


def joined_text(value: Any, depth: int = 0) -> str:
    """Return the text of a string, of a part, or of a list of parts; "" for anything else."""
    if isinstance(value, str):
        return value
    if depth == _MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "".join(joined_text(part, depth + 1) for part in value)
    if isinstance(value, dict):
        return next((text for key in _PART_KEYS if (text := joined_text(value.get(key), depth + 1))), "")
    return ""


def is_blank(text: str) -> bool:
    """Return whether a text is empty or consists of white space and zero-width characters."""
    visible = text.strip()
    return not visible or (visible[0] in _ZERO_WIDTH and not visible.translate(_INVISIBLE).strip())


_INVISIBLE = dict.fromkeys(map(ord, _ZERO_WIDTH))
