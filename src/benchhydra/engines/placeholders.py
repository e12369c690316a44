"""Placeholders in the words of a command line: ``{port}``, ``{model}``, ``{env:NAME}``; and no secrets in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from benchhydra.engines.request_headers import variable_value
from benchhydra.errors import ConfigError
from benchhydra.redaction import is_secret_name, protect

PLACEHOLDER = re.compile(r"\{(?:env:(?P<variable>[^{}]+)|(?P<name>[a-z_]+\d*))\}")


def fill_names(word: str, values: Mapping[str, str]) -> str:
    """Return a word of a command line with ``{name}`` replaced for the names in ``values``; other braces stay."""
    return PLACEHOLDER.sub(lambda match: values.get(match["name"] or "", match[0]), word)


def fill_variables(word: str) -> str:
    """Return a word of a command line with each ``{env:NAME}`` filled in. Raises ConfigError if one is not set.

    The values are hidden in everything that is stored or shown from then on.
    """
    return PLACEHOLDER.sub(
        lambda match: variable_value(match[0], match["variable"]) if match["variable"] else match[0], word
    )


def refuse_secrets(key: str, words: Sequence[str]) -> None:
    """Raise ConfigError if words hold a secret, as ``--api-key VALUE``, ``--api-key=VALUE`` or ``API_KEY=VALUE`` do."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        value = value if equals else following
        if not (equals or name.startswith("--")) or not is_secret_name(name) or not value or PLACEHOLDER.search(value):
            continue
        protect([value])
        variable = name.lstrip("-").replace("-", "_").upper()
        hint = f"export {variable}=... and {name},'{{env:{variable}}}'"
        if not name.startswith("-"):
            hint = f"export {variable}=... instead: engines inherit the environment"
        raise ConfigError(f"{key}: {name} has a secret as its value, and results contain the config", hint=hint)
