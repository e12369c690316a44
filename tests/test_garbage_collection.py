"""The collector is off while a run starts, and on again for what is made later."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchhydra.garbage_collection import begin_collection, postponed_collection


@pytest.fixture(autouse=True)
def state_of_before() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()
    gc.unfreeze()


def test_what_starting_makes_is_not_examined_later() -> None:
    with postponed_collection():
        assert not gc.isenabled()
        circle: list[object] = []
        circle.append(circle)
        begin_collection()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert not any(item is circle for item in gc.get_objects())


def test_a_start_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(RuntimeError), postponed_collection():
        raise RuntimeError
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_later_calls_freeze_nothing() -> None:
    begin_collection()
    assert gc.get_freeze_count() == 0


#: Prints what Python did first once the program ran: a collection of its own, or the one before the load.
PROGRAM = """
import gc, sys
from benchhydra.cli.program import GARBAGE_THRESHOLD, run
gc.set_threshold(GARBAGE_THRESHOLD)
sys.argv[1:] = words = {words}
done = []
gc.callbacks.append(lambda phase, info: done.append("collected"))
gc.collect = lambda: done.append(("load", gc.isenabled(), gc.get_freeze_count() > 10_000))
print(run(words), done[0], gc.isenabled())
"""


def test_a_point_starts_without_a_collection_and_runs_with_the_collector_on(tmp_path: Path) -> None:
    words = ["engine=fake", "model=llama2", "engine.ttft_ms=1", "engine.itl_ms=1", "num_prompts=4", "qps=100"]
    words += ["dataset.output_tokens=4", "tracking=none", "script.fail_on=never", "script.warmup_requests=0", "-q"]
    command = [sys.executable, "-c", PROGRAM.format(words=words)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["0 ('load', True, True) True"], done.stdout + done.stderr
