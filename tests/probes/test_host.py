"""The probe ``host``: whose CPU time it was. What our processes and the server's used is not others'."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from benchhydra.probes import ProbeTarget, Sample, _slow_reading
from benchhydra.probes import host as host_module
from benchhydra.probes._kernel_counters import rapl_domains, read_counters
from benchhydra.probes._processes import cpu_s, process_tree, run_delays
from benchhydra.probes.host import CpuGroups, HostProbe, MachineCounters, ServerWaits

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
    assert {sample.name for sample in probe.sample()} <= {"memory_available_mib", "energy_j"}  # no rate yet
    return probe


def fractions(samples: list[Sample], name: str = "cpu_fraction", label: str = "group") -> dict[str, float]:
    return {sample.labels[label]: sample.value for sample in samples if sample.name == name}


@pytest.mark.alone
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


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_cores_are_grouped_by_who_may_use_them() -> None:
    first, *others = sorted(os.sched_getaffinity(0))
    with worker("import time; time.sleep(60)") as server:
        os.sched_setaffinity(server.pid, {first})
        groups = CpuGroups(ProbeTarget(client_pid=os.getpid(), server_pid=server.pid))
        assert list(groups.sample()) == []
        time.sleep(0.2)
        busy = fractions(list(groups.sample()), "core_busy_fraction", "cores")
    assert {"client", "server"} <= busy.keys() <= {"client", "server", "others"}
    assert all(0 <= fraction <= 1.2 for fraction in busy.values())  # ticks of 10 ms in 200 ms
    assert ("others" in busy) == (os.cpu_count() != len(others) + 1)


def test_a_servers_wait_for_a_core_is_a_part_of_the_time_in_which_it_could_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "WAITS_INTERVAL_S", 0.0)
    monkeypatch.setattr(_slow_reading, "RATIO", 0.0)
    spin = "while True: pass"
    with (
        worker(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}])") as server,
        worker(spin) as hog,
    ):
        (core, *_) = os.sched_getaffinity(0)
        for pid in (server.pid, hog.pid):
            os.sched_setaffinity(pid, {core})
        groups = CpuGroups(ProbeTarget(client_pid=os.getpid(), server_pid=server.pid))
        waits = ServerWaits(groups)
        while len(process_tree([server.pid])) < 2:
            time.sleep(0.01)
        list(groups.sample())
        os.sched_setaffinity(next(iter(groups.server - {server.pid})), {core})
        assert list(waits.sample()) == list(waits.sample()) == []  # the second one is the first that is read
        time.sleep(0.8)
        (sample,) = waits.sample()
        psutil.Process(server.pid).children()[0].kill()
    assert (sample.name, sample.unit) == ("server_wait_fraction", "fraction")
    assert 0.3 < sample.value < 1  # two that want one core, and whoever else is on this machine


def test_without_a_server_process_its_waits_are_unknown() -> None:
    groups = CpuGroups(ProbeTarget(client_pid=os.getpid()))
    list(groups.sample())
    waits = ServerWaits(groups)
    assert [list(waits.sample()) for _ in range(3)] == [[], [], []]


def test_threads_that_end_are_no_error() -> None:
    with worker("pass") as child:
        child.wait()
        assert run_delays([child.pid, os.getpid()]).keys() >= {os.getpid()}


def test_page_faults_and_traffic_are_rates_of_the_kernels_counters() -> None:
    counters = MachineCounters()
    before = {counter.labels.get("kind", ""): counter.value for counter in read_counters() if "faults" in counter.unit}
    assert not any(sample.unit.endswith("/s") for sample in counters.sample())
    begin_s = time.monotonic()
    pages = bytearray(64 << 20)
    time.sleep(0.3)
    elapsed_s = time.monotonic() - begin_s
    rates = {(s.name, *s.labels.values()): s.value for s in counters.sample() if s.unit.endswith("/s")}
    after = {counter.labels.get("kind", ""): counter.value for counter in read_counters() if "faults" in counter.unit}
    assert len(pages) and rates["page_faults_per_s", "all"] > 0
    assert rates["page_faults_per_s", "all"] * elapsed_s <= after["all"] - before["all"]
    assert {("swap_mib_per_s", "in"), ("swap_mib_per_s", "out")} <= rates.keys()
    assert all(value >= 0 for value in rates.values())


@pytest.mark.skipif(not Path("/proc/pressure/cpu").exists(), reason="a kernel without PSI")
def test_pressure_is_the_part_of_the_time_in_which_a_process_waited() -> None:
    counters = MachineCounters()
    list(counters.sample())
    time.sleep(0.2)
    pressure = [sample for sample in counters.sample() if sample.name == "pressure_fraction"]
    kinds = {(sample.labels["resource"], sample.labels["kind"]) for sample in pressure}
    assert {("cpu", "some"), ("memory", "some"), ("io", "some")} <= kinds and ("cpu", "full") not in kinds
    assert all(0 <= sample.value <= 1.1 for sample in pressure)


def write_domain(directory: Path, name: str, energy_uj: int) -> Path:
    directory.mkdir()
    (directory / "name").write_text(f"{name}\n")
    (directory / "max_energy_range_uj").write_text("262143328850\n")
    (directory / "energy_uj").write_text(f"{energy_uj}\n")
    return directory / "energy_uj"


def test_rapl_counts_on_after_its_highest_value(tmp_path: Path) -> None:
    counter = write_domain(tmp_path / "intel-rapl:0", "package-0", 262143328850 - 1_000_000)
    memory = write_domain(tmp_path / "intel-rapl:0:1", "dram", 5_000_000)
    write_domain(tmp_path / "intel-rapl-mmio:0", "package-0", 0)
    (tmp_path / "intel-rapl:1").mkdir()  # not readable
    domains = {domain.name: domain for domain in rapl_domains(str(tmp_path))}
    assert domains.keys() == {"package-0", "package-0/dram"}
    counter.write_text("1999999\n")
    memory.write_text("5500000\n")
    assert domains["package-0"].energy_j() == pytest.approx(3.0)
    assert domains["package-0/dram"].energy_j() == pytest.approx(0.5)
    assert rapl_domains(str(tmp_path / "none")) == []
