"""Flags of a server's command line: from ``engine.args`` to words, and checked against the flags that it has."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import Any

from benchhydra.errors import ConfigError

#: Flags that benchhydra sets itself.
RESERVED_FLAGS = ("host", "hostname", "port")


def flag_name(key: str) -> str:
    """Return a flag's name with underscores: ``--ctx-size`` and ``ctx_size`` are one flag."""
    return key.lstrip("-").replace("-", "_")


def flag_words(
    flags: Mapping[str, Any], *, separator: str = "-", negatable: Collection[str] | None = None
) -> list[str]:
    """Return flags as words: ``{"ctx_size": 64, "metrics": True}`` -> --ctx-size 64 --metrics.

    separator: between the parts of a name. negatable: the flags (with underscores) that have a ``--no-`` form, which a
    value of False becomes; None: all have. Other flags are left out if they are False. Lists become one word each item,
    dictionaries JSON.
    """
    words: list[str] = []
    for key, value in flags.items():
        name = flag_name(key)
        flag = f"--{name.replace('_', separator)}"
        if value is None or (value is False and negatable is not None and name not in negatable):
            continue
        if isinstance(value, bool):
            words.append(flag if value else f"--no{separator}{name.replace('_', separator)}")
        elif isinstance(value, (list, tuple)):
            words += [flag, *map(str, value)] if value else []
        else:
            words += [flag, json.dumps(value) if isinstance(value, Mapping) else str(value)]
    return words


def check_flags(
    program: str, args: Mapping[str, Any], flags: Collection[str] | None, *, key: str = "engine.args"
) -> None:
    """Raise ConfigError for a flag that benchhydra sets itself, and for one that the program does not have.

    flags: the program's flags, with underscores; None: they are unknown, so the program checks them itself. key: the
    config key that holds ``args``.
    """
    for name in map(flag_name, args):
        if name in RESERVED_FLAGS:
            raise ConfigError(f"{key}.{name} is set by benchhydra itself", hint="engine=attach for your own server")
        if flags is None or name in flags or name.removeprefix("no_") in flags:
            continue
        near = difflib.get_close_matches(name, flags, n=1, cutoff=0.6)
        hint = f"did you mean {key}.{near[0]}?" if near else "its --help lists its flags"
        raise ConfigError(f"{key}.{name}: {program} has no such flag", hint=hint)
