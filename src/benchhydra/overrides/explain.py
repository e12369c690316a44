"""Translate errors of Hydra and OmegaConf into one line that says what is wrong, and a hint that says what to type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from benchhydra.overrides.grammar import SEARCHED, open_keys
from benchhydra.overrides.groups import group_names, group_options
from benchhydra.overrides.suggestions import config_keys, nearest, suggest_key, suggest_option, suggest_word
from benchhydra.registry import CONF_DIR
from benchhydra.renamed_keys import new_name

TYPES = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "a text"}


def explain(error: Exception, words: Sequence[str], subcommands: Sequence[str] = ()) -> tuple[str, str]:
    """(what is wrong, hint) for an error that composing the words raised; an empty hint if there is none to give.

    subcommands: the names that are suggested for a word that is not an override.
    """
    if isinstance(error, OSError) and error.filename:
        return f"cannot read or write {error.filename}: {error.strerror}", "hydra.run.dir=DIR or hydra.sweep.dir=DIR"
    if isinstance(error, UnicodeDecodeError):
        return f"{_undecodable_file(words)} is not UTF-8: byte {error.start} ({error.reason})", ""
    text = _text(error)
    unparsed = re.search(NOT_AN_OVERRIDE, text)
    if unparsed:
        return _syntax(unparsed[1].strip(), words, subcommands)
    for pattern, explanation in _EXPLANATIONS:
        match = re.search(pattern, text, re.DOTALL)
        if match:
            return explanation(match, words)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__, ""


def _undecodable_file(words: Sequence[str]) -> str:
    """The file of the user's config directories that is not UTF-8: Hydra's error does not name it."""
    pairs = pairwise([*words, ""])
    named = [word.partition("=")[2] or after for word, after in pairs if word.partition("=")[0] in SEARCHED]
    folders = [*map(Path, named), CONF_DIR]
    for file in (file for folder in folders for file in sorted(folder.rglob("*.yaml"))):
        try:
            file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return str(file)
    return "a file of the configuration"


def _text(error: BaseException) -> str:
    """The texts of an error and of what led to it. OmegaConf re-raises errors so that their chain may be a circle."""
    chain: dict[int, str] = {}
    following: BaseException | None = error
    while following is not None and id(following) not in chain:
        chain[id(following)] = str(following)
        following = following.__cause__ or following.__context__
    return "\n".join(chain.values())


def _unknown_key(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    key = match[1]
    inside = re.search(rf"full_key: ({re.escape(key)}\.\S+)", match.string)
    if inside:  # KEY={NAME:VALUE}
        key = inside[1]
    if new_name(key):
        return f"no such key: {key}", f"{key} is now {new_name(key)}"
    if any(key.startswith(f"{open_key}.") for open_key in open_keys()):
        return f"{key} cannot be set within {match[1]}", f"{key}=VALUE, as a word of its own"
    keys = [other for other in config_keys(words) if not key.startswith(f"{other}.")]
    suggestion = suggest_key(key, _value_of(key, words), keys)
    if suggestion:
        return f"no such key: {key}", suggestion
    parent = key.rpartition(".")[0]
    names = sorted({_below(other, parent) for other in keys if other.startswith(f"{parent}." if parent else "")})
    siblings = f"{parent or 'the top level'} has: {', '.join(names)}"
    return f"no such key: {key}", siblings if names else "benchhydra options lists all keys"


def _value_of(key: str, words: Sequence[str]) -> str:
    """The value that the words set for a key; an empty text if none does."""
    values = (word.partition("=")[2] for word in words if word.lstrip("+~").partition("=")[0] == key)
    return next(values, "")


def _unknown_option(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    pairs = (word.lstrip("+").partition("=")[::2] for word in words)
    group, name = next((pair for pair in pairs if "/".join(pair) == match[1]), match[1].rpartition("/")[::2])
    if group == "hydra/launcher":
        hint = f"the launcher's package is not installed: pip install 'benchhydra[{_extra(name)}]'"
        return f"no such option: {group}={name}", hint
    options = re.findall(r"^\t(\S+)$", match.string, re.MULTILINE)
    if group in group_names():
        hint = suggest_option(group, name, (*group_options(group), *options))
    else:
        hint = f"{group} is one of {', '.join(dict.fromkeys(options))}" if options else "benchhydra --help lists groups"
    return f"no such option: {group}={name}", hint


def _extra(launcher: str) -> str:
    return "slurm" if launcher.startswith("submitit") else launcher


def _wrong_value(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    override = match[1].strip()
    key, _, value = override.lstrip("+").partition("=")
    if key in open_keys():
        return f"{key}={value}: the value must be keys and values", f"{key}.NAME=VALUE, or '{key}={{NAME:VALUE}}'"
    if "is not Optional" in match.string:
        return f"{key}={value}: the value must not be null", f"benchhydra options {key}"
    kind = re.search(
        r"could not be converted to (\w+)|is not a valid (\w+)|Incompatible value .*?field of type '([\w |\[\]]+)'",
        match.string,
    )
    type_name = next((name for name in (kind.groups() if kind else ()) if name), "")
    expected = TYPES.get(_plain_type(type_name.lower()), type_name or "another kind of value")
    doc = _doc(key)
    return f"{key}={value}: the value must be {expected}", f"{key}: {doc}" if doc else f"benchhydra options {key}"


def _plain_type(name: str) -> str:
    return {"integer": "int", "float": "float", "boolean": "bool", "string": "str"}.get(name, name)


def _missing(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    owner = re.search(r"object_type=(\w+)", match.string)
    key = re.search(r"full_key: (\S+)", match.string)
    name = key[1] if key else match[1]
    if "." not in name and owner:
        name = f"{owner[1].lower()}.{name}"
    return f"{name} has no value", f"{name}=VALUE"


def _syntax(word: str, words: Sequence[str], subcommands: Sequence[str]) -> tuple[str, str]:
    if "=" in word:
        return _syntax_of(word)
    if word in config_keys(words):
        return f"{word} has no value", f"{word}=VALUE; benchhydra options {word} describes it"
    return f"unknown command: {word}", suggest_word(word, words, subcommands) or "benchhydra --help"


def _syntax_of(word: str) -> tuple[str, str]:
    hint = f"quote a value that has special characters: \"{word.partition('=')[0]}='...'\""
    return f"{word}: cannot be read as KEY=VALUE", hint


def _unreadable(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    word = next((word for word in words if word.partition("=")[2].startswith(match[1])), match[1])
    return _syntax_of(word)


def _several(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    return f"{match[1]}: several values need a sweep", "add -m to measure each of them"


def _not_added(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    return f"{match[1]} already has a value", f"leave out the +, or use ++{match[1]}=VALUE"


def _interpolation(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    return f"the interpolation {match[1]!r} names a key that does not exist", ""


def _duplicate(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    return f"{match[1]} was given twice", "give each group once"


def _no_group(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    group = match[1]
    near = nearest(group, config_keys(words))
    return f"no such config group: {group}", f"did you mean {near}?" if near else "benchhydra --help lists all groups"


def _number_for_option(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    word = next(word for word in words if word.partition("=")[0].lstrip("+") in group_names() and _is_number(word))
    group, _, number = word.lstrip("+").partition("=")
    return f"no such option: {group}={number}", suggest_option(group, number, group_options(group))


def _is_number(word: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.]+(,.*)?", word.partition("=")[2]) is not None


NOT_AN_OVERRIDE = r"(?:Error parsing override|mismatched input .* override) '([^\n]*?)'\n"
_EXPLANATIONS = (
    (r"Could not override '([^']+)'\.\nTo append", _unknown_key),
    (r"Key '[^']+' (?:is not|not) in (?:struct|'\w+')\s+full_key: (\S+)", _unknown_key),
    (r"Could not find '([^']+)'", _unknown_option),
    (r"Unable to find or open '([^']+)'", _unknown_option),
    (r"Config group override must be a string or a list. Got (?:int|float)", _number_for_option),
    (r"Error merging override ([^\n]+)", _wrong_value),
    (r"missing mandatory value: (\w+)", _missing),
    (r"^no viable alternative at input '([^']+)'", _unreadable),
    (r"Ambiguous value for argument '([^']+)'", _several),
    (r"No match in the defaults list\. Did you mean to override '([^']+)'", _duplicate),
    (r"Could not append to config\. An item is already at '([^']+)'", _not_added),
    (r"looks like a config group override, but config group '([^']+)' does not exist", _no_group),
    (r"Could not override '([^']+)'\.\nNo match in the defaults list", _no_group),
    (r"Multiple values for ([^\s.]+)\.", _duplicate),
    (r"Interpolation key '([^']+)' not found", _interpolation),
)


def _below(key: str, parent: str) -> str:
    return key[len(parent) + 1 :].partition(".")[0] if parent else key.partition(".")[0]


def _doc(key: str) -> str:
    """The meaning of a root key and its unit, from the schema; empty for other keys."""
    import dataclasses

    from benchhydra.config import BenchConfig  # start-up time: all options

    for field in dataclasses.fields(BenchConfig):
        if field.name == key and "doc" in field.metadata:
            unit = field.metadata.get("unit")
            return f"{field.metadata['doc']}{f' ({unit})' if unit else ''}"
    return ""
