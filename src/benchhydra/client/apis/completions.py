"""``api=completions``: text in, text out."""

from __future__ import annotations

from typing import Any

from benchhydra.client.apis import PromptContent
from benchhydra.client.apis._openai import TextApi
from benchhydra.registry import option


@option("api", "completions")
class Completions(TextApi):
    """POST /v1/completions: the prompt's text as it is."""

    path = "/v1/completions"
    text_keys = ("text",)

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        return {"max_tokens": output_tokens, "prompt": prompt.text}

    def text_of(self, choice: Any) -> str:
        text = choice.get("text") if isinstance(choice, dict) else None
        return text if isinstance(text, str) else ""
