"""``api=pooling``: texts in, what the model's pooler makes of each out. vLLM's own endpoint."""

from __future__ import annotations

from typing import Any

from benchhydra.client.apis._items import VectorsApi
from benchhydra.registry import option


@option("api", "pooling")
class Pooling(VectorsApi):
    """POST /pooling: a batch of texts, a vector for each, or one for each token."""

    path = "/pooling"
    vector_key = "data"

    def vector_of(self, item: dict[str, Any], name: str) -> list[float]:
        """Return an item's vector; of one with a vector for each token, the last one, after all were checked."""
        rows = item.get(self.vector_key)
        if not isinstance(rows, list) or not rows or not isinstance(rows[0], list):
            return super().vector_of(item, name)
        return [super(Pooling, self).vector_of({self.vector_key: row}, name) for row in rows][-1]
