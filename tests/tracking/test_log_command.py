"""``benchhydra log``: what is not there yet is logged, once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from benchhydra.commands import log
from benchhydra.errors import BenchhydraError, ResultError
from benchhydra.result import Result

Make = Callable[..., tuple[Result, Path]]


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    log.add_arguments(parser)
    return log.run(parser.parse_args(list(words)))


def test_tree_is_logged_once(uri: str, tmp_path: Path, point: Make, capsys: pytest.CaptureFixture[str]) -> None:
    point()
    point()
    words = (str(tmp_path), "--uri", uri, "--no-artifacts")
    assert run(*words) == 0
    assert capsys.readouterr().out.endswith("2 of 2 results logged, 0 were already logged\n")
    assert run(*words) == 0
    assert capsys.readouterr().out.endswith("0 of 2 results logged, 2 were already logged\n")
    assert run(*words, "--again") == 0
    assert capsys.readouterr().out.endswith("2 of 2 results logged, 0 were already logged\n")


def test_nothing_to_log(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"no result\.json in"):
        run(str(tmp_path))


def test_unreachable_store(point: Make) -> None:
    _, directory = point()
    with pytest.raises(BenchhydraError, match=r"cannot log .*: no answer from http://127\.0\.0\.1:1"):
        run(str(directory), "--uri", "http://127.0.0.1:1")
