"""Whose CPU time it was: ours and our server's is not others'."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchhydra.probes.host_contention import HostContentionMonitor
from benchhydra.servers import Lease

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


def test_our_children_are_not_others() -> None:
    with worker("import time; time.sleep(60)") as server:
        watch = HostContentionMonitor(Lease(pid=server.pid))
        spent = os.times()
        subprocess.run([sys.executable, "-c", BUSY], check=True)  # a client process that has ended when we look
        watch.stop()
        busy = os.times()
    wall_s = busy.elapsed - spent.elapsed
    ours_s = busy.children_user + busy.children_system - spent.children_user - spent.children_system
    share = watch.facts(client_processes=1)["other_cpu_share"]
    assert ours_s > 1
    assert 0 <= share <= 1 - ours_s / wall_s / len(os.sched_getaffinity(0)) + 0.05


def test_waits_for_a_core_are_a_share_and_only_of_a_client_that_is_this_process() -> None:
    watch = HostContentionMonitor(Lease(pid=os.getpid()))
    sum(range(1_000_000))
    watch.stop()
    assert 0 <= watch.facts(client_processes=1)["client_wait_share"] < 1
    assert watch.facts(client_processes=2)["client_wait_share"] is None


def test_a_server_whose_process_is_unknown_makes_others_unknown() -> None:
    watch = HostContentionMonitor(Lease(pid=None))
    watch.stop()
    facts = watch.facts(client_processes=1)
    assert facts["other_cpu_share"] is None
    assert facts["other_gpu_pids"] == ()


def test_a_moment_says_nothing() -> None:
    watch = HostContentionMonitor(Lease(pid=os.getpid()))
    watch.stop()
    assert watch.facts(client_processes=1)["other_cpu_share"] is None
