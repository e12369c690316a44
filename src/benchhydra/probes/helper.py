"""The helper process: it runs the probes of a point, each in a thread of its own, outside the client's process.

    python -m benchhydra.probes.helper

It reads commands as lines of JSON from standard input and writes answers as lines of JSON to standard output.
``import`` and ``start`` have no answer; ``begin`` and ``end`` have one. The answer to ``end`` is followed by the
samples: for each series its times (int64) and its values (float64). The process exits at once if its input or its
parent process ends. It runs at a lower priority and, if there are at least ``LEAST_CORES`` cores, avoids the client's
core.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import select
import signal
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from typing import IO, Any

from benchhydra.probes import Probe, ProbeTarget, Sample
from benchhydra.probes._processes import read_text

NICENESS = 5
#: So many samples of a series are kept in memory: those of about a minute.
CHUNK = 256
#: With fewer cores, avoiding the client's core would put the helper on the server's.
LEAST_CORES = 3
#: How often to check which core the client runs on.
PLACEMENT_INTERVAL_S = 1.0
_CORE = 36  # field of /proc/PID/task/TID/stat after the name


class SpilledSamples:
    """An unnamed file for the older samples of a probe: without it the memory grows while a load runs."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def write(self, data: bytes) -> int:
        """Append data. Returns where it begins. Raises OSError."""
        if self._file is None:
            import tempfile  # start-up time: most loads are over before the first chunk is full

            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as its probe
        begin = self._file.seek(0, os.SEEK_END)
        if self._file.write(data) != len(data):  # a disk that has become full takes a part, without an error
            raise OSError("the disk is full")
        return begin

    def read(self, begin: int, size: int) -> bytes:
        """Return ``size`` bytes from ``begin``."""
        assert self._file is not None
        self._file.seek(begin)
        return self._file.read(size)

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()


class SampleColumn:
    """The samples of one series: the newest ones in memory, and full chunks of ``CHUNK`` samples in a file."""

    def __init__(self, sample: Sample, spilled: SpilledSamples) -> None:
        self.name = sample.name
        self.unit = sample.unit
        self.labels = dict(sample.labels)
        self._times_ns = array("q")
        self._values = array("d")
        self._spilled = spilled
        self._chunks: list[int] = []  # where each begins: CHUNK times, then CHUNK values

    def append(self, time_ns: int, value: float) -> None:
        """Add a sample."""
        self._times_ns.append(time_ns)
        self._values.append(value)
        if len(self._values) >= CHUNK:
            with contextlib.suppress(OSError):  # a full disk: the samples stay in memory until it has room
                self._spill()

    def encode(self) -> tuple[dict[str, Any], bytes]:
        """Return the description of the series, and its times and values as bytes."""
        times, values = array("q"), array("d")
        for begin in self._chunks:
            data = self._spilled.read(begin, CHUNK * (times.itemsize + values.itemsize))
            times.frombytes(data[: CHUNK * times.itemsize])
            values.frombytes(data[CHUNK * times.itemsize :])
        times += self._times_ns
        values += self._values
        head = {"name": self.name, "unit": self.unit, "labels": self.labels, "count": len(values)}
        return head, times.tobytes() + values.tobytes()

    def _spill(self) -> None:
        chunk = self._times_ns[:CHUNK].tobytes() + self._values[:CHUNK].tobytes()
        self._chunks.append(self._spilled.write(chunk))
        del self._times_ns[:CHUNK], self._values[:CHUNK]


