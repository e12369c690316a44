"""Config keys that have a new name. What is typed under the old one is read under the new one.
Errors about a key in a YAML file name the new spelling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

FAKE_FAULTS = ("reset", "timeout", "http_4xx", "http_5xx", "malformed", "error_event", "early_end", "short")
LIMITS = (
    *("failed", "short", "one_piece", "reached", "lag", "client_cpu", "client_wait", "stall", "rise"),
    *("prefix_hit", "preempted", "other_cpu"),
)
#: Old key -> new key. What lies below a key is renamed with it.
RENAMED: Mapping[str, str] = {
    "script.api": "api",
    "script.slo": "slo",
    "sweep.ci": "search.ci",
    "sweep.max_repeats": "search.max_repeats",
    **{f"validity.{limit}_share": f"validity.{limit}_fraction" for limit in LIMITS},
    "validity.client_wait_share_of_server": "validity.client_wait_fraction_of_server",
    **{f"engine.{fault}_share": f"engine.{fault}_fraction" for fault in FAKE_FAULTS},
}
#: New key -> the option of its group that has the key, and that must be chosen with it.
NEEDS: Mapping[str, str] = {"search.ci": "search=repeats", "search.max_repeats": "search=repeats"}
#: The override whose value is made of keys.
ZIP = "sweep.zip"
KEY = r"[\w.]+"


def new_name(key: str) -> str | None:
    """The new name of a key, which may lie below a renamed one; None where it was not renamed."""
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return None


def rename(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides under the new names of their keys, and a note on each key that was renamed."""
    renamed: list[str] = []
    notes: dict[str, str] = {}
    groups = {_key(word) for word in words}
    for word in words:
        new_word = _renamed_word(word)
        if new_word == word:
            renamed.append(word)
            continue
        option = NEEDS.get(_key(new_word), "")
        new_words = [option, new_word] if option and _key(option) not in groups else [new_word]
        groups |= {_key(new) for new in new_words}
        renamed += new_words
        notes.setdefault(_key(word), _note(word, new_words))
    return renamed, list(notes.values())


def _renamed_word(word: str) -> str:
    key, sign, value = word.lstrip("+").partition("=")
    if key == ZIP:
        return f"{key}{sign}{re.sub(KEY, lambda match: new_name(match[0]) or match[0], value)}"
    new_key = new_name(key)
    return word if new_key is None else f"{new_key}{sign}{value}"


def _note(word: str, new_words: Sequence[str]) -> str:
    new_key = new_name(_key(word))
    return f"{f'{_key(word)} is now {new_key}: ' if new_key else ''}reading {word} as {' '.join(new_words)}"


def _key(word: str) -> str:
    return word.lstrip("+").partition("=")[0]
