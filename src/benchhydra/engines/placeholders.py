"""Placeholders in the words of a command line: ``{port}``, ``{model}``, ``{env:NAME}``; and no secrets in them."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from benchhydra.engines.request_headers import variable_value
from benchhydra.errors import ConfigError
from benchhydra.redaction import is_secret_name, protect

FREE_PORT = re.compile(r"\{free_port\}")
PLACEHOLDER = re.compile(r"\{(?:env:(?P<variable>[^{}]+)|(?P<name>[a-z_]+\d*))\}")


def fill_names(word: str, values: Mapping[str, str]) -> str:
    """Return a word of a command line with ``{name}`` replaced for the names in ``values``; other braces stay."""
    return PLACEHOLDER.sub(lambda match: values.get(match["name"] or "", match[0]), word)


def fill_free_ports(words: Sequence[str], *, without: int) -> list[str]:
    """Return words of a command line with each ``{free_port}`` replaced by a port that is free now, all different.

    without: the server's own port, which is free until the server has started; ``servers`` chooses and watches it.
    Another program may take a port before it is used.
    """
    with ExitStack() as stack:  # listeners that are open at once have different ports
        return [FREE_PORT.sub(lambda _: str(_free_port(stack, without)), word) for word in words]


def _free_port(stack: ExitStack, without: int) -> int:
    while True:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        if port != without:
            return port


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
