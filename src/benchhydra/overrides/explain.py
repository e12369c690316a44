"""Translate errors of Hydra and OmegaConf into one line that says what is wrong, and a hint that says what to type."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from benchhydra.overrides.grammar import open_keys
from benchhydra.registry import CONF_DIR, GROUPS
from benchhydra.renamed_keys import new_name

TYPES = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "a text"}


def explain(error: Exception, words: Sequence[str], subcommands: Sequence[str] = ()) -> tuple[str, str]:
    """(what is wrong, hint) for an error that composing the words raised; an empty hint if there is none to give.

    subcommands: the names that are suggested for a word that is not an override.
    """
    if isinstance(error, OSError) and error.filename:
        return f"cannot read or write {error.filename}: {error.strerror}", "hydra.run.dir=DIR or hydra.sweep.dir=DIR"
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
    near = nearest(key, keys)
    if near:
        return f"no such key: {key}", f"did you mean {near}?"
    parent = key.rpartition(".")[0]
    names = sorted({_below(other, parent) for other in keys if other.startswith(f"{parent}." if parent else "")})
    siblings = f"{parent or 'the top level'} has: {', '.join(names)}"
    return f"no such key: {key}", siblings if names else "benchhydra options lists all keys"


def _unknown_option(match: re.Match[str], words: Sequence[str]) -> tuple[str, str]:
    group, _, name = match[1].rpartition("/")
    options = re.findall(r"^\t(\S+)$", match.string, re.MULTILINE)
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if not options:
        return f"no such option: {group}={name}", "benchhydra --help lists all groups"
    choices = f"{group} is one of {', '.join(dict.fromkeys(options))}"
    if group == "hydra/launcher":
        choices = f"the launcher's package is not installed: pip install 'benchhydra[{_extra(name)}]'"
    return f"no such option: {group}={name}", f"did you mean {group}={near[0]}? {choices}" if near else choices


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
    near = difflib.get_close_matches(word, subcommands, n=1, cutoff=0.5)
    return f"unknown command: {word}", f"did you mean {near[0]}?" if near else "benchhydra --help"


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


NOT_AN_OVERRIDE = r"(?:Error parsing override|mismatched input .* override) '([^\n]*?)'\n"
_EXPLANATIONS = (
    (r"Could not override '([^']+)'\.\nTo append", _unknown_key),
    (r"Key '[^']+' (?:is not|not) in (?:struct|'\w+')\s+full_key: (\S+)", _unknown_key),
    (r"Could not find '([^']+)'", _unknown_option),
    (r"Unable to find or open '([^']+)'", _unknown_option),
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


def nearest(key: str, keys: Iterable[str]) -> str:
    """The most similar key, else one with the same last part (``dataset.path`` for ``path``), else an empty text."""
    candidates = list(keys)
    near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.6)
    if near:
        return near[0]
    same_end = [other for other in candidates if other.rpartition(".")[2] == key.rpartition(".")[2]]
    return same_end[0] if same_end else ""


def _below(key: str, parent: str) -> str:
    return key[len(parent) + 1 :].partition(".")[0] if parent else key.partition(".")[0]


def config_keys(words: Sequence[str]) -> list[str]:
    """All dotted keys of the config that the words' group choices compose; of the default config if these fail."""
    choices = [word for word in words if re.fullmatch(rf"({'|'.join((*GROUPS, 'model'))})=\w+", word)]
    for overrides in (choices, []):
        try:
            GlobalHydra.instance().clear()
            with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
                return _keys(compose("config", overrides=overrides))
        except (HydraException, OmegaConfBaseException):
            continue
    return []


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key in map(str, config):
        keys.append(f"{prefix}{key}")
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_missing() and not node._is_none():
            keys += _keys(node, f"{prefix}{key}.")
    return keys


def _doc(key: str) -> str:
    """The meaning of a root key and its unit, from the schema; empty for other keys."""
    import dataclasses

    from benchhydra.config import BenchConfig  # start-up time: all options

    for field in dataclasses.fields(BenchConfig):
        if field.name == key and "doc" in field.metadata:
            unit = field.metadata.get("unit")
            return f"{field.metadata['doc']}{f' ({unit})' if unit else ''}"
    return ""
