"""The consumer of an outbox's queue: works in the background while nothing is measured, or at once when flushed."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Callable, Sequence

from benchhydra.tracking.outbox.logging_process import NO_TIME, LoggingProcess
from benchhydra.tracking.outbox.orders import Order, OrderQueue

#: Logging more results than this is announced, because it takes seconds.
FEW = 10


class Worker:
    """Has the logging process carry out the orders of a queue, one thread at a time.

    The consuming thread holds a lock. Others wait for that lock instead of joining the thread: before Python 3.13, an
    interrupted ``Thread.join`` marks a running thread as ended.
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
        """Stop after the current order, and wait for it."""
        self._paused.set()
        with self._consuming:
            return

    def drain(self, limit_s: float | None) -> None:
        """Carry out all orders, or as many as possible within ``limit_s`` seconds."""
        self._deadline_s = None if limit_s is None else self._clock() + limit_s
        self.pause()
        if limit_s is not None and self._queue.has_only_preparations():
            return
        results = self._queue.results()
        if results > FEW:
            sys.stderr.write(f"logging {results} results\n")
        self._consume(self._late)

    def close(self) -> None:
        """Print which results were not logged, and end the logging process."""
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
                    if self._queue.is_last_with_text(order):
                        self._process = self._process or LoggingProcess()
                        self._process.carry_out(order.text, self._late)
                except OSError as error:
                    self._process = None
                    _report_lost([order], str(error))
                self._queue.remove_first()  # an interrupted one is tried again; a tracker logs a result once


def _report_lost(orders: Sequence[Order], reason: str) -> None:
    directories = [str(order.directory) for order in orders if order.directory is not None]
    if not directories:
        return
    results = "1 result was" if len(directories) == 1 else f"{len(directories)} results were"
    command = f"benchhydra log {shlex.quote(os.path.commonpath(directories))}"
    sys.stderr.write(f"{results} not logged ({reason}); result.json is complete; to log later: {command}\n")
