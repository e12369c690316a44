"""The probe ``host``: whose CPU time it was. What our processes and the server's used is not others'."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from benchhydra.probes import ProbeTarget, Sample
from benchhydra.probes import host as host_module
from benchhydra.probes._processes import cpu_s, process_tree
from benchhydra.probes.host import HostProbe

#: Works for 1.2 s of CPU time.
BUSY = "import time; start = time.process_time()\nwhile time.process_time() - start < 1.2: pass"


@contextmanager
def worker(code: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def started(server_pid: int | None) -> HostProbe:
    """A probe after its first sample."""
    probe = HostProbe()
    probe.start(ProbeTarget(client_pid=os.getpid(), server_pid=server_pid))
    assert list(probe.sample()) == []
    return probe


def fractions(samples: list[Sample]) -> dict[str, float]:
    assert {sample.name for sample in samples} == {"cpu_fraction"}
    return {sample.labels["group"]: sample.value for sample in samples}


def test_our_own_child_processes_do_not_count_as_others() -> None:
    with worker("import time; time.sleep(60)") as server:
        before = os.times()
        probe = started(server.pid)
        subprocess.run([sys.executable, "-c", BUSY], check=True)  # a client process that has ended at the last sample
        groups, fraction = fractions(list(probe.sample())), probe.stop()["other_cpu_fraction"]
        after = os.times()
    wall_s = after.elapsed - before.elapsed
    ours_s = after.children_user + after.children_system - before.children_user - before.children_system
    ours = ours_s / wall_s / len(os.sched_getaffinity(0))
    assert ours_s > 1
    assert 0 <= fraction <= 1 - ours + 0.05
    assert groups["client"] == pytest.approx(ours, abs=0.05)
    assert groups["server"] < 0.05


def test_the_servers_children_are_the_servers() -> None:
    code = (
        f"import subprocess, sys\ninput()\nsubprocess.run([sys.executable, '-c', {BUSY!r}])\nprint(flush=True)\ninput()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        probe = started(server.pid)
        before_s = time.monotonic()
        server.stdin.write(b"\n")
        server.stdin.flush()
        server.stdout.readline()
        groups = fractions(list(probe.sample()))
        available_s = (time.monotonic() - before_s) * len(os.sched_getaffinity(0))
        server.kill()
    assert groups["server"] >= 1.1 / available_s > groups["client"]


def test_without_the_servers_process_the_use_by_others_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "LEAST_S", 0.0)
    monkeypatch.setattr(host_module, "LEAST_SAMPLE_S", 0.0)
    probe = started(None)
    assert fractions(list(probe.sample())).keys() == {"client", "server or others"}
    assert probe.stop() == {}


def test_too_short_a_window_gives_no_facts() -> None:
    assert started(os.getpid()).stop() == {}


def test_a_probe_that_was_never_sampled_has_no_facts() -> None:
    probe = HostProbe()
    probe.start(ProbeTarget(client_pid=os.getpid(), server_pid=os.getpid()))
    assert probe.stop() == {}


def test_between_two_walks_the_processes_of_the_last_one_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[list[int]] = []

    def recorded(roots: list[int]) -> set[int]:
        walks.append(roots)
        return process_tree(roots)

    monkeypatch.setattr(host_module, "process_tree", recorded)
    probe = started(os.getpid())
    for _ in range(5):
        list(probe.sample())
    assert len(walks) == 2  # the server's and the client's tree, once each
    probe.stop()
    assert len(walks) == 4


def test_trees_and_their_cpu_time_are_those_of_psutil() -> None:
    with worker("import time; time.sleep(60)") as child:
        tree = process_tree([os.getpid()])
        root = psutil.Process()
        assert {os.getpid(), child.pid} <= tree <= {root.pid, *(p.pid for p in root.children(recursive=True))}
        assert cpu_s([root.pid]) == pytest.approx(sum(root.cpu_times()[:4]), abs=0.05)
    assert process_tree([child.pid]) == set()
    assert cpu_s([child.pid]) == 0.0
