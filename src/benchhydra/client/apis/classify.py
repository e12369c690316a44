"""``api=classify``: texts in, the probabilities of classes for each out. vLLM's own endpoint."""

from __future__ import annotations

from benchhydra.client.apis._items import VectorsApi
from benchhydra.registry import option


@option("api", "classify")
class Classify(VectorsApi):
    """POST /classify: a batch of texts, the probability of each class for each."""

    path = "/classify"
    vector_key = "probs"
    may_be_equal = True
