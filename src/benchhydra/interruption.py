"""Which signal asked this process to stop, whoever handles it, and how programs that we start are told of it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence

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
