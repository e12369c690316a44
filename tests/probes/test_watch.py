"""``Watch`` and its helper process: what it finds, what a bad probe costs, and that nothing of it is left."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tests.probes.conftest import MetricsServer
from tests.waiting import wait_for

from benchhydra.errors import ConfigError
from benchhydra.probes import Probe, ProbeTarget, Sample, probes
from benchhydra.probes.helper import CHUNK, NICENESS, SampleColumn, SpilledSamples
from benchhydra.probes.helper_process import close_idle_helpers
from benchhydra.probes.settings import ProbeSettings
from benchhydra.probes.watch import Observation, Watch, start_helper
from benchhydra.series import Series, read_series, write_series

WriteProbe = Callable[[str], str]

#: What hangs until it is given up has ended within this time; probes that hang sleep for twice as long.
NOT_HUNG_S = 30.0

COUNTING = """
class Counting(Probe):
    name = "counting"

    def start(self, target):
        self.count = 0

    def sample(self):
        self.count += 1
        return [Sample("count", "samples", self.count), Sample("pid", "", os.getpid(), {"of": "helper"})]

    def stop(self):
        return {COUNT: self.count, PAIR: (1, (2, 3))}

COUNT = fact("samples_of_a_test", unit="samples", doc="of a test")
PAIR = fact("pair_of_a_test", unit="", doc="of a test")
"""


def target(**fields: object) -> ProbeTarget:
    here: dict[str, object] = {"client_pid": os.getpid(), "client_thread": threading.get_native_id()}
    return ProbeTarget(**{**here, **fields})  # type: ignore[arg-type]


def watched(
    seconds: float,
    settings: ProbeSettings | None = None,
    *,
    during: Callable[[Watch], object] = lambda watch: None,
    client_processes: int = 1,
    where: ProbeTarget | None = None,
) -> Observation:
    with Watch.start(where or target(server_pid=os.getpid()), settings or ProbeSettings(interval_s=0.05)) as watch:
        watch.begin()
        during(watch)
        time.sleep(seconds)
        return watch.end(client_processes=client_processes)


def only(name: str) -> list[str]:
    """``probes.off`` that leaves one on."""
    return [other for other in probes() if other != name]


def named(observation: Observation, name: str) -> Series:
    (series,) = [one for one in observation.series if one.name == name]
    return series


def helpers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if any("benchhydra.probes.helper" in word for word in child.cmdline())]


def send_helpers(number: int) -> Callable[[Watch], object]:
    def send(watch: Watch) -> None:
        for helper in helpers():
            helper.send_signal(number)

    return send


def test_samples_lie_between_begin_and_end_on_our_clock(write_probe: WriteProbe) -> None:
    write_probe(COUNTING)
    begin_ns = time.monotonic_ns()
    observation = watched(1.0)
    end_ns = time.monotonic_ns()
    count = named(observation, "counting.count")
    assert (count.unit, dict(count.labels)) == ("samples", {})
    assert count.values.tolist() == list(range(1, len(count) + 1))
    watched_s = (count.times_ns[-1] - count.times_ns[0]) / 1e9
    assert watched_s > 0.95
    assert 5 <= len(count) <= watched_s / 0.05 + 2  # every 50 ms, and the last one
    assert begin_ns < count.times_ns[0] and count.times_ns[-1] < end_ns
    assert np.all(np.diff(count.times_ns) > 0)
    pid = named(observation, "counting.pid")
    assert dict(pid.labels) == {"of": "helper"}
    assert set(pid.values) == {helpers()[0].pid}
    assert observation.facts["samples_of_a_test"] == len(count)
    assert observation.facts["pair_of_a_test"] == (1, (2, 3))
    assert observation.warnings == ()


def test_the_built_in_probes_find_facts_and_series(tmp_path: Path, metrics_server: MetricsServer) -> None:
    metrics_server.text = "vllm:num_preemptions_total 3\nvllm:num_requests_running 2\n"

    def preempt(watch: Watch) -> None:
        metrics_server.text = "vllm:num_preemptions_total 5\nvllm:num_requests_running 2\n"

    where = target(server_pid=os.getpid(), base_url=metrics_server.base_url)
    observation = watched(1.2, during=preempt, where=where)
    assert observation.facts["preemptions"] == 2
    assert 0 <= observation.facts["other_cpu_fraction"] <= 1
    assert 0 <= observation.facts["client_wait_fraction"] < 1
    names = {series.name for series in observation.series}
    assert {"host.cpu_fraction", "host.core_busy_fraction", "host.memory_available_mib"} <= names
    assert {name for name in names if not name.startswith("host.")} == {
        "client.cpu_fraction",
        "client.wait_fraction",
        "server.preemptions",
        "server.requests_running",
    }
    write_series(observation.series, tmp_path / "series.parquet")
    assert {series.name for series in read_series(tmp_path / "series.parquet")} == names


def test_a_probe_may_ask_to_be_sampled_less_often(write_probe: WriteProbe) -> None:
    write_probe(COUNTING.replace('name = "counting"', 'name = "counting"\n    min_interval_s = 10.0'))
    assert named(watched(0.3), "counting.count").values.tolist() == [1.0, 2.0]


def test_several_client_processes_have_no_client_wait_fraction() -> None:
    observation = watched(1.1, client_processes=2)
    assert "client_wait_fraction" not in observation.facts and "other_cpu_fraction" in observation.facts
    assert {series.name.partition(".")[0] for series in observation.series} == {"host"}


def test_probes_are_switched_off_by_name_and_without_any_nothing_is_started(write_probe: WriteProbe) -> None:
    write_probe(COUNTING)
    observation = watched(0.2, ProbeSettings(interval_s=0.05, off=["client", "host"]))
    assert {series.name for series in observation.series} == {"counting.count", "counting.pid"}
    before = len(helpers())
    observation = watched(0.0, ProbeSettings(off=list(probes())))
    assert (observation.facts, observation.series, observation.warnings) == ({}, (), ())
    assert len(helpers()) == before


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"probes\.off: no such probe: gups"):
        ProbeSettings(off=["gups"])
    with pytest.raises(ConfigError, match=r"probes\.gpus=\[-1\]"):
        ProbeSettings(gpus=[-1])
    for interval_s in (0, -1, 0.001, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match=r"probes\.interval_s"):
            ProbeSettings(interval_s=interval_s)


def test_two_probes_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two probes are called host"):
        type("Host", (Probe,), {"name": "host"})


def test_the_helper_is_used_again_by_the_next_point(write_probe: WriteProbe) -> None:
    write_probe(COUNTING)
    first, second = watched(0.1), watched(0.1)
    assert set(named(first, "counting.pid").values) == set(named(second, "counting.pid").values)
    assert named(second, "counting.count").values[0] == 1
    assert len(helpers()) == 1


def test_a_helper_that_was_started_early_is_the_one_that_is_used(write_probe: WriteProbe) -> None:
    write_probe(COUNTING)
    start_helper(ProbeSettings())
    start_helper(ProbeSettings())
    (helper,) = helpers()
    assert set(named(watched(0.1), "counting.pid").values) == {helper.pid}
    close_idle_helpers()
    start_helper(ProbeSettings(off=list(probes())))
    assert helpers() == []


def test_an_early_start_that_fails_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    start_helper(ProbeSettings())
    assert "lost (No such file or directory)" in watched(0.0).warnings[0]


@pytest.mark.parametrize(
    ("method", "warning"),
    [
        ("applies", "ValueError: no"),
        ("start", "ValueError: no"),
        ("sample", "ValueError: no"),
        ("stop", "ValueError: no"),
    ],
)
def test_a_probe_that_raises_is_switched_off_and_named(write_probe: WriteProbe, method: str, warning: str) -> None:
    write_probe(COUNTING)
    write_probe(f"""
    class Raising(Probe):
        name = "raising"

        def {method}(self, *_):
            raise ValueError("no")
    """)
    observation = watched(0.2)
    assert observation.warnings == (f"the probe raising was switched off: {warning}",)
    assert len(named(observation, "counting.count")) > 2


@pytest.mark.parametrize(
    ("sample", "warning"),
    [
        ('[Sample("a", "s", 1.0), Sample("a", "ms", 1.0)]', "ValueError: series a has two units: s and ms"),
        ('[Sample("a", "s", "many")]', "TypeError"),
        ("[7]", "AttributeError"),
        ("7", "TypeError"),
    ],
)
def test_malformed_samples_switch_a_probe_off(write_probe: WriteProbe, sample: str, warning: str) -> None:
    write_probe(f"""
    class Odd(Probe):
        name = "odd"

        def sample(self):
            return {sample}
    """)
    (text,) = watched(0.1).warnings
    assert text.startswith(f"the probe odd was switched off: {warning}")


def test_what_it_found_before_it_raised_is_kept_and_values_that_are_not_finite_are_not(write_probe: WriteProbe) -> None:
    write_probe("""
    class Short(Probe):
        name = "short"
        values = [1.0, float("nan"), float("inf"), 2.0]

        def sample(self):
            return [Sample("value", "", self.values.pop(0))]
    """)
    observation = watched(0.4)
    assert named(observation, "short.value").values.tolist() == [1.0, 2.0]
    assert observation.warnings == ("the probe short was switched off: IndexError: pop from empty list",)


@pytest.mark.parametrize(
    ("value", "warning"),
    [
        ('{"undeclared_fact_of_a_test": 1}', "not declared with fact(...): undeclared_fact_of_a_test"),
        ('{"samples_of_a_test": object()}', "its facts are not plain data"),
        ('{"samples_of_a_test": float("nan")}', "its facts are not plain data"),
    ],
)
def test_malformed_facts_are_unknown(write_probe: WriteProbe, value: str, warning: str) -> None:
    write_probe(COUNTING)
    write_probe(f"""
    class Telling(Probe):
        name = "telling"

        def stop(self):
            return {value}
    """)
    observation = watched(0.1)
    (text,) = observation.warnings
    assert warning in text
    assert "undeclared_fact_of_a_test" not in observation.facts
    assert observation.facts["samples_of_a_test"] > 0  # the other probe's


def test_output_of_a_probe_is_discarded(write_probe: WriteProbe, capfd: pytest.CaptureFixture[str]) -> None:
    write_probe("""
    class Chatty(Probe):
        name = "chatty"

        def sample(self):
            print("hello", flush=True)
            return [Sample("value", "", 1.0)]
    """)
    observation = watched(0.1)
    assert observation.warnings == () and len(named(observation, "chatty.value")) >= 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("usual_patience")
def test_a_probe_that_hangs_while_the_load_runs_keeps_no_other_from_being_sampled(write_probe: WriteProbe) -> None:
    write_probe(COUNTING)
    write_probe("""
    class Hanging(Probe):
        name = "hanging"
        calls = 0

        def sample(self):
            self.calls += 1
            if self.calls > 2:
                time.sleep(60)
            return [Sample("value", "", 7.0)]
    """)
    end_s = 0.0

    def note(watch: Watch) -> None:
        nonlocal end_s
        end_s = time.monotonic() + 1.5

    observation = watched(1.5, during=note)
    assert time.monotonic() - end_s < NOT_HUNG_S
    assert observation.warnings == (
        "the probe hanging was switched off: it did not answer within 1.5 s after the load",
    )
    assert named(observation, "hanging.value").values.tolist() == [7.0, 7.0]
    assert len(named(observation, "counting.count")) >= 6
    assert observation.facts["samples_of_a_test"] >= 6
    assert helpers() == []  # a helper with a thread that hangs is not used again


@pytest.mark.usefixtures("usual_patience")
@pytest.mark.parametrize("method", ["applies", "start", "sample"])
def test_a_probe_that_is_never_ready_is_left_out_after_a_moment(write_probe: WriteProbe, method: str) -> None:
    write_probe(COUNTING)
    write_probe(f"""
    class Hanging(Probe):
        name = "hanging"

        def {method}(self, *_):
            time.sleep(60)
    """)
    start_s = time.monotonic()
    observation = watched(0.6)
    assert time.monotonic() - start_s < NOT_HUNG_S
    assert observation.warnings == ("the probe hanging was switched off: it was not ready within 1.5 s",)
    assert len(named(observation, "counting.count")) > 2


@pytest.mark.usefixtures("usual_patience")
def test_metrics_that_never_answer_cost_no_other_probe_anything(write_probe: WriteProbe) -> None:
    import socket

    write_probe(COUNTING)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        where = target(server_pid=os.getpid(), base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}")
        start_s = time.monotonic()
        observation = watched(1.0, where=where)
        assert time.monotonic() - start_s < NOT_HUNG_S
    assert len(named(observation, "counting.count")) > 5
    assert not any(series.name.startswith("server.") for series in observation.series)


def test_a_helper_that_is_killed_while_the_load_runs_is_a_warning(write_probe: WriteProbe) -> None:
    write_probe(COUNTING)
    observation = watched(0.2, during=send_helpers(signal.SIGKILL))
    assert observation.facts == {} and observation.series == ()
    (text,) = observation.warnings
    assert text == (
        "the helper process of the probes was lost (killed by signal 9): their facts and series are unknown"
    )
    assert watched(0.1).warnings == ()  # the next point has another one


@pytest.mark.usefixtures("usual_patience")
def test_a_helper_that_is_stopped_never_answers_and_is_replaced() -> None:
    start_s = time.monotonic()
    observation = watched(0.1, during=send_helpers(signal.SIGSTOP))
    assert time.monotonic() - start_s < NOT_HUNG_S
    assert "it does not answer" in observation.warnings[0]
    assert helpers() == []
    assert watched(0.1).warnings == ()


def test_a_helper_that_cannot_be_started_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    observation = watched(0.0)
    assert observation.facts == {}
    assert observation.warnings == (
        "the helper process of the probes was lost (No such file or directory): their facts and series are unknown",
    )


def test_a_module_that_the_helper_cannot_import_is_a_warning(write_probe: WriteProbe, tmp_path: Path) -> None:
    name = write_probe(COUNTING)
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('only once')\n")
    (text,) = watched(0.1).warnings
    assert text == "the probe counting was switched off: RuntimeError: only once"


def test_a_point_that_fails_before_its_end_ends_the_helper() -> None:
    with pytest.raises(KeyboardInterrupt), Watch.start(target(), ProbeSettings()) as watch:
        watch.begin()
        raise KeyboardInterrupt
    assert helpers() == []


def test_it_is_niced_ignores_what_the_terminal_sends_and_shows_no_secret() -> None:
    where = target(base_url="http://127.0.0.1:1", headers={"Authorization": "Bearer hunter2"})

    def look(watch: Watch) -> None:
        (helper,) = helpers()
        wait_for(lambda: helper.nice() == min(19, os.nice(0) + NICENESS), 60, "the helper to be niced")
        assert os.getpgid(helper.pid) != os.getpgid(0)
        assert not any("hunter2" in word for word in helper.cmdline())
        assert not any("hunter2" in value for value in helper.environ().values())
        for number in (signal.SIGINT, signal.SIGTERM):
            helper.send_signal(number)

    assert watched(0.2, during=look, where=where).warnings == ()


LIGHT = """
import sys
import benchhydra.probes.helper
from benchhydra.probes import client, gpu, host, server
heavy = {"hydra", "omegaconf", "numpy", "psutil", "prometheus_client", "pyarrow", "aiohttp", "msgspec", "asyncio"}
heavy |= {"ssl", "email"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_the_helper_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


OWNER = """
import os, sys, threading
from benchhydra import registry
from benchhydra.probes import ProbeTarget
from benchhydra.probes.settings import ProbeSettings
from benchhydra.probes.watch import Watch
registry.import_modules("benchhydra.probes")
watch = Watch.start(ProbeTarget(client_pid=os.getpid()), ProbeSettings())
watch.begin()
if "end" in sys.argv:
    watch.end(client_processes=1)
if "fork" in sys.argv and not os.fork():
    import time
    os.close(0)
    os.close(1)
    time.sleep(600)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("words", [(), ("end",), ("fork",)], ids=["watching", "idle", "forked"])
@pytest.mark.parametrize("how", ["exit", "sigkill"])
def test_the_helper_ends_with_its_owner(how: str, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", OWNER, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        family = psutil.Process(owner.pid).children()
        (helper,) = [p for p in family if any("benchhydra.probes.helper" in word for word in p.cmdline())]
        if how == "sigkill":
            owner.kill()
        owner.communicate(timeout=60)
        if how == "exit":
            assert not helper.is_running()
        _, alive = psutil.wait_procs([helper], timeout=60)
        for process in {*family, *alive}:
            if process.is_running():
                process.kill()
        assert alive == []


class FullDisk(SpilledSamples):
    def write(self, data: bytes) -> int:
        raise OSError(28, "No space left on device")


class ShortWrites(io.FileIO):
    """A file on a disk that has become full: it takes a part of what is written, and raises no error."""

    def write(self, data: Any) -> int:
        return super().write(data[:-5])


class AlmostFullDisk(SpilledSamples):
    def __init__(self) -> None:
        super().__init__()
        self._file = ShortWrites(os.memfd_create("samples"), "r+")


@pytest.mark.parametrize("spilled", [SpilledSamples, FullDisk, AlmostFullDisk])
def test_samples_that_went_to_a_file_come_back_in_their_order(spilled: type[SpilledSamples]) -> None:
    files = spilled()
    columns = [SampleColumn(Sample(name, "W", 0.0, {"gpu": name}), files) for name in "ab"]
    count = 2 * CHUNK + 7
    for k in range(count):
        for sign, column in zip((1, -1), columns, strict=True):
            column.append(1000 + k, sign * k)
    for sign, column in zip((1, -1), columns, strict=True):
        head, data = column.encode()
        assert head == {"name": column.name, "unit": "W", "labels": {"gpu": column.name}, "count": count}
        assert np.frombuffer(data[: 8 * count], np.int64).tolist() == list(range(1000, 1000 + count))
        assert np.frombuffer(data[8 * count :], np.float64).tolist() == [sign * k for k in range(count)]
    files.close()
