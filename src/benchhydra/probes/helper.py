"""The helper process: it runs the probes of a point, each in a thread of its own, beside the client.

    python -m benchhydra.probes.helper

Commands are lines of JSON on standard input, answers lines of JSON on standard output: ``import`` and ``start``, which
have no answer, ``begin`` and ``end``. The answer to ``end`` is followed by the samples: for each series its times
(int64) and its values (float64). The end of the input, or of the process that started it, ends it at once. It is niced,
and stays off the client's core where there are enough others.
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
from pathlib import Path
from typing import IO, Any

from benchhydra.probes import Probe, ProbeTarget, Sample

#: How long ``begin`` and ``end`` wait for the probes; who does not answer is left behind.
PATIENCE_S = 1.5
NICENESS = 5
#: With fewer cores, keeping off the client's core would put us on the server's.
LEAST_CORES = 3
#: How often to look on which core the client is.
PLACEMENT_INTERVAL_S = 1.0
_CORE = 36  # field of /proc/PID/task/TID/stat after the name


class SampleColumn:
    """The samples of one series."""

    def __init__(self, sample: Sample) -> None:
        self.name = sample.name
        self.unit = sample.unit
        self.labels = dict(sample.labels)
        self.times_ns = array("q")
        self.values = array("d")

    def encode(self) -> tuple[dict[str, Any], bytes]:
        """Its description, and its times and values as bytes. A thread that hangs may wake and write at any moment."""
        count = min(len(self.times_ns), len(self.values))
        head = {"name": self.name, "unit": self.unit, "labels": self.labels, "count": count}
        return head, self.times_ns[:count].tobytes() + self.values[:count].tobytes()


class ProbeRunner:
    """One probe, from its start to its facts, in a thread of its own: one that hangs does not stop the others."""

    def __init__(self, description: dict[str, Any], target: ProbeTarget, interval_s: float) -> None:
        self.name: str = description["name"]
        self.columns: dict[tuple[Any, ...], SampleColumn] = {}
        self.facts: dict[str, Any] = {}
        self.error: str | None = None
        self.begun, self.done = threading.Event(), threading.Event()
        self._description = description
        self._target = target
        self._interval_s = interval_s
        self._units: dict[str, str] = {}  # by name of the series
        self._begin, self._end = threading.Event(), threading.Event()
        self.abandoned = False
        threading.Thread(target=self._run, daemon=True, name=self.name).start()

    def begin(self) -> None:
        """Take the first sample, and from then on one each interval."""
        self._begin.set()

    def end(self) -> None:
        """Take the last sample, and find out the facts."""
        self._end.set()

    def abandon(self, error: str) -> None:
        """Take no further sample: the probe is too late, or nobody wants to know any more."""
        self.error = self.error or error
        self.abandoned = True
        self._begin.set()
        self._end.set()

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
        for sample in samples:
            if not self.abandoned and math.isfinite(sample.value):
                column = self._column(sample)
                column.times_ns.append(time_ns)
                column.values.append(sample.value)

    def _column(self, sample: Sample) -> SampleColumn:
        unit = self._units.setdefault(sample.name, sample.unit)
        if unit != sample.unit:
            raise ValueError(f"series {sample.name} has two units: {unit} and {sample.unit}")
        key = (sample.name, *sorted(sample.labels.items()))
        if key not in self.columns:
            self.columns[key] = SampleColumn(sample)
        return self.columns[key]


class Placement:
    """Keeps this process off the core on which the client's thread runs."""

    def __init__(self) -> None:
        self._allowed = os.sched_getaffinity(0)
        self._avoided: int | None = None

    def update(self, target: ProbeTarget | None) -> None:
        """Look where the client is. Threads that start later inherit the main thread's cores."""
        if target is None or target.client_thread is None or len(self._allowed) < LEAST_CORES:
            return
        with contextlib.suppress(OSError, ValueError):  # the client, or one of our threads, has just ended
            core = _core_of(target.client_pid, target.client_thread)
            if core != self._avoided:
                self._avoided = core
                for thread in os.scandir("/proc/self/task"):
                    os.sched_setaffinity(int(thread.name), self._allowed - {core})


