"""What the user may have meant by a key, an option or a word that does not exist here.

In this order: the new name of a renamed key; another tool's word; a near miss of a key; a key in the wrong place
(``dataset.qps``); a key of an option that was not selected.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from benchhydra import registry
from benchhydra.overrides import other_tools
from benchhydra.overrides.groups import group_names, group_options
from benchhydra.registry import CONF_DIR, GROUPS
from benchhydra.renamed_keys import RENAMED, new_name

#: Similarity (difflib's ratio) from which a key is a typo, whatever other tools call so; and the least of a suggestion.
TYPO = 0.85
SIMILAR = 0.6


def suggest_key(key: str, value: str, keys: Sequence[str]) -> str:
    """What to type for a key that is none of ``keys``, those of the composed config; an empty text if unknown."""
    if new_name(key):
        return f"{key} is now {new_name(key)}"
    leaf = key.rpartition(".")[2]
    near = _near(key, keys, TYPO)
    owner = _of_unselected_option(key)
    hint = _foreign(key, value, keys) or (owner if "." in key else "") or near or _same_leaf(key, keys) or owner
    hint = hint or _foreign(leaf, value, keys) or _near(key, keys, SIMILAR)
    hint = hint or _of_unselected_option(leaf) or _misspelt_foreign(leaf, value)
    return f"did you mean {hint}?" if hint else ""


def suggest_option(group: str, option: str, options: Iterable[str]) -> str:
    """What to type for an option that a group does not have; ``options`` are those that it has."""
    options = list(dict.fromkeys(options))
    foreign = other_tools.option_hint(group, option)
    near = difflib.get_close_matches(option, options, n=1, cutoff=0.5)
    choices = f"{group} is one of {', '.join(options)}"
    hint = foreign or (f"{group}={near[0]}" if near else "")
    return f"did you mean {hint}? {choices}" if hint else choices


def suggest_dashed(name: str, value: str, flags: Iterable[str]) -> str:
    """What to type for an option with dashes that does not exist: keys have no dashes here."""
    key = other_tools.normalized(name)
    keys = [*config_keys(()), *group_names()]
    if key in keys:
        hint = other_tools.option_hint(key, value) if value and key in group_names() else ""
        return f"did you mean {hint or other_tools.with_value(f'{key}={{value}}', value)}?"
    hint = _foreign(key, value, keys)
    near = difflib.get_close_matches(name, list(flags), n=1)
    if not hint and near:
        return f"did you mean {near[0]}?"
    return f"did you mean {hint}?" if hint else suggest_key(key, value, keys)


def suggest_word(word: str, words: Sequence[str], subcommands: Sequence[str]) -> str:
    """What to type for a word that is neither KEY=VALUE nor a subcommand."""
    if word in subcommands:
        return f"the subcommand comes first: benchhydra {word} ..."
    hint = other_tools.word_hint(word)
    if hint:
        return f"did you mean {hint}?"
    groups = [group for group in group_names() if word in group_options(group)]
    near = difflib.get_close_matches(word, subcommands, n=1, cutoff=0.5)
    if groups:
        return f"did you mean {groups[0]}={word}?"
    return f"did you mean {near[0]}?" if near else suggest_key(word, "", config_keys(words))


def nearest(key: str, keys: Iterable[str]) -> str:
    """The most similar key, else one with the same last part (``dataset.path`` for ``path``), else an empty text."""
    candidates = list(keys)
    return _near(key, candidates, SIMILAR) or _same_leaf(key, candidates)


def config_keys(words: Sequence[str]) -> list[str]:
    """All dotted keys of the config that the words' group choices compose; of the default config if these fail."""
    choices = [word for word in words if re.fullmatch(rf"({'|'.join((*GROUPS, 'model'))})=\w+", word)]
    GlobalHydra.instance().clear()
    return next(filter(None, map(_composed_keys, (tuple(choices), ()))), [])


@cache
def _composed_keys(choices: tuple[str, ...]) -> list[str]:
    """All dotted keys of the composed config; none if it cannot be composed."""
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return _keys(compose("config", overrides=list(choices)))
    except (HydraException, OmegaConfBaseException):
        return []


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key in map(str, config):
        keys.append(f"{prefix}{key}")
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_missing() and not node._is_none():
            keys += _keys(node, f"{prefix}{key}.")
    return keys


def _near(key: str, keys: Iterable[str], cutoff: float) -> str:
    """The most similar key, by its current name: keys are also compared under the names that they had before."""
    names: Mapping[str, str] = {**RENAMED, **{name: name for name in keys}}
    near = difflib.get_close_matches(key, names, n=1, cutoff=cutoff)
    return names[near[0]] if near else ""


def _same_leaf(key: str, keys: Iterable[str]) -> str:
    leaf = key.rpartition(".")[2]
    return next((other for other in keys if other.rpartition(".")[2] == leaf), "")


def _of_unselected_option(key: str) -> str:
    """``load=ramp load.start_qps`` for ``load.start_qps`` or ``start_qps``, if options have this key: all of them."""
    group, _, leaf = key.rpartition(".")
    for owner in GROUPS:
        options = registry.options(owner).items() if group in ("", owner) else ()
        names = [name for name, cls in options if any(field.name == leaf for field in dataclasses.fields(cls))]
        if names:
            return f"{owner}={'|'.join(names)} {owner}.{leaf}"
    return ""


def _foreign(key: str, value: str, keys: Sequence[str]) -> str:
    """The hint for another tool's key, unless it is a key of ours that the selected options do not have."""
    hint = other_tools.with_value(other_tools.SERVER, value) if other_tools.URL.fullmatch(value) else ""
    hint = hint or other_tools.key_hint(key, value)
    first, _, _ = hint.partition("=")
    return "" if first.startswith("script.") and first not in keys and ".body." not in first else hint


def _misspelt_foreign(key: str, value: str) -> str:
    near = difflib.get_close_matches(other_tools.normalized(key), other_tools.KEYS, n=1, cutoff=0.8)
    return other_tools.key_hint(near[0], value) if near else ""
