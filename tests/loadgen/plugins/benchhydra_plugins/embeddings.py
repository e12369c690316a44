"""``api=embeddings``: text in, one vector out. An endpoint that neither streams nor generates text."""

from __future__ import annotations

from typing import Any

from benchhydra.client.apis import Api, PromptContent
from benchhydra.registry import option


@option("api", "embeddings")
class Embeddings(Api):
    """POST /v1/embeddings: the prompt's text as it is."""

    path = "/v1/embeddings"
    prompt_key = "input"
    streams = False
    generates = False

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        return {"input": prompt.text}
