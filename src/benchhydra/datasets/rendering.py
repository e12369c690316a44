"""Conversations of data files in the model's chat template."""

from __future__ import annotations

from benchhydra.datasets import Message, Tokenizer
from benchhydra.errors import ConfigError, DatasetError


def render_conversation(messages: tuple[Message, ...], tokenizer: Tokenizer, place: str) -> str:
    """Return a conversation in the model's chat template. Raises DatasetError with its place if that rejects it."""
    try:
        return tokenizer.chat(messages)
    except ConfigError as error:
        raise DatasetError(f"{place}: {error.message}", hint=error.hint) from error
