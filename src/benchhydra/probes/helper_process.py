"""The client's handle on the helper process: start it, send it commands, wait for answers, reuse it, close it."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchhydra.escaping import printable
from benchhydra.redaction import excerpt

#: How long to wait for its exit after closing its input (it exits at once) before killing it.
CLOSE_S = 1.0
_READ_BYTES = 1 << 20


class HelperLost(Exception):
    """The helper has exited or does not answer. The message says which, in a few words."""


class HelperProcess:
    """A running helper. Secrets go through its input, never its command line. Raises OSError if it cannot start."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as opened:
            self._errors = opened.enter_context(tempfile.TemporaryFile())
            self._popen = subprocess.Popen(
                # -P: search the working directory for modules only if this process does (PYTHONPATH below)
                [sys.executable, "-P", "-m", "benchhydra.probes.helper"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)},
                process_group=0,  # Ctrl-C in the terminal must not reach the helper
                bufsize=0,
            )
            opened.pop_all()
        self._owner = os.getpid()
        self._buffer = bytearray()
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """The helper's process id."""
        return self._popen.pid

    def alive(self) -> bool:
        """Return whether it runs and this process started it (False in a forked child)."""
        return os.getpid() == self._owner and self._popen.poll() is None

    def send(self, command: dict[str, Any]) -> None:
        """Send a command that has no answer. Raises HelperLost if the helper has exited."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(json.dumps(command).encode() + b"\n")
        except OSError as error:
            raise HelperLost(self._ending()) from error

    def ask(self, command: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        """Send a command and return its answer. Raises HelperLost at ``deadline_s`` (``time.monotonic``)."""
        self.send(command)
        while b"\n" not in self._buffer:
            self._fill(deadline_s)
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def read(self, count: int, deadline_s: float) -> bytes:
        """Return the next ``count`` bytes after an answer. Raises HelperLost at ``deadline_s``."""
        while len(self._buffer) < count:
            self._fill(deadline_s)
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def kill(self) -> None:
        """Kill the helper, which may no longer read its input."""
        if self.alive():
            self._popen.kill()
        self.close()

    def close(self) -> None:
        """Close the helper's input and wait for its exit. A second call, or one from a forked child, does nothing."""
        atexit.unregister(self.close)
        if os.getpid() != self._owner:
            return
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._popen.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._errors.close()

    def _fill(self, deadline_s: float) -> None:
        assert self._popen.stdout is not None
        fd = self._popen.stdout.fileno()
        if not select.select([fd], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
            raise HelperLost("it does not answer")
        data = os.read(fd, _READ_BYTES)
        if not data:
            raise HelperLost(self._ending())
        self._buffer += data

    def _ending(self) -> str:
        """Describe how it exited, with the last line of its standard error."""
        try:
            code = self._popen.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return f"{reason}: {excerpt(printable(last), 200)}" if last else reason


#: Helpers that wait for the next point; more than one only if points are measured in several threads.
_idle: list[HelperProcess] = []


def idle_or_new_helper() -> HelperProcess:
    """Return an idle helper, or start one. Raises OSError if it cannot be started."""
    while _idle:
        helper = _idle.pop()
        if helper.alive():
            return helper
        helper.close()
    return HelperProcess()


def helper_is_idle() -> bool:
    """Return whether a running helper waits for the next point."""
    return any(helper.alive() for helper in _idle)


def keep_for_next_point(helper: HelperProcess) -> None:
    """Keep a helper running until the next point, or the end of this process."""
    _idle.append(helper)


def close_idle_helpers() -> None:
    """Close the helpers that wait for the next point."""
    while _idle:
        _idle.pop().close()
