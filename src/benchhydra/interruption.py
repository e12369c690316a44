"""Which signal asked this process to stop: signals are the process's, whoever handles them at the moment."""

from __future__ import annotations

import signal

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
