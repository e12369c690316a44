"""What tests of several packages need."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# A test finds the same on every machine. `make fuzz` looks for new cases, with a new seed each time.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("repeatable")

#: About how long a test with this marker takes, in s, beside others.
DURATIONS_S = {"vllm": 60, "slow": 20}
#: About how long a test of this folder takes.
FOLDERS_S = {"sweep": 10, "docs": 4, "suites": 4, "scripts": 2, "tracking": 2, "search": 2, "endpoints": 2, "lying": 1}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, begin with the files that take longest, so that no worker ends long after the others."""
    if not hasattr(config, "workerinput"):
        return
    file_s: Counter[Path] = Counter()
    for item in items:
        file_s[item.path] += FOLDERS_S.get(item.path.parent.name, 0)
        file_s[item.path] += sum(seconds for name, seconds in DURATIONS_S.items() if item.get_closest_marker(name))
    items.sort(key=lambda item: -file_s[item.path])  # stable: the tests of a file keep their order


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, no CI job, and the signal handlers put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)
