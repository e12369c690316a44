"""Flags of a server's command line: from ``engine.args`` to words, and checked against the flags that it has."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchhydra.errors import ConfigError

#: Flags that benchhydra sets itself.
RESERVED_FLAGS = ("host", "hostname", "port")


@dataclass(frozen=True)
class ProgramFlags:
    """The flags that a program declares, with underscores. switches: those without a value."""

    names: frozenset[str]
    switches: frozenset[str] = frozenset()

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> ProgramFlags | None:
        """Return the flags in the facts of a package; None if it declares none."""
        if not facts.get("flags"):
            return None
        return cls(frozenset(facts["flags"]), frozenset(facts.get("switches", ())))

    def off_words(self, name: str, separator: str) -> list[str] | None:
        """Return the words that turn a flag off; None if it has a value, or is unknown.

        They are ``--no-NAME`` if the program has it, and none for a switch that is off without being named.
        """
        if f"no_{name}" in self.names:
            return [f"--no{separator}{name.replace('_', separator)}"]
        return [] if name in self.switches else None


def flag_name(key: str) -> str:
    """Return a flag's name with underscores: ``--ctx-size`` and ``ctx_size`` are one flag."""
    return key.lstrip("-").replace("-", "_")


def flag_words(flags: Mapping[str, Any], declared: ProgramFlags | None = None, *, separator: str = "-") -> list[str]:
    """Return flags as words: ``{"ctx_size": 64, "metrics": True}`` -> --ctx-size 64 --metrics.

    declared: the program's flags; None: unknown, so a value of False becomes ``--no-NAME``. separator: between the
    parts of a name. Lists become one word each item, dictionaries JSON. ``check_flags`` refuses others that are off.
    """
    words: list[str] = []
    for key, value in flags.items():
        name = flag_name(key)
        flag = f"--{name.replace('_', separator)}"
        if value is None:
            continue
        if value is False:
            off = declared.off_words(name, separator) if declared is not None else None
            words += [f"--no{separator}{name.replace('_', separator)}"] if off is None else off
        elif value is True:
            words.append(flag)
        elif isinstance(value, (list, tuple)):
            words += [flag, *map(str, value)] if value else []
        else:
            words += [flag, json.dumps(value) if isinstance(value, Mapping) else str(value)]
    return words


def check_flags(
    program: str, args: Mapping[str, Any], declared: ProgramFlags | None, *, key: str = "engine.args"
) -> None:
    """Raise ConfigError for a flag that benchhydra sets itself, that the program lacks, or that cannot be off.

    declared: the program's flags; None: they are unknown, so the program checks them itself. key: the config key that
    holds ``args``.
    """
    for arg, value in args.items():
        name = flag_name(arg)
        if name in RESERVED_FLAGS:
            raise ConfigError(f"{key}.{name} is set by benchhydra itself", hint="engine=attach for your own server")
        if declared is None:
            continue
        if name not in declared.names and name.removeprefix("no_") not in declared.names:
            near = difflib.get_close_matches(name, declared.names, n=1, cutoff=0.6)
            hint = f"did you mean {key}.{near[0]}?" if near else "its --help lists its flags"
            raise ConfigError(f"{key}.{name}: {program} has no such flag", hint=hint)
        if value is False and declared.off_words(name, "-") is None:
            raise ConfigError(
                f"{key}.{name}=false: {program} has no --no-{name.replace('_', '-')}, and the flag takes a value",
                hint=f"\"{key}.{name}='false'\" gives it the word false; leave it out for its default",
            )
