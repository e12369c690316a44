"""``benchhydra options``: every key that can be typed, with type, default, unit and meaning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from benchhydra import registry
from benchhydra.config import BenchConfig, Sweep

Program = Callable[..., Any]


def row(text: str, key: str) -> str:
    return next(line for line in text.splitlines() if line.split()[:1] == [key])


def test_everything_is_listed(program: Program) -> None:
    text = program("options").out
    registry.discover()
    for group in registry.GROUPS:
        for name, cls in registry.options(group).items():
            assert f"{group}={name}" in text
            for field in dataclasses.fields(cls):
                assert field.metadata.get("doc"), f"{group}={name}: {field.name} has no doc"
                assert f"  {group}.{field.name} " in text
    for key in ("qps", "num_prompts", "seed", "repeats", "description"):
        assert row(text, key)
    for field in dataclasses.fields(Sweep):
        assert (f"sweep.{field.name} " in text) is (field.name != "job")
    assert {"script", "model"} < {field.name for field in dataclasses.fields(BenchConfig)}


def test_a_row_says_type_default_unit_and_meaning(program: Program) -> None:
    text = program("options", "script=serving").out
    assert row(text, "script.fail_on").split()[1:3] == ["invalid|suspect|never", "invalid"]
    assert row(text, "script.request_timeout_s").split()[1:4] == ["float", "600", "s"]
    assert "script=throughput" not in text


def test_defaults_are_the_options_own(program: Program) -> None:
    assert row(program("options", "gpus=tp2").out, "gpus.count").split()[2] == "2"
    assert row(program("options", "model=custom").out, "model.id").split()[2] == "mandatory"


def test_group_lists_all_its_options(program: Program) -> None:
    for words in ("load", "load="):
        text = program("options", words).out
        assert "load=poisson" in text
        assert "load=trace" in text


@pytest.mark.parametrize(("name", "unit"), [("qps", "requests/s"), ("sweep.max_time_s", "s"), ("load.warmup_s", "s")])
def test_single_key(name: str, unit: str, program: Program) -> None:
    ran = program("options", name)
    assert ran.code == 0
    assert f" {unit} " in row(ran.out, name)


def test_a_renamed_key_is_named(program: Program) -> None:
    assert program("options", "script.slo.ttft_ms").err.endswith("script.slo.ttft_ms is now slo.ttft_ms\n")


def test_presets_are_listed(program: Program) -> None:
    assert "experiment=decode " in program("options", "experiment").out
