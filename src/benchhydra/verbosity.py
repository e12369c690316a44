"""How much a run or a sweep prints, as chosen on the command line: its tables, its results as JSON, or nothing.

It is no key of the config, because it says nothing about what is measured. It holds for this process: workers of other
launchers print their progress whatever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class Verbosity(Enum):
    """TABLES: progress on stderr and tables on stdout. JSON: results on stdout. QUIET: only errors, on stderr."""

    TABLES = ()
    JSON = ("--json",)
    QUIET = ("-q", "--quiet")


#: Option -> what it chooses.
OPTIONS = {option: choice for choice in Verbosity for option in choice.value}

_verbosity = Verbosity.TABLES


def verbosity() -> Verbosity:
    """What was chosen."""
    return _verbosity


def choose_verbosity(words: Sequence[str]) -> list[str]:
    """Keep the choice that is among the words of a command line (the last one), and return the other words."""
    global _verbosity
    _verbosity = next((OPTIONS[word] for word in reversed(words) if word in OPTIONS), Verbosity.TABLES)
    return [word for word in words if word not in OPTIONS]
