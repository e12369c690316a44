"""Suites as they are typed; tests/suites runs real ones."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchhydra import interruption
from benchhydra.commands import _experiments
from benchhydra.commands._experiments import SuiteExperiment


def test_old_keys_are_renamed_once_for_all_experiments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []

    def start(words: Sequence[str]) -> int:
        """The second experiment fails."""
        started.append(list(words))
        return len(started) - 1

    monkeypatch.setattr(interruption, "run_program", start)
    args = Namespace(overrides=["script.api=chat"], config_dir=None, plan=False, resume=False)
    experiments = [SuiteExperiment(name=name, words=("-m", f"+experiment={name}")) for name in ("one", "two")]
    assert _experiments.run_experiments(experiments, args, tmp_path) == 1
    printed = capsys.readouterr()
    assert printed.err.count("script.api is now api: reading script.api=chat as api=chat") == 1
    assert [("api=chat" in words, "script.api=chat" in words) for words in started] == [(True, False)] * 2
    assert printed.out == (tmp_path / "summary.md").read_text()
    assert printed.out.endswith("2 of 2 experiments ran, 1 failed\n")
