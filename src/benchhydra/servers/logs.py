"""Reading a server's log: its last lines, the line with the cause of a failure, and the excerpt that a point keeps.

The supervisor keeps a log below a size (``_supervise.LOG_LIMIT``). Nothing here reads a log whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from benchhydra.redaction import redact, redact_bytes

#: The last lines of a log -> what the starting server is doing, in words; "" if they do not tell.
StartPhase = Callable[[Sequence[str]], str]

TAIL_BYTES = 64 * 1024
#: The last lines that tell what a server that starts is doing.
ACTIVITY_LINES = 200
#: The most of a log that a point keeps: of its beginning and of its end.
EXCERPT_HEAD_BYTES, EXCERPT_TAIL_BYTES = 1 << 20, 3 << 20
#: ``ValueError: text`` or argparse's ``error: text``, after any log prefix.
CAUSE = re.compile(r"(?:^|\s)((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit)|error): (\S.*)$")
WARNING = re.compile(r"warn", re.IGNORECASE)
NOISE = re.compile(r"\bWARNING\b|Engine core initialization failed|EngineDeadError")


def unknown_phase(lines: Sequence[str]) -> str:
    """Return "": the phase of an engine whose log is not known."""
    return ""


def tail(log: Path, lines: int = 20) -> list[str]:
    """Return the last non-empty lines of a log, without secrets; [] if it cannot be read."""
    try:
        with log.open("rb") as file:
            start = max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES)
            file.seek(start)
            data = file.read()
    except OSError:
        return []
    text = redact((data.partition(b"\n")[2] if start else data).decode(errors="replace"))
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


def size(log: Path) -> int:
    """Return the size of a log in bytes; 0 if there is none."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def text_since(log: Path, offset: int) -> str:
    """Return what a log contains from byte ``offset`` on, at most the last ``TAIL_BYTES``; "" if it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(offset, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def shortened_log(log: Path, offset: int = 0) -> bytes:
    """Return a log from byte ``offset`` on, without secrets, its middle replaced by a line if it is long.

    From its beginning if it is shorter: the supervisor has cut it in the meantime. Raises OSError.
    """
    with log.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        start = offset if offset <= end else 0
        file.seek(start)
        head = file.read(min(end - start, EXCERPT_HEAD_BYTES + EXCERPT_TAIL_BYTES))
        if end - start <= len(head):
            return redact_bytes(head)
        head = head[: head.rfind(b"\n", 0, EXCERPT_HEAD_BYTES) + 1]
        file.seek(end - EXCERPT_TAIL_BYTES)
        tail_bytes = file.read(EXCERPT_TAIL_BYTES)
    tail_bytes = tail_bytes[tail_bytes.find(b"\n") + 1 :]
    missing = end - start - len(head) - len(tail_bytes)
    mark = f"[benchhydra: {missing} bytes are left out here; the server's own log has more: {log}]\n"
    return redact_bytes(head) + mark.encode(errors="surrogateescape") + redact_bytes(tail_bytes)


def cause(log: Path) -> str | None:
    """Return the first error line of a log, at most 300 characters: later errors are mostly consequences of it."""
    for line in tail(log, 2000):
        error = CAUSE.search(line)
        if error and not NOISE.search(line):
            return f"{error[1]}: {error[2]}"[:300]
    return None


def start_activity(log: Path, start_phase: StartPhase, width: int = 100) -> str:
    """Return what a server that starts is doing, for a progress display: ``: loading weights``; "" if nothing tells.

    That is its phase, or if that is unknown the last line of its log that is no warning, cut to ``width`` characters.
    """
    lines = tail(log, ACTIVITY_LINES)
    activity = start_phase(lines) or next((line[:width] for line in reversed(lines) if not WARNING.search(line)), "")
    return f": {activity}" if activity else ""


def with_log_tail(failure: str, log: Path, lines: int = 20) -> str:
    """Return a failure message with the cause from the log in the same line, and the log's last lines below it."""
    root = cause(log)
    text = f"{failure}: {root}" if root else failure
    last = tail(log, lines)
    return "\n".join([text, f"  last lines of {log}:", *(f"    {line[:300]}" for line in last)] if last else [text])
