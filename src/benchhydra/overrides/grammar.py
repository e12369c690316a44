"""Our extensions of Hydra's grammar: rewritten into plain Hydra overrides before Hydra parses the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.overrides.other_tools import key_hint
from benchhydra.target import Gpus, Model

#: A URL, or host and port, with an IPv6 address: Hydra would read a list. ``http://[::1]:8000``
IPV6_ADDRESS = re.compile(
    r"(?:[a-z][\w+.-]*://(?:[^\s@/\[\]]*@)?(?=\[)|(?=\[[^\]]*\]:\d))"
    r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?\][^\s,'\"{}()\[\]]*"
)
#: Groups whose options are YAML files of one class.
PLAIN_CLASSES: dict[str, type[Any]] = {"model": Model, "gpus": Gpus}
#: A group that is not in the defaults list: plain Hydra requires a ``+`` there.
PRESETS = "experiment="
PAIR_KEY = "nr_qps_pair"
PAIR = ("num_prompts", "qps")
#: Overrides that need a sweep, and those of them that set the default and so do not.
SWEEP_ONLY = ("sweep.plan=true", "sweep.resume=", "sweep.zip=", "search=", "repeats=")
NO_SWEEP = ("repeats=1", "search=grid")
#: Hydra's own options that take the word after them.
VALUED = (
    *("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name"),
    *("-cd", "--config-dir", "--experimental-rerun"),
)
CONFIG = ("-c", "--cfg")
CONFIG_CHOICES = ("job", "hydra", "all")
SEARCHED = ("-cd", "--config-dir", "-cp", "--config-path")
INFO = ("-i", "--info")
COMPLETION = ("-sc", "--shell-completion")
FLAGS = ("-m", "--multirun", "-r", "--run", "--resolve", "--version", "--hydra-help", *INFO, *COMPLETION)


def rewrite(words: Sequence[str]) -> list[str]:
    """The words in Hydra's own grammar. Raises ConfigError if an override is invalid or would have no effect."""
    options, overrides = _split(words)
    if any(option in COMPLETION for option in options):
        return [*options, *overrides]
    _refuse_unused_rate(overrides)
    if not _searches(options):  # a config directory of the user may have more groups
        _refuse_new_keys(overrides)
    rewritten = [new for word in overrides for new in _override(word)]
    if not is_multirun(words) and needs_multirun(rewritten):
        options.insert(0, "--multirun")
    if not is_multirun([*options, *rewritten]):
        _refuse_values_of_a_sweep(rewritten)
    return [*options, *rewritten]


def is_multirun(words: Iterable[str]) -> bool:
    """Whether the words ask for a sweep, or may do so: a preset (``experiment=``) can set the mode."""
    return any(word in ("-m", "--multirun") or _may_set_mode(word) for word in words)


def decides_mode(words: Sequence[str]) -> bool:
    """Whether only ``-m`` decides if this is a sweep: there is no preset and no config directory of the user."""
    return not any(_may_set_mode(word) for word in words) and not _searches(words)


def needs_multirun(words: Iterable[str]) -> bool:
    """Whether an override needs a sweep, so that ``-m`` is implied."""
    return any(word.lower().startswith(SWEEP_ONLY) and word not in NO_SWEEP for word in words)


def _may_set_mode(word: str) -> bool:
    return word.lstrip("+").startswith((PRESETS, "hydra.mode="))


def _searches(words: Iterable[str]) -> bool:
    """Whether the words name a config directory of the user."""
    return any(word.partition("=")[0] in SEARCHED for word in words)


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(options with their values, overrides): Hydra's parser needs options before overrides. Raises ConfigError."""
    options: list[str] = []
    overrides: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word in VALUED:
            value = next(remaining, None)
            if value is None:
                raise ConfigError(f"{word} needs a value", hint="benchhydra --hydra-help")
            if word in CONFIG and value not in CONFIG_CHOICES:
                other = f"; or did you mean {key_hint(word, value)}?" if value.isdecimal() else ""
                raise ConfigError(f"{word} {value} is not allowed", hint=f"one of {', '.join(CONFIG_CHOICES)}{other}")
            options += [word, value]
        elif word in INFO:
            options.append("--info=all")
        elif word.startswith("-"):
            _refuse_unknown_option(word, following=remaining)
            options.append(word)
        else:
            overrides.append(word)
    return options, overrides


def _refuse_unknown_option(word: str, following: Iterator[str]) -> None:
    """Raise ConfigError for an option that Hydra does not have. ``following``: the words after it."""
    name, sign, value = word.partition("=")
    if name in FLAGS or name in VALUED:
        return
    from benchhydra.overrides.suggestions import suggest_dashed  # start-up time: composing, needed only for errors

    if not sign:
        value = next(following, "")
        value = "" if value.startswith("-") else value
    hint = suggest_dashed(name, value, (*FLAGS, *VALUED))
    raise ConfigError(f"no such option: {name}", hint=hint or "benchhydra --hydra-help")


