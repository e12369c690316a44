"""Which words complete a command line: a pure function of the line and of what may be typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchhydra.commands._vocabulary import Vocabulary
from benchhydra.overrides import grammar
from benchhydra.verbosity import OPTIONS

PROGRAM_WORDS = ("help", "version")
HELP_TOPIC = "exit-codes"
FLAG_PREFIX = "engine.args."


def engine_python(line: str) -> str | None:
    """The interpreter of the engine that the line names, if it does."""
    values = [word.partition("=")[2] for word in line.split() if word.startswith("engine.python=")]
    return values[-1] if values else None


def candidates(line: str, vocabulary: Vocabulary, flags: Sequence[str] = ()) -> list[str]:
    """What the last word of the line (up to the cursor) can become; if nothing, the shell offers files.

    Words that end in ``=`` or ``.`` go on: the shell adds no space. ``flags``: what may follow ``engine.args.``.
    """
    _, *words = line.split() or [""]
    current = words.pop() if words and not line[-1].isspace() else ""
    if words and words[0] in vocabulary.commands:
        matches: Iterable[str] = _of_command(words, current, vocabulary)
    elif words and words[0] == "help":
        matches = [*vocabulary.commands, *vocabulary.groups, HELP_TOPIC]
    else:
        matches = _of_run(words, current, vocabulary, flags)
    return sorted({word for word in matches if word.startswith(current)})


def _of_command(words: Sequence[str], current: str, vocabulary: Vocabulary) -> Iterable[str]:
    options = vocabulary.commands[words[0]]
    if options.get(words[-1]):
        return options[words[-1]]
    if words[0] == "options" and not current.startswith("-"):
        return vocabulary.groups
    return options if current.startswith("-") else ()


def _of_run(words: Sequence[str], current: str, vocabulary: Vocabulary, flags: Sequence[str]) -> Iterable[str]:
    if words and words[-1] in grammar.CONFIG:
        return grammar.CONFIG_CHOICES
    if words and words[-1] in grammar.VALUED:
        return ()
    if current.startswith("-"):
        return ("--help", *OPTIONS, *grammar.FLAGS, *grammar.VALUED)
    keys = _keys(words, vocabulary, flags)
    if "=" in current:
        return _values(current, keys | vocabulary.groups)
    names = [f"{name}=" for name in (*vocabulary.groups, *keys)]
    first_words = () if words else (*vocabulary.commands, *PROGRAM_WORDS)
    return [*first_words, *(_up_to_dot(name, current) for name in names if name.startswith(current))]


def _values(current: str, keys: dict[str, list[str]]) -> Iterable[str]:
    """``KEY=VALUE`` for each value that the key allows; after a comma, further values of a sweep."""
    key, _, typed = current.partition("=")
    earlier = typed.rpartition(",")[0]
    start = f"{key}={earlier}," if earlier else f"{key}="
    return [f"{start}{value}" for value in keys.get(key, ()) if value not in earlier.split(",")]


def _keys(words: Sequence[str], vocabulary: Vocabulary, flags: Sequence[str]) -> dict[str, list[str]]:
    """Key -> values, of the options that the words select; of all options of a group that they do not select."""
    selected = {word.partition("=")[0]: word for word in words if word in vocabulary.keys}
    keys = {f"{FLAG_PREFIX}{flag}": list[str]() for flag in flags}
    for owner, names in vocabulary.keys.items():
        if selected.get(owner.partition("=")[0], owner) == owner:
            keys |= names
    return keys


def _up_to_dot(name: str, current: str) -> str:
    """A name up to the first dot after what is typed, so that a group is one candidate: ``engine.``."""
    dot = name.find(".", len(current))
    return name if dot < 0 else name[: dot + 1]
