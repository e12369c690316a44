"""Precise timers with timerfd: the event loop rounds its own timers to 1 ms."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable

from benchhydra.records import NEVER

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # the values of TFD_NONBLOCK and TFD_CLOEXEC
_S = 1_000_000_000
_ITIMERSPEC = struct.Struct("qqqq")
_libc = ctypes.CDLL(None, use_errno=True)
_settime = _libc.timerfd_settime
_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Timer:
    """A timerfd on CLOCK_MONOTONIC that calls ``callback`` in the loop, at absolute times."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._fd = _checked(_libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS))
        self._spec = ctypes.create_string_buffer(_ITIMERSPEC.size)
        self._loop = loop
        self._callback = callback
        loop.add_reader(self._fd, self._fired)

    def at(self, when_ns: int, every_ns: int = 0) -> None:
        """Fire at ``when_ns`` (at once if that has passed), and then every ``every_ns`` if that is not 0."""
        when_ns = max(1, when_ns)
        spec = (every_ns // _S, every_ns % _S, when_ns // _S, when_ns % _S)
        _ITIMERSPEC.pack_into(self._spec, 0, *spec)
        _checked(_settime(self._fd, _ABSOLUTE, self._spec, None))

    def close(self) -> None:
        """Stop the timer and close its file descriptor."""
        if self._fd != NEVER:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = NEVER

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # the timer was set again after it had fired
        self._callback()


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
