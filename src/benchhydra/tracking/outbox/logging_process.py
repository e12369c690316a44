"""The process that logs, as seen from the sweep: numbered orders go to it, and the number of each comes back."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

#: An order that takes longer is given up. Creating a store may wait for other processes; servers have short limits.
ANSWER_TIMEOUT_S = 300.0
#: How often the deadline is checked while an answer is awaited.
POLL_S = 0.25
#: Time for the process to end by itself.
END_TIMEOUT_S = 10.0
NO_TIME = "there was no time"


class LoggingProcess:
    """The process that logs. Raises OSError where it cannot be started."""

    def __init__(self) -> None:
        words = [sys.executable, "-m", "benchhydra.tracking.outbox.logging_program"]
        self._popen = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, bufsize=0
        )
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._orders, self._answers = self._popen.stdin, self._popen.stdout
        self._number = 0  # of the last order: after an interruption its answer may still be on its way

    def carry_out(self, order: str, late: Callable[[], bool]) -> None:
        """Have an order carried out, unless ``late`` becomes true.

        Raises OSError where the process has ended, or does not answer in time; it is killed then.
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
        """Let the process finish its order and end."""
        with suppress(BrokenPipeError):  # orders that were not read are lost with the process
            self._orders.close()
        try:
            self._popen.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._answers.close()

    def _answer(self, late: Callable[[], bool]) -> int:
        """The number of the next order that was carried out."""
        start_s = time.monotonic()
        while not select.select([self._answers], [], [], POLL_S)[0]:
            if late():
                raise TimeoutError(NO_TIME)
            if time.monotonic() - start_s > ANSWER_TIMEOUT_S:
                raise TimeoutError(f"no answer in {ANSWER_TIMEOUT_S:.0f} s")
        line = self._answers.readline()
        if not line:
            raise ChildProcessError(f"the process that logs ended with {self._popen.wait()}")
        return int(line)
