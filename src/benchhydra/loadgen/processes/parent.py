"""Several client processes on this machine: started, told one common start, listened to, ended."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import IO, Protocol

import msgspec

from benchhydra.interruption import stop_on_signal
from benchhydra.loadgen.processes.child import frame
from benchhydra.loadgen.processes.serialization import pack_shard, unpack_result
from benchhydra.loadgen.shards import Shard, ShardProgress, ShardResult, lost_shard, mark_interrupted

_LEAD_NS = 20_000_000
_HEAD = 9


class ClientProcess:
    """One client process and what it has said so far."""

    def __init__(self, share: bytes) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchhydra.loadgen.processes.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal is for us alone
        )
        self.sent: ShardResult | None = None
        self.ready = self.over = False
        self._heard = bytearray()
        self.tell(frame(b"S", share))

    @property
    def out(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def tell(self, said: bytes) -> None:
        """Say something. A child that is gone is noticed where it is listened to."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(said)
            self.process.stdin.flush()
        except BrokenPipeError:
            return

    def listen(self) -> Iterator[tuple[bytes, bytes]]:
        """The frames that have come."""
        data = os.read(self.out.fileno(), 1 << 20)
        self.over = not data
        self._heard += data
        while len(self._heard) >= _HEAD:
            end = _HEAD + int.from_bytes(self._heard[1:_HEAD], "little")
            if len(self._heard) < end:
                return
            yield bytes(self._heard[:1]), bytes(self._heard[_HEAD:end])
            del self._heard[:end]

    def end(self) -> int:
        """Wait for its end, which the end of its input brings about. Returns its exit code."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def send_in_processes(
    shares: list[Shard], report: Callable[[int, ShardProgress], None]
) -> tuple[dict[int, ShardResult], tuple[str, ...]]:
    """Send each share in a process of its own.

    Returns what came, by the number of the share, and a sentence for each process that brought nothing: its requests
    are rows all the same, of which nobody knows more than when they were due.

    Raises EngineError where no process brought anything.
    """
    from benchhydra.errors import EngineError

    children = [ClientProcess(pack_shard(share)) for share in shares]
    codes: list[int] = []
    try:
        with stop_on_signal(lambda: _tell_all(children)) as asked, selectors.DefaultSelector() as selector:
            for part, child in enumerate(children):
                selector.register(child.out, selectors.EVENT_READ, part)
            _hear(children, selector, report, lambda child: child.ready)
            start_ns = monotonic_ns() + _LEAD_NS
            go = frame(b"G", b"%d" % start_ns)
            for child in children:
                child.tell(go)
            _hear(children, selector, report, lambda child: child.sent is not None)
    finally:
        codes = [child.end() for child in children]
    lost = {
        part: f"client process {part} ended with exit code {code} and brought no rows"
        for part, (child, code) in enumerate(zip(children, codes, strict=True))
        if child.sent is None
    }
    if len(lost) == len(children):
        raise EngineError("; ".join(lost.values()), hint="load.processes=1")
    sent = {
        part: child.sent or lost_shard(share, start_ns, lost[part])
        for part, (child, share) in enumerate(zip(children, shares, strict=True))
    }
    return mark_interrupted(sent, asked), tuple(lost.values())


def _hear(
    children: list[ClientProcess],
    selector: selectors.BaseSelector,
    report: Callable[[int, ShardProgress], None],
    enough: Callable[[ClientProcess], bool],
) -> None:
    """Listen until each child has said enough, or is gone."""
    while not all(child.over or enough(child) for child in children):
        for key, _ in selector.select():
            child = children[key.data]
            for kind, body in child.listen():
                take_frame(child, key.data, kind, body, report)
            if child.over:
                selector.unregister(child.out)


class ShardSender(Protocol):
    """Who sends a share, and what is known of it."""

    sent: ShardResult | None
    ready: bool


def take_frame(
    child: ShardSender, part: int, kind: bytes, body: bytes, report: Callable[[int, ShardProgress], None]
) -> None:
    """What a frame says."""
    if kind == b"R":
        child.ready = True
    elif kind == b"P":
        done, failed, ttft_sum_ns, ttft_count = msgspec.msgpack.decode(body)
        report(part, ShardProgress(done=done, failed=failed, ttft_sum_ns=ttft_sum_ns, ttft_count=ttft_count))
    elif kind == b"D":
        child.sent = unpack_result(body)


def _tell_all(children: list[ClientProcess]) -> None:
    for child in children:
        child.tell(frame(b"X"))
