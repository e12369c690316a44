"""What endpoints have in common that answer several texts with a list of vectors or scores, and generate nothing.

An answer must have an item for each text, with its index, and finite numbers: a server that leaves one out, doubles one
or computes NaN would else be measured as a fast one.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from benchhydra.client.apis import Api, ApiEvent, is_error, looks_like_error, model_of, usage_anomalies, usage_of
from benchhydra.errors import ConfigError
from benchhydra.records import Anomaly
from benchhydra.registry import check_choices, knob

_EQUAL, _UNSORTED = int(Anomaly.EQUAL_ITEMS), int(Anomaly.UNSORTED)
PAIRS = ("joint", "separate")
#: The numbers at the beginning of a vector that are compared: other vectors with the same ones do not occur.
_COMPARED_NUMBERS = 8


class InvalidItem(Exception):
    """An item of an answer that cannot be used; the text says why."""


@dataclass(kw_only=True)
class ItemsApi(Api):
    """An endpoint whose answers have a list of items under ``list_key``, each with its ``index``."""

    streams = False
    generates = False
    #: Key of the list in the answer.
    list_key: ClassVar[str] = "data"
    #: Whether the items come in the order of the texts.
    in_order: ClassVar[bool] = True

    def key_metrics(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        return ("item_throughput", "input_throughput", "request_throughput", "mean_e2el_ms", "p99_e2el_ms")

    def capabilities(self) -> frozenset[str]:
        return frozenset({"items"})

    def read(self, document: dict[str, Any]) -> ApiEvent:
        items = document.get(self.list_key)
        if is_error(document) or (not isinstance(items, list) and looks_like_error(document)):
            return ApiEvent(error=self.error_message(document))
        usage, anomalies = usage_of(document), usage_anomalies(document)
        try:
            if not isinstance(items, list):
                raise InvalidItem(f"there is no list under {self.list_key!r}")
            self.check_indices(items)
            anomalies |= self.check_items(items)
        except InvalidItem as error:
            return ApiEvent(malformed=str(error))
        return ApiEvent(usage=usage, model=model_of(document), anomalies=anomalies, items=len(items))

    def check_indices(self, items: Sequence[Any]) -> None:
        """Raise InvalidItem if the items' indices are not those of the texts, each once, and in order if they must."""
        if not all(isinstance(item, dict) for item in items):
            raise InvalidItem("an item is not an object")
        indices = [item.get("index") for item in items]
        if indices == list(range(len(items))):
            return
        if any(type(index) is not int for index in indices):
            raise InvalidItem("an item has no index")
        if sorted(indices) != list(range(len(items))):
            raise InvalidItem(f"the indices {_shown(indices)} of {len(items)} items are not 0 to {len(items) - 1}")
        if self.in_order:
            raise InvalidItem(f"the items are out of order: {_shown(indices)}")

    def check_items(self, items: Sequence[dict[str, Any]]) -> int:
        """Return what is odd about the items, bits of ``Anomaly``. Raises InvalidItem for one that cannot be used."""
        raise NotImplementedError


@dataclass(kw_only=True)
class VectorsApi(ItemsApi):
    """An endpoint that returns a vector for each text."""

    prompt_key = "input"
    #: Key of the vector in an item.
    vector_key: ClassVar[str] = "embedding"
    #: Whether the vectors of two texts may be equal, as probabilities of two classes may.
    may_be_equal: ClassVar[bool] = False

    batch: int = knob(
        1, "texts of the dataset in each request, unless its records bring all texts of a request", unit="texts"
    )

    def __post_init__(self) -> None:
        check_choices(self)
        check_count("batch", self.batch)
        self._length: int | None = None  # of the vectors in the first answer

    def texts_per_request(self) -> int:
        return self.batch

    def asked_items(self, texts: int) -> int:
        return texts

    def own_body(self, prompt: Any, output_tokens: int) -> dict[str, Any]:
        return {"input": list(prompt.texts) if len(prompt.texts) > 1 else prompt.text}

    def check_items(self, items: Sequence[dict[str, Any]]) -> int:
        starts = set()
        for index, item in enumerate(items):
            vector = self.vector_of(item, f"{self.vector_key} {index}")
            self._check_length(index, vector)
            starts.add(tuple(vector[:_COMPARED_NUMBERS]))
        return 0 if self.may_be_equal or len(starts) == len(items) else _EQUAL

    def vector_of(self, item: dict[str, Any], name: str) -> list[float]:
        """Return the vector in an item. Raises InvalidItem."""
        vector = numbers(item.get(self.vector_key), name)
        if not any(vector):
            raise InvalidItem(f"{name} is all zeros")
        return vector

    def _check_length(self, index: int, vector: Sequence[float]) -> None:
        if self._length is None:
            self._length = len(vector)
        if len(vector) != self._length:
            raise InvalidItem(f"{self.vector_key} {index} has {len(vector)} numbers, others have {self._length}")


@dataclass(kw_only=True)
class PairsApi(ItemsApi):
    """An endpoint that scores documents for a query."""

    has_query = True
    #: Key of the score in an item.
    score_key: ClassVar[str] = "score"

    documents: int = knob(
        10,
        "texts of the dataset that each request scores for a query, which is one too, unless its records bring both",
        unit="texts",
    )
    pairs: str = knob(
        "joint",
        "how the server counts prompt tokens: joint: the query again with each document, as cross-encoders read it; "
        "separate: the query once, as embedding models do",
        choices=PAIRS,
    )
    template_tokens: int = knob(0, "tokens that the server's own template adds to each document", unit="tokens")

    def __post_init__(self) -> None:
        check_choices(self)
        check_count("documents", self.documents)
        check_count("template_tokens", self.template_tokens, least=0)

    def texts_per_request(self) -> int:
        return 1 + self.documents

    def asked_items(self, texts: int) -> int:
        return texts - 1

    def asked_prompt_tokens(self, counts: Sequence[int]) -> int:
        query, *documents = counts
        queries = query * len(documents) if self.pairs == "joint" else query
        return queries + sum(documents) + self.template_tokens * len(documents)

    def check_items(self, items: Sequence[dict[str, Any]]) -> int:
        scores = numbers([item.get(self.score_key) for item in items], self.score_key)
        equal = _EQUAL if len(scores) > 1 and len(set(scores)) == 1 else 0
        return equal if self.in_order or list(scores) == sorted(scores, reverse=True) else equal | _UNSORTED


def numbers(value: Any, name: str) -> list[float]:
    """Return a list of finite numbers; also one in base64, as float32. Raises InvalidItem for anything else."""
    if isinstance(value, str):
        value = _from_base64(value, name)
    if not isinstance(value, list) or not value:
        raise InvalidItem(f"{name} is no list of numbers")
    try:
        if math.isfinite(math.fsum(value)):
            return value
    except (TypeError, OverflowError, ValueError):  # fsum refuses inf - inf
        pass
    raise InvalidItem(f"{name} has a value that is no finite number")


def check_count(key: str, value: int, least: int = 1) -> None:
    """Raise ConfigError if a number of the API is below ``least``."""
    if value < least:
        raise ConfigError(f"api.{key}={value} must be at least {least}")


def _from_base64(text: str, name: str) -> list[float]:
    try:
        return [float(number) for number in np.frombuffer(binascii.a2b_base64(text), "<f4")]
    except ValueError as error:
        raise InvalidItem(f"{name} is no base64 of float32") from error


def _shown(indices: Sequence[Any]) -> str:
    return str(list(indices[:8]))[:-1] + (", ...]" if len(indices) > 8 else "]")
