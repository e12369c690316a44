"""Parses requests for vectors and scores, and builds their answers: numbers that depend on the texts alone."""

from __future__ import annotations

import argparse
import base64
import math
import random
import struct
from collections.abc import Sequence
from typing import Any

from benchhydra.fakeserver.answers import CompletionRequest, Piece
from benchhydra.fakeserver.plan import AnswerPlan

VECTOR_LENGTH = 32
CLASSES = 3
#: How an answer with the fault ``broken_items`` is broken, by the number of its request.
BROKEN = ("missing", "doubled", "out of order", "not a number")


class VectorsRequest(CompletionRequest):
    """A request to /v1/embeddings, and its answer. There is one step of generation, for all texts."""

    id_prefix = "embd"
    list_key = "data"

    def __init__(self, body: dict[str, Any], reasoning_tokens: int = 0) -> None:
        super().__init__(body)
        self.stream, self.tokens = False, 1
        self._texts = self.texts_of(body)
        self._base64 = body.get("encoding_format") == "base64"
        self._length = int(body.get("dimensions") or VECTOR_LENGTH)
        self.truth = {"items": len(self._texts), "prompt_tokens": len(self.words)}

    def texts_of(self, body: dict[str, Any]) -> list[str]:
        """Return the texts that get an item each. Raises ValueError for an empty one, as vLLM refuses it."""
        texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
        if not texts or not all(text.strip() for text in texts):
            raise ValueError("an empty text")
        return texts

    def prompt_words(self, body: dict[str, Any]) -> list[Any]:
        return [word for text in self.texts_of(body) for word in text.split()]

    def plan(self, args: argparse.Namespace, index: int) -> AnswerPlan:
        return AnswerPlan(args, index, self.tokens, usage_tokens=len(self.words))

    def item(self, index: int, text: str) -> dict[str, Any]:
        """The item of one text."""
        vector = unit_vector(text, self._length)
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        return {"index": index, "object": "embedding", "embedding": packed if self._base64 else vector}

    def whole(self, pieces: Sequence[Piece], plan: AnswerPlan) -> dict[str, Any]:
        items = self.ordered([self.item(index, text) for index, text in enumerate(self._texts)])
        if plan.fault == "broken_items":
            items = _broken(items, BROKEN[plan.index % len(BROKEN)])
        tokens = len(self.words) // 2 if plan.fault == "usage_low" else len(self.words)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        items = [] if plan.fault == "empty" else items
        return {"id": self.id, "object": "list", "model": self.model, self.list_key: items, "usage": usage}

    def ordered(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The items in the order of the answer."""
        return items


class PoolingRequest(VectorsRequest):
    """A request to /pooling."""

    def item(self, index: int, text: str) -> dict[str, Any]:
        return {"index": index, "object": "pooling", "data": unit_vector(text, self._length)}


class ClassifyRequest(VectorsRequest):
    """A request to /classify."""

    def item(self, index: int, text: str) -> dict[str, Any]:
        weights = [number * number for number in unit_vector(text, CLASSES)]
        best = max(range(CLASSES), key=weights.__getitem__)
        return {"index": index, "label": f"LABEL_{best}", "probs": weights, "num_classes": CLASSES}


class ScoreRequest(VectorsRequest):
    """A request to /v1/score: the query is read again with each document, as a cross-encoder does it."""

    def texts_of(self, body: dict[str, Any]) -> list[str]:
        self._query = str(body["text_1"])
        return [str(text) for text in body["text_2"]]

    def prompt_words(self, body: dict[str, Any]) -> list[Any]:
        texts = self.texts_of(body)
        return [word for text in texts for word in (*self._query.split(), *text.split())]

    def item(self, index: int, text: str) -> dict[str, Any]:
        return {"index": index, "object": "score", "score": self.score(text)}

    def score(self, text: str) -> float:
        """The score of a document, from 0 to 1."""
        return random.Random(f"{self._query}\n{text}").random()


class RerankRequest(ScoreRequest):
    """A request to /v1/rerank: the documents with the best score first."""

    list_key = "results"

    def texts_of(self, body: dict[str, Any]) -> list[str]:
        return super().texts_of({"text_1": body["query"], "text_2": body["documents"]})

    def item(self, index: int, text: str) -> dict[str, Any]:
        return {"index": index, "document": {"text": text}, "relevance_score": self.score(text)}

    def ordered(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(items, key=lambda item: -float(item["relevance_score"]))


def unit_vector(text: str, length: int) -> list[float]:
    """Return the vector of a text, of length 1."""
    numbers = random.Random(text)
    vector = [numbers.gauss(0, 1) for _ in range(length)]
    norm = math.sqrt(sum(number * number for number in vector))
    return [number / norm for number in vector]


def _broken(items: list[dict[str, Any]], how: str) -> list[dict[str, Any]]:
    if how == "missing":
        return items[:-1]
    if how == "doubled":
        return [*items[:-1], items[0]] if len(items) > 1 else items * 2
    if how == "out of order" and len(items) > 1:
        return [items[-1], *items[:-1]]
    key = next(key for key in ("embedding", "data", "probs", "score", "relevance_score") if key in items[0])
    return [{**items[0], key: None}, *items[1:]]
