"""What the command line adds to Hydra's grammar, rewritten into it before Hydra sees the words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from benchhydra.errors import ConfigError

#: Dictionaries that take any key: plain Hydra wants a ``+`` in front of those.
OPEN = ("engine.args.", "engine.env.")
PAIR_KEY = "nr_qps_pair"
PAIR = ("num_prompts", "qps")
#: Overrides that only a sweep understands.
SWEEP_ONLY = ("sweep.plan=true", "sweep.resume=", "sweep.ci=", "sweep.zip=", "repeats=")


def rewrite(words: Sequence[str]) -> list[str]:
    """The words as Hydra understands them. Raises ConfigError."""
    rewritten: list[str] = []
    for word in words:
        if word.startswith(f"{PAIR_KEY}="):
            rewritten += _pairs(word.partition("=")[2])
        else:
            rewritten.append(f"++{word}" if word.startswith(OPEN) and "=" in word else word)
    if not is_multirun(words) and needs_multirun(rewritten):
        rewritten.insert(0, "--multirun")
    _refuse_values_of_a_sweep(rewritten)
    return rewritten


def is_multirun(words: Iterable[str]) -> bool:
    """Whether the words ask for a sweep."""
    return any(word in ("-m", "--multirun") or word.startswith("hydra.mode=") for word in words)


def needs_multirun(words: Iterable[str]) -> bool:
    """Whether the words make sense in a sweep alone, so that it need not be asked for."""
    return any(word.lower().startswith(SWEEP_ONLY) and word != "repeats=1" for word in words)


def _pairs(text: str) -> list[str]:
    """``'150,0.5','300,1'`` (the quotes may have gone to the shell) -> the zipped axes num_prompts and qps."""
    fields = [field.strip() for field in re.sub(r"['\"]", "", text).split(",")]
    if len(fields) < 2 or len(fields) % 2 or not all(fields):
        raise ConfigError(f"{PAIR_KEY}={text}: every pair is NUM_PROMPTS,QPS", hint=f"{PAIR_KEY}=\"'150,0.5','300,1'\"")
    counts, rates = fields[::2], fields[1::2]
    overrides = [f"{key}={','.join(values)}" for key, values in zip(PAIR, (counts, rates), strict=True)]
    return [*overrides, f"sweep.zip=[[{','.join(PAIR)}]]"] if len(counts) > 1 else overrides


def _refuse_values_of_a_sweep(words: Sequence[str]) -> None:
    if is_multirun(words) or any(word.startswith("-") for word in words):
        return
    for word in words:
        key, separator, value = word.partition("=")
        if separator and re.fullmatch(r"[^\[{('\"]*,[^\[{('\"]*", value) and not key.lstrip("+").startswith("hydra."):
            raise ConfigError(
                f"{word}: several values are a sweep",
                hint=f"add -m to measure each of them, or quote a text that has commas: \"{key}='{value}'\"",
            )
