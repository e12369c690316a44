"""The sweep's side of the logging process: sends it numbered orders, and reads the number of each finished order."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

#: The longest time for one order. Creating a store may wait for other processes; requests to servers time out earlier.
ANSWER_TIMEOUT_S = 300.0
#: Interval of checking the deadline while waiting for an answer.
POLL_S = 0.25
#: Time for the process to exit by itself before it is killed.
END_TIMEOUT_S = 10.0
NO_TIME = "out of time"


class LoggingProcess:
    """The running process. Creating it raises OSError if the process cannot be started."""

    def __init__(self) -> None:
        words = [sys.executable, "-m", "benchhydra.tracking.outbox.logging_program"]
        self._popen = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0, bufsize=0)
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._orders, self._answers = self._popen.stdin, self._popen.stdout
        self._number = 0  # of the last order; after an interrupt, the answer to an earlier one may still arrive

    def carry_out(self, order: str, late: Callable[[], bool]) -> None:
        """Send an order and wait until it is carried out.

        Kills the process and raises OSError if it has exited, exceeds ``ANSWER_TIMEOUT_S``, or ``late`` becomes true.
        """
        self._number += 1
        try:
            self._orders.write(f"{self._number} {order}\n".encode())
            while self._answer(late) != self._number:
                continue
        except OSError:
            self._popen.kill()
            self.close()
            raise

    def close(self) -> None:
        """Wait until the process has finished its order and exited; kill it after ``END_TIMEOUT_S``."""
        with suppress(BrokenPipeError):  # the process has exited without reading all orders
            self._orders.close()
        try:
            self._popen.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._answers.close()

    def _answer(self, late: Callable[[], bool]) -> int:
        """Wait for the number of the next finished order. Raises OSError."""
        start_s = time.monotonic()
        while not select.select([self._answers], [], [], POLL_S)[0]:
            if late():
                raise TimeoutError(NO_TIME)
            if time.monotonic() - start_s > ANSWER_TIMEOUT_S:
                raise TimeoutError(f"no answer in {ANSWER_TIMEOUT_S:.0f} s")
        line = self._answers.readline()
        if not line:
            raise ChildProcessError(f"the logging process exited with code {self._popen.wait()}")
        return int(line)
