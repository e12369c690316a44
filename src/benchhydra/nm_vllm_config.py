"""nm-vllm's JSON benchmark configs: what they ask for, as overrides of this program.

A file holds ``configs``; each is a product of models, lengths, sparsities and script arguments. A trailing underscore
in an argument's name means nothing; an empty list is a flag. A key that this program does not know is an error.
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
#: Script argument -> key here. A value is a list in the file, and an axis here where it has several.
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
    """Overrides with one value or several (an axis each), the pairs among them, and what it is."""

    description: str
    values: dict[str, list[str]] = field(default_factory=dict)
    pairs: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """The words after ``benchhydra``."""
        words = [f"{key}={','.join(quoted(v) for v in values)}" for key, values in self.values.items()]
        if self.description:
            words.append(f"description={_in_quotes(self.description)}")
        return ["-m", *words, *([f"sweep.zip=[[{','.join(self.pairs)}]]"] if self.pairs else [])]

    def points(self) -> int:
        """How many points it spans."""
        count = 1
        for key, values in self.values.items():
            count *= 1 if key in self.pairs[1:] else len(values)
        return count

    def preset(self) -> str:
        """The text of a preset for ``conf/experiment/``."""
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
    """The experiments of a config file, or of every file that a ``.txt`` list names. Raises ConfigError."""
    if path.suffix == ".txt":
        return [experiment for listed in _listed(path) for experiment in read_nm_vllm_config(listed)]
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


def _listed(path: Path) -> Iterator[Path]:
    """The files of a list: as they are named, else beside the list (nm-vllm names them from its root)."""
    for line in _text(path).splitlines():
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        candidates = [Path(name), path.parent / name, path.parent / Path(name).name]
        file = next((candidate for candidate in candidates if candidate.is_file()), None)
        if file is None:
            raise ConfigError(f"{path} lists {name}, which does not exist", hint="run it where the listed paths start")
        yield file


def _experiments(config: Any, where: str) -> Iterator[NmVllmExperiment]:
    _check(config, where)
    common = _script_arguments(config, where)
    common["gpus"] = [_gpus(config, common, where)]
    sparsities = common.pop("sparsity", None) or _list(config.get("sparsity", []), f"{where}.sparsity") or [""]
    for sparsity in sparsities:
        if sparsity and sparsity not in SPARSITIES:
            raise ConfigError(
                f"{where}: sparsity {sparsity!r} is not known", hint=f"known: {', '.join(sorted(SPARSITIES))}"
            )
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
            f"{where} has keys that are not known: {', '.join(unknown)}", hint=f"known: {', '.join(sorted(KEYS))}"
        )
    for key in ("models", "script_name", "script_args"):
        if key not in config:
            raise ConfigError(f"{where} has no {key!r}")
    if config["script_name"] not in SCRIPTS:
        raise ConfigError(f"{where}: no script {config['script_name']!r}", hint=f"known: {', '.join(SCRIPTS)}")
    if not isinstance(config["script_args"], Mapping):
        raise ConfigError(f"{where}.script_args is not an object")


def _script_arguments(config: Mapping[str, Any], where: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    lengths = _list(config.get("max_model_lens", []), f"{where}.max_model_lens")
    if lengths:
        values["model.max_model_len"] = lengths
    for written, given in config["script_args"].items():
        name, listed = written.rstrip("_"), _list(given, f"{where}.script_args.{written}")
        if name == "nr-qps-pair":
            pairs = [_pair(text, where) for text in listed]
            values |= {"num_prompts": [count for count, _ in pairs], "qps": [rate for _, rate in pairs]}
        elif name in FLAGS and not listed:
            values[FLAGS[name]] = ["true"]
        elif name in ARGUMENTS and listed:
            values[ARGUMENTS[name]] = listed
        elif name not in (*IGNORED_FLAGS, "use-all-available-gpus", "tensor-parallel-size"):
            known = ", ".join(
                sorted([*ARGUMENTS, *FLAGS, "nr-qps-pair", "use-all-available-gpus", "tensor-parallel-size"])
            )
            raise ConfigError(f"{where}.script_args: {written!r} is not known, or has no value", hint=f"known: {known}")
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
    return any(name.rstrip("_") == "nr-qps-pair" and len(given) > 1 for name, given in config["script_args"].items())


def _gpus(config: Mapping[str, Any], values: dict[str, list[str]], where: str) -> str:
    """One GPU, unless the config or its script's arguments say otherwise."""
    arguments = {name.rstrip("_").replace("-", "_"): given for name, given in config["script_args"].items()}
    settings = {**arguments, **config}
    if "use_all_available_gpus" in settings:
        if "tensor_parallel_size" in settings:
            raise ConfigError(f"{where} has both use_all_available_gpus and tensor_parallel_size", hint="leave one out")
        return "all"
    asked = _list(settings.get("tensor_parallel_size", 1), f"{where}.tensor_parallel_size")
    if len(asked) != 1 or not asked[0].isdigit() or int(asked[0]) < 1:
        raise ConfigError(f"{where}: tensor_parallel_size {asked} is not a number of GPUs", hint="one whole number")
    if int(asked[0]) not in GPUS:
        values["gpus.count"] = asked
    return GPUS.get(int(asked[0]), "single")


def _models(ids: list[str], sparsity: str) -> Iterator[dict[str, list[str]]]:
    """Models that are options here go together; any other is ``model=custom``."""
    options = _options(sparsity)
    known_models = [options[model] for model in ids if model in options]
    if known_models:
        yield {"model": known_models}
    others = [model for model in ids if model not in options]
    if others and not sparsity:
        yield {"model": ["custom"], "model.id": others}
    elif others:
        yield from ({"model": ["custom"], "model.id": [m], f"+model.sparse.{sparsity}": [m]} for m in others)


def _options(sparsity: str) -> dict[str, str]:
    """Model id -> option: the dense model, or its variant of a sparsity."""
    options = {}
    for file in sorted((CONF_DIR / "model").glob("*.yaml")):
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
        model = (body.get("sparse") or {}).get(sparsity) if sparsity else body.get("id")
        if model and not body.get("build") and file.stem != "custom":
            options[str(model)] = file.stem
    return options


def _list(given: Any, where: str) -> list[str]:
    listed = given if isinstance(given, list) else [given]
    if not all(isinstance(value, (str, int, float)) for value in listed):
        raise ConfigError(f"{where} holds something that is neither a text nor a number")
    return [str(value) for value in listed if value != ""]


def quoted(text: str) -> str:
    """A value as Hydra's grammar takes it: quoted unless it is plain."""
    plain = text.isascii() and all(char.isalnum() or char in "_-./+%@" for char in text)
    return text if text and plain else _in_quotes(text)


def _in_quotes(text: str) -> str:
    """Backslashes count only before a quote: they are doubled there."""
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + match[2].replace("'", "\\'"), " ".join(text.split()))
    return f"'{escaped}'"


def _put(body: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value
