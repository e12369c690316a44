"""``api=completions``: text in, text out."""

from __future__ import annotations

from typing import Any

from benchhydra.client.apis import PromptContent, joined_text
from benchhydra.client.apis._openai import TextApi
from benchhydra.registry import option


@option("api", "completions")
class Completions(TextApi):
    """POST /v1/completions: the prompt's text as it is."""

    path = "/v1/completions"
    text_keys = ("text",)

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        return {**self.length_limit(output_tokens), "prompt": prompt.text}

    def text_of(self, choice: dict[str, Any]) -> str:
        """The text of a choice; some gateways answer with a chat's delta or message."""
        return joined_text(choice.get("text")) or joined_text(choice.get("delta") or choice.get("message"))
