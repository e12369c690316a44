"""SIGINT and SIGTERM: which of them asked this process to stop, and how the programs that it runs are interrupted."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_last = signal.SIGINT
_raised = False


class Terminated(KeyboardInterrupt):
    """SIGTERM: raised as KeyboardInterrupt is by Ctrl-C, so that servers are stopped and results kept."""


def remember_signal(number: int) -> None:
    """Remember the signal that was handled last."""
    global _last
    _last = signal.Signals(number)


def interrupt_exception() -> KeyboardInterrupt:
    """What to raise for the signal that was handled last."""
    return Terminated() if _last == signal.SIGTERM else KeyboardInterrupt()


def unwind(number: int) -> NoReturn:
    """Raise the signal's exception from its handler, so that every ``finally`` on the way out cleans up."""
    global _raised
    remember_signal(number)
    _raised = True
    raise interrupt_exception()


def forget_signals() -> None:
    """Forget earlier signals: a new program begins in this process."""
    global _raised
    _raised = False


def reraise_swallowed() -> None:
    """Raise a signal's exception again where an error has masked it.

    This happens in OmegaConf and elsewhere: the signal arrives while an object is half built, cleaning up fails, and
    that error replaces the interruption.
    """
    if _raised and threading.current_thread() is threading.main_thread():
        raise interrupt_exception()


@contextmanager
def reraising_interrupts() -> Iterator[None]:
    """Re-raise the interruption if an error masked it."""
    try:
        yield
    except Exception:
        reraise_swallowed()
        raise


@contextmanager
def stop_on_signal(stop: Callable[[], object]) -> Iterator[list[int]]:
    """The first SIGINT or SIGTERM calls ``stop``, and is appended to the list that this yields; a second one raises
    KeyboardInterrupt. The handlers are restored afterwards.

    Check the list at the end: a signal may arrive when nothing is left to stop, and must not be lost.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    names = (signal.SIGINT, signal.SIGTERM)

    def on_first_signal(number: int, frame: FrameType | None) -> None:
        remember_signal(number)
        received.append(number)
        for name in names:
            signal.signal(name, signal.default_int_handler)
        stop()

    handlers = {name: signal.signal(name, on_first_signal) for name in names}
    try:
        yield received
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler if handler is not None else signal.SIG_DFL)


def run_program(words: Sequence[str], *, stdout: int | None = None) -> int:
    """Run a program in a process group of its own: we interrupt it, once, and it ends before we do.

    stdout: a file descriptor for its output. Returns its exit code.
    """
    with subprocess.Popen(words, stdout=stdout, stdin=subprocess.DEVNULL, process_group=0) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # SIGTERM too
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
