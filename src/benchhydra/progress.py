"""Progress of long work on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TextIO

from benchhydra.escaping import printable_lines
from benchhydra.verbosity import Verbosity, verbosity

if TYPE_CHECKING:
    from rich.live import Live

#: Minimum time between two plain status lines. It doubles, up to the longer one, while they differ only in numbers.
PLAIN_INTERVAL_S = 5.0
LONGEST_INTERVAL_S = 40.0


def _unknown() -> str:
    return ""


class LoadProgress(NamedTuple):
    """The progress of a load. A figure that is unknown is None.

    left_s: time until the last request is sent, or the estimated remaining time of a closed loop. waiting: number of
    answers that are awaited after the last request was sent.
    """

    done: int
    total: int
    failed: int = 0
    rate_rps: float | None = None
    ttft_ms: float | None = None
    left_s: float | None = None
    waiting: int | None = None

    def __str__(self) -> str:
        """``3/10 requests, 5.0 requests/s, TTFT 50 ms, 2 s left``."""
        parts = [f"{self.done}/{self.total} requests"]
        if self.rate_rps is not None:
            parts.append(f"{self.rate_rps:.1f} requests/s")
        if self.ttft_ms is not None:
            parts.append(f"TTFT {self.ttft_ms:.0f} ms")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.waiting is not None:
            parts.append(f"waiting for {self.waiting} answer{'s' * (self.waiting != 1)}")
        elif self.left_s is not None:
            parts.append(f"{self.left_s:.0f} s left")
        return ", ".join(parts)


class Progress:
    """Base of progress displays; this class itself shows nothing."""

    def begin(self, label: str, title: str, left: Callable[[], str] = _unknown) -> None:
        """Begin a part of the work: ``label`` (``point 3 of 8``) names it in later lines, ``title`` says what it is.

        left: returns the time left of the whole work in words, "" if it is unknown.
        """

    def say(self, text: str) -> None:
        """Show one permanent line about an event."""

    def status(self, text: str) -> None:
        """Show the current activity; it replaces the last status."""

    def requests(self, load: LoadProgress) -> None:
        """Show the progress of the load. Called at most a few times per second."""


class PlainProgress(Progress):
    """Plain lines for logs and pipes: events at once, status lines at most every ``interval_s``, or more rarely."""

    def __init__(
        self,
        label: str,
        stream: TextIO,
        *,
        interval_s: float = PLAIN_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._stream = stream
        self._interval_s = interval_s
        self._clock = clock
        self._written_s = clock() - interval_s
        self._wait_s = interval_s
        self._text_without_numbers = ""
        self._left: Callable[[], str] = _unknown

    def begin(self, label: str, title: str, left: Callable[[], str] = _unknown) -> None:
        self._label, self._left = label, left
        left_words = left()
        self._write(f"{title} ({left_words})" if left_words else title)

    def say(self, text: str) -> None:
        self._write(text)

    def status(self, text: str) -> None:
        self._write_if_due(text)

    def requests(self, load: LoadProgress) -> None:
        left_words = self._left()
        self._write_if_due(f"{load}; sweep: {left_words}" if left_words else str(load), now=load.done == load.total)

    def _write_if_due(self, text: str, *, now: bool = False) -> None:
        without_numbers = "".join(character for character in text if not character.isdigit())
        is_new = without_numbers != self._text_without_numbers
        if now or self._clock() >= self._written_s + (self._interval_s if is_new else self._wait_s):
            self._written_s, self._text_without_numbers = self._clock(), without_numbers
            self._wait_s = self._interval_s if is_new else min(2 * self._wait_s, LONGEST_INTERVAL_S)
            self._write(text)

    def _write(self, text: str) -> None:
        text = printable_lines(text)
        self._stream.write(f"{self._label}: {text}\n" if self._label else f"{text}\n")
        self._stream.flush()


class LiveProgress(Progress):
    """Lines on a terminal that are updated in place; events are printed above them.

    One line, or two after ``begin``: what is being done of what, and how far it is.
    """

    def __init__(self, label: str, live: Live) -> None:
        self._label = label
        self._live = live
        self._title = ""
        self._left: Callable[[], str] = _unknown

    def begin(self, label: str, title: str, left: Callable[[], str] = _unknown) -> None:
        self._label, self._title, self._left = label, title, left
        self._show("")

    def say(self, text: str) -> None:
        from rich.text import Text

        text = printable_lines(text)
        self._live.console.print(Text(f"{self._label}: {text}" if self._label else text))

    def status(self, text: str) -> None:
        self._show(text)

    def requests(self, load: LoadProgress) -> None:
        bar = "━" * (20 * load.done // load.total) if load.total else ""
        self._show(f"{bar:20} {load}")

    def _show(self, text: str) -> None:
        from rich.text import Text

        activity = printable_lines(" ".join(text.splitlines()))
        lines = [f"{self._label}  {activity}"]
        if self._title:
            left_words = self._left()
            lines = [f"{self._label}: {self._title}" + (f"; {left_words}" if left_words else ""), f"  {activity}"]
        self._live.update(Text("\n".join(map(printable_lines, lines)), no_wrap=True, overflow="ellipsis"), refresh=True)


@contextlib.contextmanager
def make_progress(label: str) -> Iterator[Progress]:
    """Yield a progress display on stderr: a live line on a terminal, plain lines elsewhere.

    In a thread of a launcher it shows nothing: the lines of several groups would mix.
    """
    if threading.current_thread() is not threading.main_thread() or verbosity() is Verbosity.QUIET:
        yield Progress()
        return
    if not sys.stderr.isatty():
        yield PlainProgress(label, sys.stderr)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield LiveProgress(label, live)
