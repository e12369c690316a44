"""``api=rerank``: a query and documents in, the documents in order of relevance out."""

from __future__ import annotations

from typing import Any

from benchhydra.client.apis import PromptContent
from benchhydra.client.apis._items import PairsApi
from benchhydra.registry import option


@option("api", "rerank")
class Rerank(PairsApi):
    """POST /v1/rerank, as Jina and Cohere have it: scores of documents for a query, the best first."""

    path = "/v1/rerank"
    prompt_key = "query"
    list_key = "results"
    score_key = "relevance_score"
    in_order = False

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        return {"query": prompt.text, "documents": list(prompt.texts)}
