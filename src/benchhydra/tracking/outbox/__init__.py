"""The queue of results to log: a helper process logs them while servers start and stop, never during a measurement.

Importing MLflow and creating its store take seconds, and each point takes 0.25 s: a sweep has this time while it waits
for a server. Queued results are already stored in ``result.json``; after a crash, ``sweep.resume`` logs the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchhydra.artifacts import RESULT_FILE, read_json_or_none
from benchhydra.result import Result
from benchhydra.tracking import Tracking
from benchhydra.tracking.outbox.orders import Order, OrderQueue, order_text
from benchhydra.tracking.outbox.worker import Worker

#: The longest time that a result waits for a server start; after it, the queue is logged before the next point.
PATIENCE_S = 60.0
#: Time to log queued results after an interrupt.
GRACE_S = 10.0


class Outbox:
    """The queue of results to log. Leaving its context logs all of them, after an error only for ``GRACE_S``.

    One thread adds orders; between ``begin`` and ``rest`` a background thread has the helper process carry them out.
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
        """The number of results in the queue."""
        return self._queue.results()

    def expect(self, tracking: Tracking) -> None:
        """Announce results for this tracker, so that it is prepared while the next server starts."""
        text = order_text(tracking, "prepare") if tracking.slow else None
        if text is not None and text not in self._prepared:
            self._prepared.add(text)
            self._queue.add(Order(text=text, since_s=self._clock(), preparation=True))

    def log(self, tracking: Tracking, result: Result, directory: Path) -> None:
        """Log the point in ``directory``: at once if the tracker is quick, else while nothing is measured."""
        if not tracking.slow:
            tracking.log(result, directory)
            return
        oldest = self._queue.first()
        self._add_result(tracking, directory, result.sweep_id)
        if oldest is not None and self._clock() - oldest.since_s > PATIENCE_S:
            self.flush()

    def log_repeats(self, tracking: Tracking, repeated: Mapping[str, Any], directories: Sequence[Path]) -> None:
        """Log the summary of a point's repeats, after the results in the queue."""
        if not tracking.slow:
            tracking.log_repeats(repeated, directories)
            return
        paths = [str(directory.absolute()) for directory in directories]
        self._add(order_text(tracking, "repeats", repeated=repeated, directories=paths))

    def log_answer(
        self, tracking: Tracking, sweep_id: str, answer: Mapping[str, Any], directories: Sequence[Path]
    ) -> None:
        """Log the answer of a search, after the results in the queue."""
        if not tracking.slow:
            tracking.log_answer(sweep_id, answer, directories)
            return
        paths = [str(directory.absolute()) for directory in directories]
        self._add(order_text(tracking, "answer", sweep_id=sweep_id, answer=answer, directories=paths))

    def catch_up(self, tracking: Tracking, directory: Path) -> None:
        """Log a result of an earlier process if that ended before logging it, and the curves of its sweep."""
        if not tracking.slow:
            return
        sweep_id = (read_json_or_none(directory / RESULT_FILE) or {}).get("sweep_id")
        if not tracking.logged(directory):
            self._add_result(tracking, directory, sweep_id)
        else:
            self._add_curves(tracking, directory, sweep_id)

    def begin(self) -> None:
        """Start to log the queue in the background. The caller must not measure before it calls ``rest``."""
        self._worker.start()

    def rest(self) -> None:
        """Stop logging before a measurement: returns when the current order is finished."""
        self._worker.pause()

    def flush(self, limit_s: float | None = None) -> None:
        """Log the whole queue, or as many results as possible within ``limit_s`` seconds."""
        self._worker.drain(limit_s)

    def _add_result(self, tracking: Tracking, directory: Path, sweep_id: str | None) -> None:
        self._add(order_text(tracking, "log", directory=str(directory.absolute())), directory)
        self._add_curves(tracking, directory, sweep_id)

    def _add_curves(self, tracking: Tracking, directory: Path, sweep_id: str | None) -> None:
        """Add an order for the curves of a point's sweep. Of equal orders only the last one is carried out."""
        if sweep_id:
            sweep_dir = str(directory.absolute().parent)
            self._add(order_text(tracking, "curves", sweep_id=sweep_id, directory=sweep_dir))

    def _add(self, text: str, directory: Path | None = None) -> None:
        self._queue.add(Order(text=text, since_s=self._clock(), directory=directory))
