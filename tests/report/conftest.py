"""One tree of results for all tests of the report."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.report.made import write_history, write_hostile, write_sweep

from benchhydra.analysis.load import load
from benchhydra.analysis.runs import Runs


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one tree."""
    root = tmp_path_factory.mktemp("results")
    write_history(root / "history")
    write_hostile(root)
    write_sweep(root / "sweep")
    return root


@pytest.fixture(scope="session")
def found(tree: Path) -> Runs:
    return load(str(tree))


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, and the signal handlers put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)
