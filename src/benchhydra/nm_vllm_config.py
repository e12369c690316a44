"""Converts nm-vllm's JSON benchmark configs into overrides of this program.

A file contains ``configs``; each is a product of models, lengths, sparsities and script arguments. A trailing
underscore in an argument's name is ignored; an argument with an empty list is a flag. An unknown key is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchhydra.errors import ConfigError
from benchhydra.registry import CONF_DIR

KEYS = {
    "description", "models", "max_model_lens", "sparsity", "use_all_available_gpus", "tensor_parallel_size",
    "script_name", "script_args",
}  # fmt: skip
SCRIPTS = {"benchmark_serving": "serving", "benchmark_throughput": "throughput"}
GPUS = {1: "single", 2: "tp2", 4: "tp4", 8: "tp8"}
#: Script argument -> config key. In the file a value is a list; a list of several values becomes an axis of the sweep.
ARGUMENTS = {
    "dataset": "dataset",
    "num-prompts": "num_prompts",
    "request-rate": "qps",
    "input-len": "dataset.prompt_tokens",
    "num-input-tokens": "dataset.prompt_tokens",
    "output-len": "dataset.output_tokens",
    "num-output-tokens": "dataset.output_tokens",
    "max-model-len": "model.max_model_len",
    "dtype": "model.dtype",
    "quantization": "model.quantization",
    "sparsity": "sparsity",
    "seed": "seed",
}
FLAGS = {"enforce-eager": "engine.args.enforce_eager", "trust-remote-code": "engine.args.trust_remote_code"}
IGNORED_FLAGS = {"disable-tqdm"}
SPARSITIES = {"sparse_w16a16", "semi_structured_sparse_w16a16"}


@dataclass(kw_only=True)
class NmVllmExperiment:
    """One config of a file. values: override key -> values (several: an axis); pairs: axes that vary together."""

    description: str
    values: dict[str, list[str]] = field(default_factory=dict)
    pairs: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """Return the command-line words after ``benchhydra``."""
        words = [f"{key}={','.join(quoted(v) for v in values)}" for key, values in self.values.items()]
        if self.description:
            words.append(f"description={_in_quotes(self.description)}")
        return ["-m", *words, *([f"sweep.zip=[[{','.join(self.pairs)}]]"] if self.pairs else [])]

    def points(self) -> int:
        """Return the number of points."""
        count = 1
        for key, values in self.values.items():
            count *= 1 if key in self.pairs[1:] else len(values)
        return count

    def preset(self) -> str:
        """Return the text of a preset for ``conf/experiment/``."""
        groups = ("script", "model", "dataset", "load", "gpus", "sparsity")
        fixed = {key: values[0] for key, values in self.values.items() if len(values) == 1}
        chosen = [{f"override /{key}": fixed[key]} for key in groups if key in fixed]
        body: dict[str, Any] = {"defaults": chosen}
        if self.description:
            body["description"] = self.description
        for key, value in fixed.items():
            if key not in groups:
                _put(body, key.lstrip("+"), yaml.safe_load(".inf" if value == "inf" else value))
        if self.pairs:
            body["sweep"] = {"zip": [list(self.pairs)]}
        axes = {key: ",".join(map(quoted, values)) for key, values in self.values.items() if len(values) > 1}
        if axes:
            body["hydra"] = {"mode": "MULTIRUN", "sweeper": {"params": axes}}
        summary = " ".join(self.description.split()) or "imported from an nm-vllm config"
        return f"# @package _global_\n# {summary}\n{yaml.safe_dump(body, sort_keys=False, allow_unicode=True)}"


def read_nm_vllm_config(path: Path) -> list[NmVllmExperiment]:
    """Return the experiments of a config file, or of all files listed in a ``.txt`` file. Raises ConfigError."""
    if path.suffix == ".txt":
        return [experiment for file in _listed_files(path) for experiment in read_nm_vllm_config(file)]
    try:
        data = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("configs"), list):
        raise ConfigError(f"{path} is not an nm-vllm config: it has no list 'configs'")
    return [
        experiment
        for i, config in enumerate(data["configs"])
        for experiment in _experiments(config, f"{path}: configs[{i}]")
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _listed_files(path: Path) -> Iterator[Path]:
    """Yield the listed files: relative to the working directory, or else to the list (nm-vllm: from its root)."""
    for line in _text(path).splitlines():
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        candidates = [Path(name), path.parent / name, path.parent / Path(name).name]
        file = next((candidate for candidate in candidates if candidate.is_file()), None)
        if file is None:
            raise ConfigError(
                f"{path} lists {name}, which does not exist", hint="run it in the directory that the paths start from"
            )
        yield file


def _experiments(config: Any, where: str) -> Iterator[NmVllmExperiment]:
    _check(config, where)
    common = _script_arguments(config, where)
    common["gpus"] = [_gpus(config, common, where)]
    sparsities = common.pop("sparsity", None) or _list(config.get("sparsity", []), f"{where}.sparsity") or [""]
    for sparsity in sparsities:
        if sparsity and sparsity not in SPARSITIES:
            raise ConfigError(f"{where}: unknown sparsity {sparsity!r}", hint=f"one of {', '.join(sorted(SPARSITIES))}")
        for model in _models(_list(config["models"], f"{where}.models"), sparsity):
            values = {
                "script": [SCRIPTS[config["script_name"]]],
                **model,
                **({"sparsity": [sparsity]} if sparsity else {}),
            }
            pairs = ("num_prompts", "qps") if _has_pairs(config) else ()
            yield NmVllmExperiment(description=config.get("description", ""), values=values | common, pairs=pairs)


def _check(config: Any, where: str) -> None:
    if not isinstance(config, Mapping):
        raise ConfigError(f"{where} is not an object")
    unknown = sorted(config.keys() - KEYS)
    if unknown:
        raise ConfigError(
            f"{where} has unknown keys: {', '.join(unknown)}", hint=f"allowed keys: {', '.join(sorted(KEYS))}"
        )
    for key in ("models", "script_name", "script_args"):
        if key not in config:
            raise ConfigError(f"{where} has no {key!r}")
    if config["script_name"] not in SCRIPTS:
        raise ConfigError(f"{where}: unknown script {config['script_name']!r}", hint=f"one of {', '.join(SCRIPTS)}")
    if not isinstance(config["script_args"], Mapping):
        raise ConfigError(f"{where}.script_args is not an object")


def _script_arguments(config: Mapping[str, Any], where: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    lengths = _list(config.get("max_model_lens", []), f"{where}.max_model_lens")
    if lengths:
        values["model.max_model_len"] = lengths
    for argument, value in config["script_args"].items():
        name, texts = argument.rstrip("_"), _list(value, f"{where}.script_args.{argument}")
        if name == "nr-qps-pair":
            pairs = [_pair(text, where) for text in texts]
            values |= {"num_prompts": [count for count, _ in pairs], "qps": [rate for _, rate in pairs]}
        elif name in FLAGS and not texts:
            values[FLAGS[name]] = ["true"]
        elif name in ARGUMENTS and texts:
            values[ARGUMENTS[name]] = texts
        elif name not in (*IGNORED_FLAGS, "use-all-available-gpus", "tensor-parallel-size"):
            allowed = ", ".join(
                sorted([*ARGUMENTS, *FLAGS, "nr-qps-pair", "use-all-available-gpus", "tensor-parallel-size"])
            )
            text = f"{where}.script_args: {argument!r} is unknown or has no value"
            raise ConfigError(text, hint=f"one of {allowed}")
    values.setdefault("dataset", ["synthetic"])
    return values


def _pair(text: str, where: str) -> tuple[str, str]:
    count, comma, rate = text.replace(" ", "").partition(",")
    try:
        good = bool(comma) and int(count) > 0 and float(rate) > 0
    except ValueError:
        good = False
    if not good:
        hint = 'write it as "150,0.5" or "5,inf"'
        raise ConfigError(f"{where}: {text!r} is not a pair of prompts and rate", hint=hint)
    return count, rate


def _has_pairs(config: Mapping[str, Any]) -> bool:
    return any(name.rstrip("_") == "nr-qps-pair" and len(value) > 1 for name, value in config["script_args"].items())


def _gpus(config: Mapping[str, Any], values: dict[str, list[str]], where: str) -> str:
    """Return the option of the group ``gpus``, by default "single"; set ``values["gpus.count"]`` if no option fits."""
    arguments = {name.rstrip("_").replace("-", "_"): value for name, value in config["script_args"].items()}
    settings = {**arguments, **config}
    if "use_all_available_gpus" in settings:
        if "tensor_parallel_size" in settings:
            raise ConfigError(f"{where} has both use_all_available_gpus and tensor_parallel_size", hint="leave one out")
        return "all"
    sizes = _list(settings.get("tensor_parallel_size", 1), f"{where}.tensor_parallel_size")
    if len(sizes) != 1 or not sizes[0].isdigit() or int(sizes[0]) < 1:
        raise ConfigError(f"{where}: tensor_parallel_size {sizes} is not a number of GPUs", hint="one whole number")
    if int(sizes[0]) not in GPUS:
        values["gpus.count"] = sizes
    return GPUS.get(int(sizes[0]), "single")


def _models(ids: list[str], sparsity: str) -> Iterator[dict[str, list[str]]]:
    """Yield overrides: one axis of all models that have an option in the group ``model``, and ``model=custom``."""
    options = _options(sparsity)
    option_names = [options[model] for model in ids if model in options]
    if option_names:
        yield {"model": option_names}
    others = [model for model in ids if model not in options]
    if others and not sparsity:
        yield {"model": ["custom"], "model.id": others}
    elif others:
        yield from ({"model": ["custom"], "model.id": [m], f"+model.sparse.{sparsity}": [m]} for m in others)


def _options(sparsity: str) -> dict[str, str]:
    """Return model id -> option name, by the ids of the dense models or of their variants for a sparsity."""
    options = {}
    for file in sorted((CONF_DIR / "model").glob("*.yaml")):
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
        model = (body.get("sparse") or {}).get(sparsity) if sparsity else body.get("id")
        if model and not body.get("build") and file.stem != "custom":
            options[str(model)] = file.stem
    return options


def _list(value: Any, where: str) -> list[str]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, (str, int, float)) for item in items):
        raise ConfigError(f"{where} contains a value that is neither a text nor a number")
    return [str(item) for item in items if item != ""]


def quoted(text: str) -> str:
    """Return a value for Hydra's grammar, in quotes if it contains special characters."""
    plain = text.isascii() and all(char.isalnum() or char in "_-./+%@" for char in text)
    return text if text and plain else _in_quotes(text)


def _in_quotes(text: str) -> str:
    """Return the text in single quotes. Backslashes are doubled only before a quote, as Hydra's grammar requires."""
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + match[2].replace("'", "\\'"), " ".join(text.split()))
    return f"'{escaped}'"


def _put(body: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value
