"""Several client processes on this machine: starts them, gives them a common start time, reads results, ends them."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import IO

from benchhydra.errors import EngineError
from benchhydra.interruption import stop_on_signal
from benchhydra.loadgen.processes.frames import GO, SHARD, STOP, apply_frame, frame, take_frames
from benchhydra.loadgen.processes.serialization import pack_shard
from benchhydra.loadgen.shards import Shard, ShardProgress, ShardResult, lost_shard, mark_interrupted

#: Time from sending GO to the start of the schedule.
_LEAD_NS = 20_000_000
_EXIT_TIMEOUT_S = 10.0


class ClientProcess:
    """One client process and what it has reported so far. ``output_closed``: it has closed its standard output."""

    def __init__(self, shard: bytes) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchhydra.loadgen.processes.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C in the terminal must only reach the parent
        )
        self.result: ShardResult | None = None
        self.ready = self.output_closed = False
        self._received = bytearray()
        self.write(frame(SHARD, shard))

    @property
    def output(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def write(self, data: bytes) -> None:
        """Send it a frame. A broken pipe is ignored: ``read_frames`` detects that the process has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            return

    def read_frames(self) -> Iterator[tuple[bytes, bytes]]:
        """Wait for output, and return the complete frames: their kinds and bodies."""
        data = os.read(self.output.fileno(), 1 << 20)
        self.output_closed = not data
        self._received += data
        return take_frames(self._received)

    def end(self) -> int:
        """Close its input, which makes it exit, wait (or kill it), and return its exit code."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        try:
            return self.process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def send_in_processes(
    shards: list[Shard], report: Callable[[int, ShardProgress], None]
) -> tuple[dict[int, ShardResult], tuple[str, ...]]:
    """Send each shard in a process of its own.

    Returns the results by shard number, and a sentence for each process that returned none; all requests of such a
    process are recorded as CANCELLED, with only their scheduled time. Raises EngineError if no process returned one.
    """
    children = [ClientProcess(pack_shard(shard)) for shard in shards]
    exit_codes: list[int] = []
    try:
        with stop_on_signal(lambda: _write_to_all(children, frame(STOP))) as signals:
            start_ns = _send(children, report)
    finally:
        exit_codes = [child.end() for child in children]
    lost = {
        part: f"client process {part} ended with exit code {code} and returned no rows"
        for part, (child, code) in enumerate(zip(children, exit_codes, strict=True))
        if child.result is None
    }
    if len(lost) == len(children):
        raise EngineError("; ".join(lost.values()), hint="load.processes=1")
    results = {
        part: child.result or lost_shard(shard, start_ns, lost[part])
        for part, (child, shard) in enumerate(zip(children, shards, strict=True))
    }
    return mark_interrupted(results, signals), tuple(lost.values())


def _send(children: list[ClientProcess], report: Callable[[int, ShardProgress], None]) -> int:
    """Send the load; wait until each process has returned its result or ended. Returns the start of the load in ns."""
    with selectors.DefaultSelector() as selector:
        for part, child in enumerate(children):
            selector.register(child.output, selectors.EVENT_READ, part)
        _read_until(children, selector, report, lambda child: child.ready)
        start_ns = monotonic_ns() + _LEAD_NS
        _write_to_all(children, frame(GO, b"%d" % start_ns))
        _read_until(children, selector, report, lambda child: child.result is not None)
    return start_ns


def _read_until(
    children: list[ClientProcess],
    selector: selectors.BaseSelector,
    report: Callable[[int, ShardProgress], None],
    reached: Callable[[ClientProcess], bool],
) -> None:
    """Read the processes' output until each has reached a state, or has closed its output."""
    while not all(child.output_closed or reached(child) for child in children):
        for key, _ in selector.select():
            child = children[key.data]
            for kind, body in child.read_frames():
                apply_frame(child, key.data, kind, body, report)
            if child.output_closed:
                selector.unregister(child.output)


def _write_to_all(children: list[ClientProcess], data: bytes) -> None:
    for child in children:
        child.write(data)