def _override(word: str) -> list[str]:
    if word.startswith(f"{PAIR_KEY}="):
        return _pairs(word.partition("=")[2])
    key, separator, value = word.partition("=")
    if separator and "[" in value:
        value = ",".join(f"'{part}'" if IPV6_ADDRESS.fullmatch(part) else part for part in value.split(","))
        word = f"{key}={value}"
    if separator and _sets_open_key(key, value):
        return [f"++{word.lstrip('+') if value.startswith('{') else word}"]
    return [f"+{word}" if word.startswith(PRESETS) else word]


def _sets_open_key(key: str, value: str) -> bool:
    """Whether an override sets keys of a dictionary that accepts any: plain Hydra requires a ``+`` for a new one."""
    if value.startswith("{") and _is_open(key.lstrip("+")):
        return True
    group, _, rest = key.partition(".")
    name, dot, _ = rest.partition(".")
    return bool(dot) and _is_open(f"{group}.{name}")


def _is_open(key: str) -> bool:
    """Whether a key holds a dictionary of any keys: ``engine.args``. Imports options until one has the key."""
    group, _, name = key.partition(".")
    return any(name in _dictionaries(cls) for cls in _classes(group))


def open_keys() -> set[str]:
    """The keys that hold a dictionary of any keys: ``engine.args``, ``script.body``. Imports all options."""
    groups = (*PLAIN_CLASSES, *registry.GROUPS)
    return {f"{group}.{name}" for group in groups for cls in _classes(group) for name in _dictionaries(cls)}


def _classes(group: str) -> Iterator[type[Any]]:
    """The dataclasses of a group; the module of each is imported only when it is asked for."""
    plain = PLAIN_CLASSES.get(group)
    return iter((plain,)) if plain else registry.each_option(group)


def _dictionaries(cls: type[Any]) -> set[str]:
    return {field.name for field in fields(cls) if str(field.type).startswith("dict[")}


def _pairs(text: str) -> list[str]:
    """``'150,0.5','300,1'`` (the shell may have removed the quotes) -> the zipped axes num_prompts and qps."""
    parts = [part.strip() for part in re.sub(r"['\"]", "", text).split(",")]
    if len(parts) < 2 or len(parts) % 2 or not all(parts):
        raise ConfigError(f"{PAIR_KEY}={text}: every pair is NUM_PROMPTS,QPS", hint=f"{PAIR_KEY}=\"'150,0.5','300,1'\"")
    counts, rates = parts[::2], parts[1::2]
    overrides = [f"{key}={','.join(values)}" for key, values in zip(PAIR, (counts, rates), strict=True)]
    return [*overrides, f"sweep.zip=[[{','.join(PAIR)}]]"] if len(counts) > 1 else overrides


def _refuse_unused_rate(overrides: Sequence[str]) -> None:
    """Raise ConfigError for ``qps`` if no load of the words has a rate: it would be ignored silently."""
    values = dict(word.lstrip("+").partition("=")[::2] for word in overrides)
    loads = values.get("load", "").split(",")
    if "qps" not in values or not all(map(_has_no_rate, loads)):
        return
    raise ConfigError(
        f"qps={values['qps']} has no effect on load={values['load']}, which has no rate to set",
        hint="leave qps out, or load=poisson (load.max_in_flight limits the requests in flight)",
    )


def _has_no_rate(load: str) -> bool:
    """Whether a load's own ``qps`` is infinite by default, instead of the root key's value."""
    if not registry.has_class("load", load):
        return False
    return any(each.name == "qps" and each.default == math.inf for each in fields(registry.option_class("load", load)))


def _refuse_new_keys(overrides: Sequence[str]) -> None:
    """Raise ConfigError for ``+key=value`` if no code reads the key: Hydra would add it without any effect."""
    from benchhydra.config import BenchConfig  # start-up time: all options, not for shell completion

    roots = {field.name for field in fields(BenchConfig)} | {"hydra"}
    for word in overrides:
        key = word.lstrip("+").partition("=")[0].partition("@")[0]
        first, _, rest = key.partition(".")
        if not word.startswith("+") or "/" in key or (not rest and (registry.CONF_DIR / first).is_dir()):
            continue
        keys = [f"{first}.{name}" for name in _field_names(first)] if rest and first in roots else sorted(roots)
        if (f"{first}.{rest.partition('.')[0]}" if rest and first in roots else first) not in keys and keys:
            from benchhydra.overrides.suggestions import suggest_key  # start-up time: as above

            hint = suggest_key(key, word.partition("=")[2], keys)
            raise ConfigError(f"no such key: {key}", hint=hint or "benchhydra options")


def _field_names(group: str) -> set[str]:
    """The fields of all options of a group of classes; empty for other groups."""
    return {field.name for cls in registry.options(group).values() for field in fields(cls)}


def _refuse_values_of_a_sweep(words: Sequence[str]) -> None:
    for word in words:
        key, separator, value = word.partition("=")
        if separator and re.fullmatch(r"[^\[{('\"]*,[^\[{('\"]*", value) and not key.lstrip("+").startswith("hydra."):
            raise ConfigError(
                f"{word}: several values need a sweep",
                hint=f"add -m to measure each of them, or quote a text that has commas: \"{key}='{value}'\"",
            )
