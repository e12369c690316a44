"""Which signal asked this process to stop, whoever handles it, and how programs that we start are told of it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_last = signal.SIGINT


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds like Ctrl-C, so that servers are stopped and results kept."""


def note(number: int) -> None:
    """Remember the signal that was handled last."""
    global _last
    _last = signal.Signals(number)


def exception() -> KeyboardInterrupt:
    """What to raise for the signal that was handled last."""
    return Terminated() if _last == signal.SIGTERM else KeyboardInterrupt()


@contextmanager
def stopping(stop: Callable[[], object]) -> Iterator[list[int]]:
    """The first SIGINT or SIGTERM calls ``stop``, and is in the list that this gives; a second one raises
    KeyboardInterrupt. The handlers of before come back afterwards.

    Look at the list at the end: a signal may come when there is nothing left to stop, and must not be lost.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    names = (signal.SIGINT, signal.SIGTERM)

    def first(number: int, at: FrameType | None) -> None:
        note(number)
        asked.append(number)
        for name in names:
            signal.signal(name, signal.default_int_handler)
        stop()

    before = {name: signal.signal(name, first) for name in names}
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler if handler is not None else signal.SIG_DFL)


def start(words: Sequence[str], *, stdout: int | None = None) -> int:
    """Run a program in a process group of its own: it is interrupted by us, once, and ends before we do.

    stdout: a file descriptor for its output. Returns its exit code.
    """
    with subprocess.Popen(words, stdout=stdout, stdin=subprocess.DEVNULL, process_group=0) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # SIGTERM too
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
