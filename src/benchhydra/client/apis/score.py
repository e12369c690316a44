"""``api=score``: a query and documents in, a score for each document out. vLLM's own endpoint."""

from __future__ import annotations

from typing import Any

from benchhydra.client.apis import PromptContent
from benchhydra.client.apis._items import PairsApi
from benchhydra.registry import option


@option("api", "score")
class Score(PairsApi):
    """POST /v1/score: scores of documents for a query, in the order of the documents."""

    path = "/v1/score"
    prompt_key = "text_1"

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        return {"text_1": prompt.text, "text_2": list(prompt.texts)}
