"""Keys that have a new name are read under it when they are typed; in files an error names the new spelling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchhydra import config
from benchhydra.overrides.suggestions import config_keys
from benchhydra.renamed_keys import NEEDS, RENAMED, rename

Program = Callable[..., Any]
FAKE = ("engine=fake", "model=custom", "model.id=m", "tracking=none", "num_prompts=2")

CASES = {
    "api": (["script.api=chat"], ["api=chat"]),
    "api-swept": (["-m", "script.api=chat,completions"], ["-m", "api=chat,completions"]),
    "slo": (["script.slo.ttft_ms=200"], ["slo.ttft_ms=200"]),
    "slo-with-plus": (["+script.slo.e2el_ms=5"], ["slo.e2el_ms=5"]),
    "slo-with-two": (["++script.slo.tpot_ms=1,2"], ["slo.tpot_ms=1,2"]),
    "slo-whole": (["script.slo={ttft_ms:5}"], ["slo={ttft_ms:5}"]),
    "interval": (["sweep.ci=a:2%"], ["search=repeats", "search.ci=a:2%"]),
    "interval-and-most": (
        ["sweep.max_repeats=5", "sweep.ci=a:2%"],
        ["search=repeats", "search.max_repeats=5", "search.ci=a:2%"],
    ),
    "search-chosen": (["sweep.ci=a:2%", "search=repeats"], ["search.ci=a:2%", "search=repeats"]),
    "limit": (["validity.failed_share=0.1"], ["validity.failed_fraction=0.1"]),
    "limit-of-server": (
        ["validity.client_wait_share_of_server=1"],
        ["validity.client_wait_fraction_of_server=1"],
    ),
    "fault": (["engine.http_5xx_share=0.5"], ["engine.http_5xx_fraction=0.5"]),
    "unit-of-recorded-times": (
        ["dataset=jsonl", "load=trace", "load.time_unit=ms"],
        ["dataset=jsonl", "load=trace", "dataset.time_unit=ms"],
    ),
    "zip": (["sweep.zip=[[script.api,qps]]"], ["sweep.zip=[[api,qps]]"]),
}


@pytest.mark.parametrize("name", CASES)
def test_old_keys_are_renamed_with_one_note_each(name: str) -> None:
    words, expected = CASES[name]
    renamed, notes = rename(words)
    assert renamed == expected
    assert len(notes) == sum(word not in expected for word in words)


def test_the_note_has_both_spellings() -> None:
    assert rename(["qps=1", "script.api=chat"])[1] == ["script.api is now api: reading script.api=chat as api=chat"]
    assert rename(["sweep.ci=a:2%"])[1] == [
        "sweep.ci is now search.ci: reading sweep.ci=a:2% as search=repeats search.ci=a:2%"
    ]


@pytest.mark.parametrize("word", ["qps=1", "script.apis=1", "~script.api", "scripts.api=chat", "--config-dir"])
def test_other_overrides_stay(word: str) -> None:
    assert rename([word]) == ([word], [])


def test_new_keys_exist_and_old_ones_do_not() -> None:
    config.register()
    choices = (["engine=fake", "script=serving"], ["search=repeats"], ["dataset=token_trace", "load=trace"])
    keys = {key for words in choices for key in config_keys(words)}
    assert set(RENAMED.values()) | NEEDS.keys() <= keys
    assert not RENAMED.keys() & keys


def test_the_program_reads_an_old_key(program: Program) -> None:
    ran = program(*FAKE, "script.api=chat", "script.slo.ttft_ms=200", "engine.short_share=0", "--cfg", "job")
    assert ran.code == 0, ran.err
    assert ran.err.splitlines() == [
        "script.api is now api: reading script.api=chat as api=chat",
        "script.slo.ttft_ms is now slo.ttft_ms: reading script.slo.ttft_ms=200 as slo.ttft_ms=200",
        "engine.short_share is now engine.short_fraction: reading engine.short_share=0 as engine.short_fraction=0",
    ]
    assert "ttft_ms: 200" in ran.out


def test_a_preset_with_an_old_key_is_an_error_with_the_new_one(program: Program, tmp_path: Path) -> None:
    preset = tmp_path / "own" / "experiment" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    for text, new in (
        ("script: {api: chat}", "script.api is now api"),
        ("script: {slo: {ttft_ms: 5}}", "script.slo is now slo"),
        ("validity: {failed_share: 0.1}", "validity.failed_share is now validity.failed_fraction"),
        ("sweep: {max_repeats: 3}", "sweep.max_repeats is now search.max_repeats"),
    ):
        preset.write_text(f"# @package _global_\n{text}\n")
        ran = program("--config-dir", str(tmp_path / "own"), "experiment=mine", *FAKE)
        assert ran.code == 1
        error, hint = ran.err.splitlines()
        assert error.startswith("error: no such key: ")
        assert hint == f"  hint: {new}"
