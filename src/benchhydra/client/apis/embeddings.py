"""``api=embeddings``: texts in, a vector for each out."""

from __future__ import annotations

from typing import Any

from benchhydra.client.apis import RequestOptions
from benchhydra.client.apis._items import InvalidItem, VectorsApi, check_count
from benchhydra.registry import knob, option


@option("api", "embeddings")
class Embeddings(VectorsApi):
    """POST /v1/embeddings: a batch of texts, a vector for each."""

    path = "/v1/embeddings"

    encoding: str = knob(
        "float",
        "how vectors are sent: float: as JSON; base64: as OpenAI's client asks for",
        choices=("float", "base64"),
    )
    dimensions: int | None = knob(None, "length of the vectors that is asked for; null: the model's own")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dimensions is not None:
            check_count("dimensions", self.dimensions)
            self._length = self.dimensions

    def vector_of(self, item: dict[str, Any], name: str) -> list[float]:
        """Return an item's vector. Raises InvalidItem also for one in another encoding than was asked for."""
        encoding = "base64" if isinstance(item.get(self.vector_key), str) else "float"
        if encoding != self.encoding:
            raise InvalidItem(f"{name} is sent as {encoding}, asked for was api.encoding={self.encoding}")
        return super().vector_of(item, name)

    def shared_body(self, model: str, options: RequestOptions) -> dict[str, Any]:
        return {"model": model, "encoding_format": self.encoding, "dimensions": self.dimensions}
