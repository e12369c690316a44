"""Results that wait to be logged: a helper process logs them while servers start and stop, never during a measurement.

Importing MLflow and making its store take seconds, and each point a quarter of one: time that a sweep has while it
waits for a server. What waits is safe in ``result.json``; what a crash keeps from being logged, ``sweep.resume`` logs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchhydra.registry import option_name
from benchhydra.result import Result
from benchhydra.tracking import Tracking

#: A result waits no longer than this for a server to start: then it is logged before the next point.
PATIENCE_S = 60.0
#: After an interruption, what waits is logged for so long.
LAST_S = 10.0
#: Logging more than this takes long enough to be told of.
FEW = 10
#: One that takes longer is given up: a store that is being made by others is waited for, and servers have short limits.
ANSWER_TIMEOUT_S = 300.0
#: How often one who waits for an answer looks whether it has become too late for it.
LOOK_S = 0.25
NO_TIME = "there was no time"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Order:
    """Something to be done by the helper, since when it waits, and the result that it is about."""

    text: str
    since_s: float
    directory: Path | None = None


class Outbox:
    """What waits to be logged. Leaving it as a context logs the rest.

    One thread puts in; between ``begin`` and ``rest`` a thread of its own takes out. Who takes out holds a lock, and
    nothing depends on what that thread is known to be: an interrupted ``Thread.join`` (before Python 3.13) takes a
    thread that works for one that has ended.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: deque[_Order] = deque()
        self._prepared: set[str] = set()
        self._helper: _Helper | None = None
        self._taking_out = threading.Lock()
        self._resting = threading.Event()
        self._until_s: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.flush(None if kind is None else LAST_S)
        finally:
            with self._taking_out:
                self._give_up()
                if self._helper is not None:
                    self._helper.close()
                    self._helper = None

    def __len__(self) -> int:
        return sum(order.directory is not None for order in tuple(self._waiting))

    def expect(self, tracking: Tracking) -> None:
        """Results for this tracker will come: the next server's start is time to get it ready."""
        text = _order(tracking, "prepare") if tracking.slow else None
        if text is not None and text not in self._prepared:
            self._prepared.add(text)
            self._put(text)

    def log(self, tracking: Tracking, result: Result, directory: Path) -> None:
        """Log a point whose files lie in ``directory``: at once with a quick tracker, else when there is time."""
        if not tracking.slow:
            tracking.log(result, directory)
            return
        oldest = next(iter(tuple(self._waiting)), None)
        self._put(_order(tracking, "log", directory=str(directory.absolute())), directory)
        if oldest is not None and self._clock() - oldest.since_s > PATIENCE_S:
            self.flush()

    def log_repeats(self, tracking: Tracking, repeated: Mapping[str, Any], directories: Sequence[Path]) -> None:
        """Log what several measurements of a point come to, after all that waits."""
        if not tracking.slow:
            tracking.log_repeats(repeated, directories)
            return
        paths = [str(directory.absolute()) for directory in directories]
        self._put(_order(tracking, "repeats", repeated=repeated, directories=paths))

    def catch_up(self, tracking: Tracking, directory: Path) -> None:
        """Log a result of an earlier process where that process did not live to do so."""
        if tracking.slow and not tracking.logged(directory):
            self._put(_order(tracking, "log", directory=str(directory.absolute())), directory)

    def begin(self) -> None:
        """Log what waits, in the background: nothing is measured until ``rest``."""
        self._resting.clear()
        if self._waiting:
            threading.Thread(target=self._take_out, args=(self._resting.is_set,), daemon=True).start()

    def rest(self) -> None:
        """Finish the one that is at work, and let the others wait: something is measured now."""
        self._resting.set()
        with self._taking_out:  # nobody is at work any more
            return

    def flush(self, limit_s: float | None = None) -> None:
        """Log all that waits, or the results that can be logged in ``limit_s`` seconds."""
        self._until_s = None if limit_s is None else self._clock() + limit_s
        self.rest()
        if limit_s is not None and not len(self):
            return  # getting a tracker ready is of no use any more
        if len(self) > FEW:
            sys.stderr.write(f"logging {len(self)} results\n")
        self._take_out(self._late)

    def _late(self) -> bool:
        return self._until_s is not None and self._clock() > self._until_s

    def _put(self, text: str, directory: Path | None = None) -> None:
        self._waiting.append(_Order(text=text, since_s=self._clock(), directory=directory))

    def _take_out(self, stopped: Callable[[], bool]) -> None:
        with self._taking_out:
            while self._waiting and not stopped():
                order = self._waiting[0]
                try:
                    self._helper = self._helper or _Helper()
                    self._helper.carry_out(order.text, self._late)
                except OSError as error:
                    self._helper = None
                    _say_lost([order], str(error))
                self._waiting.popleft()  # after an interruption it is still there, and is logged again: once, in effect

    def _give_up(self) -> None:
        left = list(self._waiting)
        self._waiting.clear()
        _say_lost(left, NO_TIME)


class _Helper:
    """The process that logs. Raises OSError where it cannot be started."""

    def __init__(self) -> None:
        words = [sys.executable, "-m", "benchhydra.tracking.outbox_process"]
        self._popen = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, bufsize=0
        )
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._orders, self._answers = self._popen.stdin, self._popen.stdout
        self._number = 0  # of the last order: where an interruption kept us from waiting, its answer is still to come

    def carry_out(self, order: str, late: Callable[[], bool]) -> None:
        """Have an order carried out, unless it becomes too late.

        Raises OSError where the process has ended, or does not answer in time; it is gone then.
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

    def _answer(self, late: Callable[[], bool]) -> int:
        """The number of the next order that was carried out."""
        began_s = time.monotonic()
        while not select.select([self._answers], [], [], LOOK_S)[0]:
            if late():
                raise TimeoutError(NO_TIME)
            if time.monotonic() - began_s > ANSWER_TIMEOUT_S:
                raise TimeoutError(f"no answer in {ANSWER_TIMEOUT_S:.0f} s")
        line = self._answers.readline()
        if not line:
            raise ChildProcessError(f"the process that logs ended with {self._popen.wait()}")
        return int(line)

    def close(self) -> None:
        """Let it end, with what it is at."""
        with suppress(BrokenPipeError):  # what was not written is of no use any more
            self._orders.close()
        try:
            self._popen.wait(LAST_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._answers.close()


def _order(tracking: Tracking, do: str, **more: Any) -> str:
    settings = dataclasses.asdict(tracking)
    return json.dumps({"do": do, "option": option_name(tracking), "settings": settings, **more})


def _say_lost(orders: Sequence[_Order], why: str) -> None:
    directories = [str(order.directory) for order in orders if order.directory is not None]
    if not directories:
        return
    what = "a result is" if len(directories) == 1 else f"{len(directories)} results are"
    command = f"benchhydra log {shlex.quote(os.path.commonpath(directories))}"
    sys.stderr.write(f"{what} not logged ({why}), but safe; log later: {command}\n")
