"""The two sides of an A/B test: read overrides from files and words, and check them before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.nm_vllm_config import quoted
from benchhydra.yaml_files import load_yaml

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class AbSide:
    """One side of a test: its overrides, shared ones first, the key of its point, and what was typed for this side."""

    overrides: tuple[str, ...]
    point_key: str
    typed: str


def split_words(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """(YAML files of sides, overrides that both sides share)."""
    files = [word for word in words if word.endswith(SUFFIXES) and "=" not in word]
    return [Path(file) for file in files], [word for word in words if word not in files]


def read_side(path: Path) -> list[str]:
    """The overrides in a YAML file, which is a list of ``KEY=VALUE`` or a mapping. Raises ConfigError."""
    body = load_yaml(path)
    if isinstance(body, list) and all(isinstance(word, str) and "=" in word for word in body):
        return body
    if isinstance(body, dict) and "defaults" not in body:
        return [f"{key}={_value(value, path)}" for key, value in _flat(body)]
    raise ConfigError(
        f"{path} does not describe a side of an A/B test",
        hint='write keys and values ("engine.args.max_num_seqs: 64", "model: tiny"), or a list of KEY=VALUE',
    )


def _flat(body: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in body.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(value: Any, path: Path) -> str:
    """A YAML value in Hydra's grammar. Raises ConfigError for values other than scalars and lists."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return quoted(value)
        case int() | float():
            return str(value)
        case list():
            return f"[{','.join(_value(item, path) for item in value)}]"
    raise ConfigError(f"{path}: {value!r} is not a text, a number, true, false, null or a list of these")


def compose_side(
    overrides: Sequence[str], config_dir: Path | None, typed: str = "", metrics: Sequence[str] = ()
) -> AbSide:
    """The side of these overrides. Raises BenchhydraError if they do not compose to a point that can be run.

    metrics: names or patterns of the main metrics; a name that the point will not have is refused.
    """
    from benchhydra.overrides.explain import explain  # start-up time: composing with Hydra, not for --help

    try:
        key = _point_key(overrides, config_dir, metrics)
    except BenchhydraError:
        raise
    except Exception as error:  # Hydra and OmegaConf raise many types: all become one line here
        message, hint = explain(error, overrides)
        raise ConfigError(message, hint=hint) from error
    return AbSide(overrides=tuple(overrides), point_key=key, typed=typed)


def _point_key(overrides: Sequence[str], config_dir: Path | None, metrics: Sequence[str]) -> str:
    from hydra import compose, initialize_config_dir  # start-up time: composing imports all options, not for --help
    from omegaconf import OmegaConf

    from benchhydra import config, registry  # start-up time, as above
    from benchhydra.metrics import refuse_not_computed
    from benchhydra.overrides import grammar
    from benchhydra.result import point_key
    from benchhydra.run import spec_of

    config.register()
    words = grammar.rewrite(overrides)
    if config_dir is not None:
        words.append(f"hydra.searchpath=[file://{config_dir.absolute()}]")
    with initialize_config_dir(str(registry.CONF_DIR), version_base="1.3"):
        composed: Any = OmegaConf.to_object(compose("config", overrides=words))
    spec_of(composed)
    for name in metrics:
        if not set("*?[") & set(name):
            refuse_not_computed("--metric", name, composed.percentiles)
    return point_key(config.plain_config(composed))
