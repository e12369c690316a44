"""Compares the model name of an answer with the one that was asked for.

Servers repeat the name of the request. Gateways and other servers may write it otherwise; these are the same model:
names that differ only in case and punctuation, in folders or a provider before a slash, in a version after the name
(``gpt-4o`` and ``gpt-4o-2024-08-06``, ``mistral-small-latest``, ``llama3:latest``), or in a file's ending. A stand-in
such as ``model`` names no model at all. Everything else is another model; so is another version, if both are given.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: The value of ``script.answer_model`` that accepts every name.
ANY = "any"
#: Names without meaning; those of one letter belong to them.
_STAND_INS = frozenset(("model", "default", "unknown", "none", "null", "string", "local", "tgi", "llm"))
_SNAPSHOT = re.compile(r"models--(.+?)/snapshots/[^/]+/?$")
_ENDING = re.compile(r"\.(gguf|safetensors|bin|engine|onnx)$")
_VERSION = re.compile(
    r"[-@:_](\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{8}|\d{6}|\d{4}|\d{3}"
    r"|v\d+(\.\d+)*(:\d+)?|latest|preview|stable)$"
)
_PUNCTUATION = re.compile(r"[^0-9a-z]+")


@lru_cache(maxsize=256)
def same_model(asked: str, answered: str) -> bool:
    """Return whether an answer with the name ``answered`` is from the model ``asked``. Unknown names ("") are."""
    if not asked or asked == ANY or answered == asked:
        return True
    name = answered.strip().casefold()
    if len(name) < 2 or name in _STAND_INS:
        return True
    wanted, given = _base_name(asked.strip().casefold()), _base_name(name)
    pairs = {(wanted, given), (wanted, _VERSION.sub("", given)), (_VERSION.sub("", wanted), given)}
    if wanted.endswith(("latest", "preview", "stable")):  # resolved to a date, which that name lacks
        pairs.add((_VERSION.sub("", wanted), _VERSION.sub("", given)))
    return any(_PUNCTUATION.sub("", a) == _PUNCTUATION.sub("", b) for a, b in pairs)


def _base_name(name: str) -> str:
    """Return a name without folders, provider and file ending."""
    snapshot = _SNAPSHOT.search(name)
    name = snapshot[1].replace("--", "/") if snapshot else name
    return _ENDING.sub("", name.rstrip("/").rpartition("/")[2])
