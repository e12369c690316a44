"""The consumer of an outbox's orders: in the background while nothing is measured, or at once when they are flushed."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Callable, Sequence

from benchhydra.tracking.outbox.logging_process import NO_TIME, LoggingProcess
from benchhydra.tracking.outbox.orders import Order, OrderQueue

#: Logging more results than this takes long enough to announce it.
FEW = 10


class Worker:
    """Has the logging process carry out the orders of a queue, one thread at a time.

    The thread that consumes holds a lock, and nothing depends on whether that thread is known to run: an interrupted
    ``Thread.join`` (before Python 3.13) marks a running thread as ended.
    """

    def __init__(self, queue: OrderQueue, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._clock = clock
        self._process: LoggingProcess | None = None
        self._consuming = threading.Lock()
        self._paused = threading.Event()
        self._deadline_s: float | None = None

    def start(self) -> None:
        """Carry out orders in the background until ``pause``."""
        self._paused.clear()
        if self._queue:
            threading.Thread(target=self._consume, args=(self._paused.is_set,), daemon=True).start()

    def pause(self) -> None:
        """Wait for the order that is being carried out; the others wait."""
        self._paused.set()
        with self._consuming:
            return

    def drain(self, limit_s: float | None) -> None:
        """Carry out all orders, or those that log results and can be carried out in ``limit_s`` seconds."""
        self._deadline_s = None if limit_s is None else self._clock() + limit_s
        self.pause()
        results = self._queue.results()
        if limit_s is not None and not results:
            return  # there is no result left for which to prepare a tracker
        if results > FEW:
            sys.stderr.write(f"logging {results} results\n")
        self._consume(self._late)

    def close(self) -> None:
        """Report the results that are not logged, and end the logging process."""
        with self._consuming:
            _report_lost(self._queue.remove_all(), NO_TIME)
            if self._process is not None:
                self._process.close()
                self._process = None

    def _late(self) -> bool:
        return self._deadline_s is not None and self._clock() > self._deadline_s

    def _consume(self, stopped: Callable[[], bool]) -> None:
        with self._consuming:
            while (order := self._queue.first()) and not stopped():
                try:
                    self._process = self._process or LoggingProcess()
                    self._process.carry_out(order.text, self._late)
                except OSError as error:
                    self._process = None
                    _report_lost([order], str(error))
                self._queue.remove_first()  # after an interruption it is still there: the tracker logs it only once


def _report_lost(orders: Sequence[Order], reason: str) -> None:
    directories = [str(order.directory) for order in orders if order.directory is not None]
    if not directories:
        return
    results = "a result is" if len(directories) == 1 else f"{len(directories)} results are"
    command = f"benchhydra log {shlex.quote(os.path.commonpath(directories))}"
    sys.stderr.write(f"{results} not logged ({reason}), but safe; log later: {command}\n")
