"""Headers of requests whose values are in environment variables: API keys, and what a gateway routes by.

The config holds the variables' names only. Values are read at each use, and are in no message: they may be secrets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from benchhydra.errors import ConfigError
from benchhydra.redaction import protect

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Names of variables as they are usually written: anything else is not repeated, because it may be the key itself.
VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
#: The client sends these itself, as the body of each request needs them.
FRAMING = ("connection", "content-length", "transfer-encoding")


def headers_from_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of ``engine.headers``, which maps their names to names of variables. Raises ConfigError."""
    headers = {}
    for name, variable in variables.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in FRAMING:
            raise ConfigError(f"engine.headers.{name}: this header cannot be set", hint="engine.headers.NAME=VARIABLE")
        headers[name] = variable_value(f"engine.headers.{name}", variable)
    return headers


def variable_value(key: str, variable: str) -> str:
    """Return the value of an environment variable for a header. Raises ConfigError, which names the config key."""
    value = os.environ.get(variable) if variable and "=" not in variable and "\0" not in variable else None
    if not value:
        if VARIABLE_NAME.fullmatch(variable):
            raise ConfigError(f"{key}={variable}: this environment variable is not set", hint=f"export {variable}=...")
        raise ConfigError(
            f"{key} must be the name of an environment variable that is set, not the value itself",
            hint=f"export MY_KEY=... and {key}=MY_KEY",
        )
    if not value.isprintable() or not value.isascii() or value != value.strip():
        raise ConfigError(
            f"{key}={variable}: the value has a line break, a space at an end or a letter that is not ASCII",
            hint=f"export {variable}=... again: a header cannot have such a value",
        )
    protect([value])
    return value
