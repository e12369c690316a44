"""Progress of long work on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

from benchhydra.escaping import printable_lines

if TYPE_CHECKING:
    from rich.live import Live

PLAIN_INTERVAL_S = 5.0  # minimum time between two plain status lines


class Progress:
    """Base of progress displays; this class itself shows nothing."""

    def say(self, text: str) -> None:
        """Show one permanent line about an event."""

    def status(self, text: str) -> None:
        """Show the current activity; it replaces the last status."""

    def requests(
        self, done: int, total: int, failed: int, rate_rps: float | None, ttft_ms: float | None, left_s: float | None
    ) -> None:
        """Show the progress of the load. Called at most a few times per second. left_s: estimated remaining time."""


class PlainProgress(Progress):
    """Plain lines for logs and pipes: events at once, status lines at most every ``interval_s``."""

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
        self._next = clock()

    def say(self, text: str) -> None:
        self._write(text)

    def status(self, text: str) -> None:
        self._write_if_due(text)

    def requests(
        self, done: int, total: int, failed: int, rate_rps: float | None, ttft_ms: float | None, left_s: float | None
    ) -> None:
        self._write_if_due(describe_progress(done, total, failed, rate_rps, ttft_ms, left_s), now=done == total)

    def _write_if_due(self, text: str, *, now: bool = False) -> None:
        if now or self._clock() >= self._next:
            self._next = self._clock() + self._interval_s
            self._write(text)

    def _write(self, text: str) -> None:
        text = printable_lines(text)
        self._stream.write(f"{self._label}: {text}\n" if self._label else f"{text}\n")
        self._stream.flush()


class LiveProgress(Progress):
    """One line on a terminal that is updated in place; events are printed above it."""

    def __init__(self, label: str, live: Live) -> None:
        self._label = label
        self._live = live

    def say(self, text: str) -> None:
        from rich.text import Text

        text = printable_lines(text)
        self._live.console.print(Text(f"{self._label}: {text}" if self._label else text))

    def status(self, text: str) -> None:
        self._show(text)

    def requests(
        self, done: int, total: int, failed: int, rate_rps: float | None, ttft_ms: float | None, left_s: float | None
    ) -> None:
        bar = "━" * (20 * done // total) if total else ""
        self._show(f"{bar:20} {describe_progress(done, total, failed, rate_rps, ttft_ms, left_s)}")

    def _show(self, text: str) -> None:
        from rich.text import Text

        line = Text(f"{self._label}  {printable_lines(' '.join(text.splitlines()))}", no_wrap=True, overflow="ellipsis")
        self._live.update(line, refresh=True)


def describe_progress(
    done: int, total: int, failed: int, rate_rps: float | None, ttft_ms: float | None, left_s: float | None
) -> str:
    """Return the progress of a load as text: "3/10 requests, 5.0 requests/s". Values that are None are omitted."""
    parts = [f"{done}/{total} requests"]
    if rate_rps is not None:
        parts.append(f"{rate_rps:.1f} requests/s")
    if ttft_ms is not None:
        parts.append(f"TTFT {ttft_ms:.0f} ms")
    if failed:
        parts.append(f"{failed} failed")
    if left_s is not None:
        parts.append(f"{left_s:.0f} s left")
    return ", ".join(parts)


@contextlib.contextmanager
def make_progress(label: str) -> Iterator[Progress]:
    """Yield a progress display on stderr: a live line on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield PlainProgress(label, sys.stderr)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield LiveProgress(label, live)
