"""The YAML tree is test data: every option of every group composes, and becomes its dataclass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from benchhydra import config, registry
from benchhydra.config import BenchConfig
from benchhydra.target import Gpus, Model, Sparsity

registry.discover()
config.register()

PLAIN = {"model": Model, "gpus": Gpus, "sparsity": Sparsity}
#: What some options ask of their user.
MANDATORY = {
    "model=custom": ["model.id=some/model"],
    "engine=attach": ["engine.base_url=http://127.0.0.1:8000"],
    "dataset=jsonl": ["dataset.path=prompts.jsonl"],
    "dataset=sharegpt": ["dataset.path=sharegpt.json"],
    "dataset=hub": ["dataset.repo=owner/name"],
    **{
        f"dataset={trace}": ["dataset.path=trace.jsonl"]
        for trace in ("token_trace", "mooncake", "burstgpt", "azure_llm", "timed_trace")
    },
    "dataset=ultrachat": [],
    "load=concurrency": ["load.max_in_flight=4"],
    "search=repeats": ["search.ci=p99_ttft_ms:2%"],
    "search=optimize": ["objective=p99_ttft_ms", "++search.space={engine.args.max_num_seqs: [32,64]}"],
}


def all_options() -> Iterator[tuple[str, str]]:
    for group in registry.GROUPS:
        names = set(registry.options(group)) | {path.stem for path in (registry.CONF_DIR / group).glob("*.yaml")}
        yield from ((group, name) for name in sorted(names))
    for group in PLAIN:
        yield from ((group, path.stem) for path in sorted((registry.CONF_DIR / group).glob("*.yaml")))


def composed(overrides: list[str]) -> BenchConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(registry.CONF_DIR), version_base="1.3"):
        made = OmegaConf.to_object(compose("config", overrides=overrides))
    assert isinstance(made, BenchConfig)
    return made


@pytest.mark.parametrize(("group", "name"), list(all_options()), ids="=".join)
def test_every_option_becomes_its_dataclass(group: str, name: str) -> None:
    choice = f"{group}={name}"
    made = getattr(composed([choice, *MANDATORY.get(choice, [])]), group)
    if group in PLAIN:
        assert type(made) is PLAIN[group]
    else:
        assert name not in registry.options(group) or type(made) is registry.options(group)[name]
        assert registry.option_name(made) in registry.options(group)


def test_every_group_has_options() -> None:
    assert {group for group, _ in all_options()} == set(registry.GROUPS) | set(PLAIN)


@pytest.mark.parametrize("path", sorted(registry.CONF_DIR.glob("*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_file_begins_with_a_line_of_description(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ") and len(lines[0].strip()) > 10
