"""Results that wait to be logged: a helper process logs them while servers start and stop, never during a measurement.

Importing MLflow and creating its store take seconds, and each point a quarter of one: time that a sweep has while it
waits for a server. What waits is safe in ``result.json``; ``sweep.resume`` logs what a crash kept from being logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchhydra.result import Result
from benchhydra.tracking import Tracking
from benchhydra.tracking.outbox.orders import Order, OrderQueue, order_text
from benchhydra.tracking.outbox.worker import Worker

#: A result waits no longer than this for a server to start: then it is logged before the next point.
PATIENCE_S = 60.0
#: Time to log what waits after an interruption.
GRACE_S = 10.0


class Outbox:
    """What waits to be logged. Leaving it as a context logs the rest.

    One thread adds orders; between ``begin`` and ``rest`` a background thread carries them out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queue = OrderQueue()
        self._worker = Worker(self._queue, clock)
        self._prepared: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.flush(None if kind is None else GRACE_S)
        finally:
            self._worker.close()

    def __len__(self) -> int:
        """How many results wait."""
        return self._queue.results()

    def expect(self, tracking: Tracking) -> None:
        """Results for this tracker will come: prepare it while the next server starts."""
        text = order_text(tracking, "prepare") if tracking.slow else None
        if text is not None and text not in self._prepared:
            self._prepared.add(text)
            self._add(text)

    def log(self, tracking: Tracking, result: Result, directory: Path) -> None:
        """Log a point whose files lie in ``directory``: at once with a quick tracker, else when there is time."""
        if not tracking.slow:
            tracking.log(result, directory)
            return
        oldest = self._queue.first()
        self._add(order_text(tracking, "log", directory=str(directory.absolute())), directory)
        if oldest is not None and self._clock() - oldest.since_s > PATIENCE_S:
            self.flush()

    def log_repeats(self, tracking: Tracking, repeated: Mapping[str, Any], directories: Sequence[Path]) -> None:
        """Log the summary of a point's repeats, after everything that waits."""
        if not tracking.slow:
            tracking.log_repeats(repeated, directories)
            return
        paths = [str(directory.absolute()) for directory in directories]
        self._add(order_text(tracking, "repeats", repeated=repeated, directories=paths))

    def catch_up(self, tracking: Tracking, directory: Path) -> None:
        """Log a result of an earlier process that ended before it was logged."""
        if tracking.slow and not tracking.logged(directory):
            self._add(order_text(tracking, "log", directory=str(directory.absolute())), directory)

    def begin(self) -> None:
        """Log what waits, in the background: nothing is measured until ``rest``."""
        self._worker.start()

    def rest(self) -> None:
        """Finish the order that is being carried out, and let the others wait: a measurement begins."""
        self._worker.pause()

    def flush(self, limit_s: float | None = None) -> None:
        """Log everything that waits, or the results that can be logged in ``limit_s`` seconds."""
        self._worker.drain(limit_s)

    def _add(self, text: str, directory: Path | None = None) -> None:
        self._queue.add(Order(text=text, since_s=self._clock(), directory=directory))