class ProbeRunner:
    """One probe, from its start to its facts, in a thread of its own: one that hangs does not stop the others."""

    def __init__(self, description: dict[str, Any], target: ProbeTarget, interval_s: float) -> None:
        self.name: str = description["name"]
        self._columns: dict[tuple[Any, ...], SampleColumn] = {}
        self._spilled = SpilledSamples()
        self._lock = threading.Lock()  # of the columns: the thread of an abandoned probe may still run
        self.facts: dict[str, Any] = {}
        self.error: str | None = None
        self.samples_taken = 0  # of each series that it had from the begin on
        self.begun, self.done = threading.Event(), threading.Event()
        self._description = description
        self._target = target
        self._interval_s = interval_s
        self._units: dict[str, str] = {}  # by series name
        self._begin, self._end = threading.Event(), threading.Event()
        self.abandoned = False
        threading.Thread(target=self._run, daemon=True, name=self.name).start()

    def begin(self) -> None:
        """Take the first sample, and then one every interval."""
        self._begin.set()

    def end(self) -> None:
        """Take the last sample, and compute the facts."""
        self._end.set()

    def abandon(self, error: str) -> None:
        """Take no further sample: the probe is too slow, or its point has ended."""
        self.error = self.error or error
        self.abandoned = True
        self._begin.set()
        self._end.set()

    def series(self) -> list[tuple[dict[str, Any], bytes]]:
        """Return the description and the samples of each series."""
        with self._lock:
            return [column.encode() for column in self._columns.values()]

    def close(self) -> None:
        """Forget the samples of an abandoned probe."""
        with self._lock:
            self._columns.clear()
            self._spilled.close()

    def _run(self) -> None:
        try:
            self._watch()
        except BaseException as error:  # noqa: BLE001 - whatever a probe raises must reach the client as a warning
            self.error = self.error or f"{type(error).__name__}: {error}"
        finally:
            self.begun.set()
            self.done.set()

    def _watch(self) -> None:
        probe = self._probe()
        if not probe.applies(self._target):
            return
        probe.start(self._target)
        self._begin.wait()
        self._sample(probe)
        self.begun.set()
        interval_s = max(self._interval_s, probe.min_interval_s)
        next_s = time.monotonic() + interval_s
        while not self._end.wait(max(0.0, next_s - time.monotonic())):
            self._sample(probe)
            interval_s = max(self._interval_s, probe.min_interval_s)
            missed = max(0.0, time.monotonic() - next_s) // interval_s
            next_s += (1 + missed) * interval_s
        self._sample(probe)
        if not self.abandoned:
            self.facts = dict(probe.stop())

    def _probe(self) -> Probe:
        module = importlib.import_module(self._description["module"])
        probe: Probe = getattr(module, self._description["class"])()
        return probe

    def _sample(self, probe: Probe) -> None:
        if self.abandoned:
            return
        begin_ns = time.monotonic_ns()
        samples = list(probe.sample())
        time_ns = (begin_ns + time.monotonic_ns()) // 2
        with self._lock:
            for sample in samples:
                if not self.abandoned and math.isfinite(sample.value):
                    self._column(sample).append(time_ns, sample.value)
        self.samples_taken += 1

    def _column(self, sample: Sample) -> SampleColumn:
        unit = self._units.setdefault(sample.name, sample.unit)
        if unit != sample.unit:
            raise ValueError(f"series {sample.name} has two units: {unit} and {sample.unit}")
        key = (sample.name, *sorted(sample.labels.items()))
        if key not in self._columns:
            self._columns[key] = SampleColumn(sample, self._spilled)
        return self._columns[key]


class Placement:
    """Keeps this process off the core on which the client's thread runs."""

    def __init__(self) -> None:
        self._allowed = os.sched_getaffinity(0)
        self._avoided: int | None = None

    def update(self, target: ProbeTarget | None) -> None:
        """Move all threads off the client's current core. Threads that start later inherit the main thread's cores."""
        if target is None or target.client_thread is None or len(self._allowed) < LEAST_CORES:
            return
        with contextlib.suppress(OSError, ValueError):  # the client, or one of our threads, has just ended
            core = _core_of(target.client_pid, target.client_thread)
            if core != self._avoided:
                self._avoided = core
                for thread in os.scandir("/proc/self/task"):
                    os.sched_setaffinity(int(thread.name), self._allowed - {core})


