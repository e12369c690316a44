"""Every command of README.md and of the site's pages runs as it stands there, or is marked as not run and composes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tests.docs.blocks import DOCS, PAGES, Block, blocks, indented_commands

from benchhydra import commands, config
from benchhydra.config import BenchConfig
from benchhydra.overrides import grammar
from benchhydra.registry import CONF_DIR

RUN = [page for page in PAGES if any(not block.reason for block in blocks(page))]
NOT_RUN = [block for page in PAGES for block in blocks(page) if block.reason]
#: test_extending.py runs the commands of extending.md, with its examples installed.
OTHER_PAGES = [page for page in sorted(DOCS.glob("*.md")) if page not in PAGES and page.stem != "extending"]
INDENTED = [block for page in OTHER_PAGES if (block := indented_commands(page)).text]
#: Short loads, and limits that a machine busy with other tests keeps: the pages show commands, not figures.
PROGRAM = """\
import os, re, sys
words = sys.argv[1:]
if words and ("=" in words[0] or words[0] == "-m"):
    words = [re.sub("^num_prompts=.*", "num_prompts=10", word) for word in words]
    words += ["tracking=none", "script.warmup_requests=1", "script.fail_on=never", *os.environ["LENIENT"].split()]
os.execv(sys.executable, [sys.executable, "-m", "benchhydra", *words])
"""
LENIENT = (
    *("validity.lag_ms=1e9", "validity.stall_ms=1e9", "validity.client_cpu_fraction=99", "validity.reached_fraction=0"),
    *("validity.client_wait_fraction=9", "validity.client_wait_fraction_of_server=9"),
)


def program(directory: Path) -> Path:
    """A folder with ``benchhydra``, which runs a command quickly."""
    folder = directory / "bin"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    script = folder / "benchhydra"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder / "program.py"}" "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return folder


def run(block: Block, directory: Path, folder: Path) -> None:
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "LENIENT": " ".join(LENIENT)}
    command = ["bash", "-e", "-o", "pipefail", "-c", block.text]
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == block.code, f"{block.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    folder = program(tmp_path)
    for block in blocks(page):
        if not block.reason:
            run(block, tmp_path, folder)


@pytest.mark.parametrize("block", [*NOT_RUN, *INDENTED], ids=lambda block: f"{block.page.stem}: {block.reason}")
def test_a_command_that_is_not_run_is_one_that_would(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", "a-key")
    for words in block.commands():
        if words[0] in commands.command_names():
            parser = argparse.ArgumentParser(exit_on_error=False)
            commands.load_command(words[0]).add_arguments(parser)
            parser.parse_intermixed_args(words[1:])
        else:
            composed(words)


def composed(words: list[str]) -> None:
    """Compose the first point of a run or sweep. Raises for an unknown key, option or value."""
    config.register()
    GlobalHydra.instance().clear()
    overrides = OverridesParser.create().parse_overrides([w for w in grammar.rewrite(words) if not w.startswith("-")])
    first = [
        f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
        if override.is_sweep_override()
        else str(override.input_line)
        for override in overrides
        if not str(override.key_or_group).startswith(("hydra", "launcher"))
    ]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        assert isinstance(OmegaConf.to_object(compose("config", overrides=first)), BenchConfig)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_in_a_fence(page: Path) -> None:
    assert indented_commands(page).text == ""


def test_most_pages_have_commands_that_run() -> None:
    assert {page.stem for page in RUN} >= {"README", "getting-started", "recipes", "editors"}


@pytest.mark.parametrize("text", ["benchhydra modle=llama2", "benchhydra qps=fast", "benchhydra compare a b --bye qps"])
def test_a_wrong_command_is_found(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block = Block(page=PAGES[0], text=text, code=0, reason="wrong")
    with pytest.raises((Exception, SystemExit)):
        test_a_command_that_is_not_run_is_one_that_would(block, monkeypatch)
