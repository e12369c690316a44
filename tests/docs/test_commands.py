"""Every command of README.md and of the site's pages runs as it stands there, or is marked as not run and composes."""

from __future__ import annotations

import argparse
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tests.docs.blocks import DOCS, FENCE, PAGES, Block, blocks, indented_commands

from benchhydra import commands, config, interruption
from benchhydra.cli import program as command_line
from benchhydra.config import BenchConfig
from benchhydra.overrides import grammar
from benchhydra.registry import CONF_DIR

RUN = [page for page in PAGES if any(not block.reason for block in blocks(page))]
NOT_RUN = [block for page in PAGES for block in blocks(page) if block.reason]
#: test_extending.py runs the commands of extending.md, with its examples installed.
OTHER_PAGES = [page for page in sorted(DOCS.glob("*.md")) if page not in PAGES and page.stem != "extending"]
INDENTED = [block for page in OTHER_PAGES if (block := indented_commands(page)).text]
#: Short loads, and limits that a machine busy with other tests keeps: the pages show commands, not figures.
QUICK = (
    *("tracking=none", "script.warmup_requests=1", "script.fail_on=never", "validity.reached_fraction=0"),
    *("validity.lag_ms=1e9", "validity.stall_ms=1e9", "validity.client_cpu_fraction=99"),
    *("validity.client_wait_fraction=9", "validity.client_wait_fraction_of_server=9"),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory, in which this process is a user's shell."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    GlobalHydra.instance().clear()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    interruption.forget_signals()


def quick(words: list[str]) -> list[str]:
    """The command with 10 requests a point."""
    if words[0] in commands.command_names():
        return words
    return [*(re.sub("^num_prompts=.*", "num_prompts=10", word) for word in words), *QUICK]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks(page):
        sequence = [] if block.reason else list(block.commands())
        codes = [0] * len(sequence[:-1]) + [block.code]
        for words, code in zip(sequence, codes, strict=False):
            GlobalHydra.instance().clear()
            ended = command_line.run(quick(words))
            out, err = capsys.readouterr()
            assert ended == code, f"{words}\n{out[-3000:]}\n{err[-3000:]}"


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_blocks_that_run_hold_commands_of_the_program_only(page: Path) -> None:
    for block in blocks(page):
        lines = [line for line in block.text.splitlines() if line.strip()]
        assert block.reason or len(lines) == len(list(block.commands())) > 0


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
    fences = FENCE.findall(page.read_text(encoding="utf-8"))
    assert fences == ["```bash"] * len(blocks(page))  # with other words the site shows no block of code


def test_most_pages_have_commands_that_run() -> None:
    assert {page.stem for page in RUN} >= {"README", "getting-started", "recipes", "editors"}


@pytest.mark.parametrize("text", ["benchhydra modle=llama2", "benchhydra qps=fast", "benchhydra compare a b --bye qps"])
def test_a_wrong_command_is_found(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block = Block(page=PAGES[0], text=text, code=0, reason="wrong")
    with pytest.raises((Exception, SystemExit)):
        test_a_command_that_is_not_run_is_one_that_would(block, monkeypatch)
