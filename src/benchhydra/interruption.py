"""Which signal asked this process to stop, whoever handles it, and how programs that we start are told of it."""

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
    """SIGTERM: unwinds like Ctrl-C, so that servers are stopped and results kept."""


def remember_signal(number: int) -> None:
    """Remember the signal that was handled last."""
    global _last
    _last = signal.Signals(number)


def interrupt_exception() -> KeyboardInterrupt:
    """What to raise for the signal that was handled last."""
    return Terminated() if _last == signal.SIGTERM else KeyboardInterrupt()


def unwind(number: int) -> NoReturn:
    """What a signal's handler does at its end: raise, so that everything is put away on the way out."""
    global _raised
    remember_signal(number)
    _raised = True
    raise interrupt_exception()


def forget_signals() -> None:
    """A program begins: nothing has been asked of it."""
    global _raised
    _raised = False


def reraise_swallowed() -> None:
    """Raise again what a signal has raised, where it was swallowed on its way.

    OmegaConf and others do that: the signal comes while they hold something half made, putting that away fails, and
    the error of this takes the interruption's place.
    """
    if _raised and threading.current_thread() is threading.main_thread():
        raise interrupt_exception()


@contextmanager
def reraising_interrupts() -> Iterator[None]:
    """Let no error out that has taken an interruption's place."""
    try:
        yield
    except Exception:
        reraise_swallowed()
        raise


@contextmanager
def stop_on_signal(stop: Callable[[], object]) -> Iterator[list[int]]:
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
        remember_signal(number)
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


def run_program(words: Sequence[str], *, stdout: int | None = None) -> int:
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