class PointProbes:
    """The probes of the current point."""

    def __init__(self) -> None:
        self.target: ProbeTarget | None = None
        self._runners: list[ProbeRunner] = []
        self._patience_s = 0.0

    def start(self, command: dict[str, Any]) -> None:
        """Start the probes of a new point; abandon those of the previous point."""
        self.drop()
        self.target = ProbeTarget(**{**command["target"], "gpus": tuple(command["target"]["gpus"])})
        self._runners = [ProbeRunner(probe, self.target, command["interval_s"]) for probe in command["probes"]]
        self._patience_s = command["patience_s"]

    def begin(self) -> None:
        """Wait until each probe has taken its first sample; abandon a probe that takes over ``patience_s``."""
        for runner in self._runners:
            runner.begin()
        for runner in self._not_set_in_time([(runner, runner.begun) for runner in self._runners]):
            runner.abandon(f"it was not ready within {self._patience_s:g} s")

    def end(self) -> tuple[dict[str, Any], list[bytes]]:
        """End all probes. Returns their facts, errors and series descriptions, and the samples in the same order."""
        for runner in self._runners:
            runner.end()
        running = [(runner, runner.done) for runner in self._runners if not runner.abandoned]
        for runner in self._not_set_in_time(running):
            runner.abandon(f"it did not answer within {self._patience_s:g} s after the load")
        documents, samples = [], []
        for runner in self._runners:
            series = runner.series()
            documents.append({"name": runner.name, **_findings(runner), "series": [head for head, _ in series]})
            samples += [values for _, values in series]
        self.drop()
        return {"probes": documents}, samples

    def drop(self) -> None:
        """Abandon the probes of the current point."""
        for runner in self._runners:
            runner.abandon("its point has ended")
            runner.close()
        self.target, self._runners = None, []

    def _not_set_in_time(self, events: list[tuple[ProbeRunner, threading.Event]]) -> list[ProbeRunner]:
        """Return the runners whose event is not set within ``patience_s``, one deadline for all of them."""
        deadline_s = time.monotonic() + self._patience_s
        return [runner for runner, event in events if not event.wait(max(0.0, deadline_s - time.monotonic()))]


def _findings(runner: ProbeRunner) -> dict[str, Any]:
    """Return the facts and the error of a probe; facts that JSON cannot represent are an error."""
    try:
        json.dumps(runner.facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        return {"facts": {}, "error": f"its facts are not plain data: {error}", "stuck": False}
    return {"facts": runner.facts, "error": runner.error, "stuck": not runner.done.is_set()}


def _core_of(pid: int, thread: int) -> int:
    text = read_text(f"/proc/{pid}/task/{thread}/stat")
    return int(text[text.rindex(")") + 2 :].split()[_CORE])


def _commands(probes: PointProbes) -> Iterator[dict[str, Any]]:
    """Yield commands until the input ends; between them, keep off the client's core."""
    placement, pending = Placement(), b""
    while True:
        placement.update(probes.target)
        if not select.select([0], [], [], PLACEMENT_INTERVAL_S if probes.target else None)[0]:
            continue
        data = os.read(0, 1 << 16)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        yield from map(json.loads, lines)


def _import(modules: list[str]) -> None:
    """Import probe modules ahead of time. An error is ignored here: starting the probe raises and reports it again."""
    for module in modules:
        with contextlib.suppress(BaseException):
            importlib.import_module(module)


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent process ends. Waiting for EOF is not enough: a fork of the parent may hold the pipe open."""
    with contextlib.suppress(OSError):  # the parent has already ended, or a kernel without pidfd
        poll = select.poll()
        poll.register(os.pidfd_open(parent), select.POLLIN)
        poll.poll()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main() -> None:
    """Run commands until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent handles signals and closes the input
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a probe that prints must not corrupt the answers
    probes = PointProbes()
    for command in _commands(probes):
        if command["do"] == "import":
            sys.path[:] = command["path"]
            threading.Thread(target=_import, args=(command["modules"],), daemon=True).start()
        elif command["do"] == "start":
            sys.path[:] = command["path"]
            probes.start(command)
        elif command["do"] == "begin":
            probes.begin()
            _answer(answers, {}, [])
        else:
            _answer(answers, *probes.end())
    os._exit(0)  # do not wait for threads that hang


def _answer(answers: IO[bytes], document: dict[str, Any], samples: list[bytes]) -> None:
    try:
        answers.write(json.dumps(document).encode() + b"\n")
        answers.writelines(samples)
        answers.flush()
    except BrokenPipeError:  # the parent was killed
        os._exit(1)


if __name__ == "__main__":
    main()
