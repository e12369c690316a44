"""Fake servers, whose ``/stats`` are the truth, and points that are measured on them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.scripts.points import run

from benchhydra.records import Records
from benchhydra.result import Result
from benchhydra.validity import rules


@dataclasses.dataclass(frozen=True)
class Measured:
    """A measured point: its result, its rows, and what a fake server counted meanwhile."""

    result: Result
    rows: Records
    truth: Counter[str] = dataclasses.field(default_factory=Counter)
    classes: Counter[str] = dataclasses.field(default_factory=Counter)

    @property
    def metrics(self) -> dict[str, float]:
        return {name: metric.value for name, metric in self.result.metrics.items()}

    @property
    def doubts(self) -> set[str]:
        """The rules that doubt the answers themselves: a busy machine breaks others."""
        modules = ("benchhydra.validity.answers", "benchhydra.validity.outputs")
        return self.checks & {name for name, rule in rules().items() if rule.__module__ in modules}

    @property
    def checks(self) -> set[str]:
        return {reason.check for reason in self.result.reasons}


Measure = Callable[..., Measured]


@pytest.fixture(scope="session")
def fake_url() -> Iterator[Callable[..., str]]:
    """Start a fake server with flags, once for each set of them."""
    urls: dict[tuple[str, ...], str] = {}
    with ExitStack() as stack:

        def url(*flags: str) -> str:
            if flags not in urls:
                command = [sys.executable, "-m", "benchhydra.fakeserver", "--port", "0", "--model", "m", *flags]
                process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
                stack.callback(process.terminate)
                assert process.stdout is not None
                urls[flags] = "http://" + process.stdout.readline().rpartition(" on ")[2].strip()
            return urls[flags]

        yield url


@pytest.fixture
def measure(fake_url: Callable[..., str], tmp_path: Path) -> Measure:
    """Measure a point with overrides on a fake server with flags."""

    def measured(*overrides: str, flags: tuple[str, ...] = ()) -> Measured:
        url = fake_url("--ttft-ms", "2", "--itl-ms", "1", *flags)
        attach = ["engine=attach", f"engine.base_url={url}", "model=custom", "model.id=m", "model.tokenizer=word"]
        load = ["qps=400", "num_prompts=40", "script.warmup_requests=0", "dataset.prompt_tokens=12"]
        before = _stats(url)
        run(tmp_path / "point", *attach, *load, *overrides)
        after = _stats(url)
        return Measured(
            Result.read(tmp_path / "point"),
            Records.read(tmp_path / "point" / "records.parquet"),
            Counter(after["truth"]) - Counter(before["truth"]),
            Counter(after["classes"]) - Counter(before["classes"]),
        )

    return measured


def _stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/stats", timeout=60) as answer:
        stats: dict[str, Any] = json.loads(answer.read())
    return stats
