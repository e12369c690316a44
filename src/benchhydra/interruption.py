"""SIGINT and SIGTERM: turn them into exceptions or callbacks, and interrupt the programs that this process runs."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

_last = signal.SIGINT
_raised = False


class Terminated(KeyboardInterrupt):
    """SIGTERM. A KeyboardInterrupt, so that servers are stopped and results written as after Ctrl-C."""


def remember_signal(number: int) -> None:
    """Record ``number`` as the signal that was handled last."""
    global _last
    _last = signal.Signals(number)


def interrupt_exception() -> KeyboardInterrupt:
    """Return the exception to raise for the signal that was handled last."""
    return Terminated() if _last == signal.SIGTERM else KeyboardInterrupt()


def unwind(number: int) -> NoReturn:
    """Raise the signal's exception; call it in the handler, so that every ``finally`` block cleans up."""
    global _raised
    remember_signal(number)
    _raised = True
    raise interrupt_exception()


def forget_signals() -> None:
    """Forget earlier signals, because a new program starts in this process."""
    global _raised
    _raised = False


def reraise_swallowed() -> None:
    """Raise the signal's exception again if ``unwind`` has raised it before.

    Call it after another error: it may have masked the interruption. In OmegaConf and elsewhere, a signal that arrives
    while an object is half built makes the cleanup fail, and that error replaces the interruption.
    """
    if _raised and threading.current_thread() is threading.main_thread():
        raise interrupt_exception()


@contextmanager
def reraising_interrupts() -> Iterator[None]:
    """Re-raise the interruption if an error in the block masked it."""
    try:
        yield
    except Exception:
        reraise_swallowed()
        raise


@contextmanager
def stop_on_signal(stop: Callable[[], object]) -> Iterator[list[int]]:
    """Call ``stop`` at the first SIGINT or SIGTERM, and raise KeyboardInterrupt at the second one.

    Yields a list to which the first signal is appended. Check it after the block: a signal may arrive after the work
    has ended, and must not be lost. The handlers are restored afterwards. Does nothing outside the main thread.
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


def run_program(
    words: Sequence[str], *, stdout: int | None = None, stderr: int | None = None, cwd: Path | None = None
) -> int:
    """Run a program in a process group of its own, in the directory ``cwd``, and return its exit code.

    After SIGINT or SIGTERM, send the program one SIGINT, wait for its exit, and re-raise. stdout, stderr: file
    descriptors for its output.
    """
    with subprocess.Popen(
        words, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, cwd=cwd, process_group=0
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # SIGTERM too
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