class PointProbes:
    """The probes of the point that is measured now."""

    def __init__(self) -> None:
        self.target: ProbeTarget | None = None
        self._runners: list[ProbeRunner] = []

    def start(self, command: dict[str, Any]) -> None:
        """Start the probes of another point; those of the point before it are abandoned."""
        self.drop()
        self.target = ProbeTarget(**{**command["target"], "gpus": tuple(command["target"]["gpus"])})
        self._runners = [ProbeRunner(probe, self.target, command["interval_s"]) for probe in command["probes"]]

    def begin(self) -> None:
        """Return when each probe has its first sample; one that is late is switched off."""
        for runner in self._runners:
            runner.begin()
        for runner in _not_set_in_time([(runner, runner.begun) for runner in self._runners]):
            runner.abandon(f"it was not ready within {PATIENCE_S:g} s")

    def end(self) -> tuple[dict[str, Any], list[bytes]]:
        """What each probe has found: the document, and the samples of the series in its order."""
        for runner in self._runners:
            runner.end()
        for runner in _not_set_in_time([(runner, runner.done) for runner in self._runners if not runner.abandoned]):
            runner.abandon(f"it did not answer within {PATIENCE_S:g} s after the load")
        documents, samples = [], []
        for runner in self._runners:
            series = [column.encode() for column in list(runner.columns.values())]
            documents.append({"name": runner.name, **_findings(runner), "series": [head for head, _ in series]})
            samples += [values for _, values in series]
        self.drop()
        return {"probes": documents}, samples

    def drop(self) -> None:
        """Forget the point."""
        for runner in self._runners:
            runner.abandon("its point has ended")
        self.target, self._runners = None, []


def _not_set_in_time(events: list[tuple[ProbeRunner, threading.Event]]) -> list[ProbeRunner]:
    """The runners whose event is not set within ``PATIENCE_S``; all are waited for together."""
    deadline_s = time.monotonic() + PATIENCE_S
    return [runner for runner, event in events if not event.wait(max(0.0, deadline_s - time.monotonic()))]


def _findings(runner: ProbeRunner) -> dict[str, Any]:
    """Facts and the error of a probe; facts that are no plain data are an error."""
    try:
        json.dumps(runner.facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        return {"facts": {}, "error": f"its facts are not plain data: {error}", "stuck": False}
    return {"facts": runner.facts, "error": runner.error, "stuck": not runner.done.is_set()}


def _core_of(pid: int, thread: int) -> int:
    text = Path(f"/proc/{pid}/task/{thread}/stat").read_text(encoding="utf-8", errors="replace")
    return int(text[text.rindex(")") + 2 :].split()[_CORE])


def _commands(probes: PointProbes) -> Iterator[dict[str, Any]]:
    """The commands as they come. Every now and then in between, look where the client is."""
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
    """Import modules of probes before they are needed. Whatever one raises is said when its probe is started."""
    for module in modules:
        with contextlib.suppress(BaseException):
            importlib.import_module(module)


def _end_with(parent: int) -> None:
    """End this process when its parent has ended: a forked child of that may hold the pipe's other end open."""
    with contextlib.suppress(OSError):  # no such process any more, or a kernel without pidfd
        poll = select.poll()
        poll.register(os.pidfd_open(parent), select.POLLIN)
        poll.poll()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main() -> None:
    """Obey commands until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a probe prints is no answer
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
    os._exit(0)  # threads that hang are not waited for


def _answer(answers: IO[bytes], document: dict[str, Any], samples: list[bytes]) -> None:
    answers.write(json.dumps(document).encode() + b"\n")
    answers.writelines(samples)
    answers.flush()


if __name__ == "__main__":
    main()
