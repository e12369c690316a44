"""Config keys that were renamed, or are looked for in another group. Overrides with them are read under the right key.

For an old key in a YAML file, the error names the new key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

FAKE_FAULTS = ("reset", "timeout", "http_4xx", "http_5xx", "malformed", "error_event", "early_end", "short")
LIMITS = (
    *("failed", "short", "one_piece", "reached", "lag", "client_cpu", "client_wait", "stall", "rise"),
    *("prefix_hit", "preempted", "other_cpu"),
)
#: Old key -> new key. Keys below a renamed key are renamed with it.
RENAMED: Mapping[str, str] = {
    "script.api": "api",
    "script.slo": "slo",
    "sweep.ci": "search.ci",
    "sweep.max_repeats": "search.max_repeats",
    "load.time_unit": "dataset.time_unit",  # of recorded send times, which load=trace replays
    **{f"validity.{limit}_share": f"validity.{limit}_fraction" for limit in LIMITS},
    "validity.client_wait_share_of_server": "validity.client_wait_fraction_of_server",
    **{f"engine.{fault}_share": f"engine.{fault}_fraction" for fault in FAKE_FAULTS},
}
#: New key -> the option that has this key, which must be selected with it.
NEEDS: Mapping[str, str] = {"search.ci": "search=repeats", "search.max_repeats": "search=repeats"}
#: The override whose value contains keys.
ZIP = "sweep.zip"
KEY = r"[\w.]+"


def new_name(key: str) -> str | None:
    """Return the new name of a renamed key, or of a key below one; None if it was not renamed."""
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return None


def rename(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides with their keys renamed, and one note for each renamed key."""
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
