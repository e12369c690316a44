"""Processes that tests started, looked at while they come and go: one that has ended meanwhile is no error."""

from __future__ import annotations

from collections.abc import Iterable

import psutil


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one; none once it has ended."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def command_line(process: psutil.Process) -> str:
    """Its words, with spaces between them; empty once it has ended, reaped or not."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a process that has ended and that nobody has reaped does not."""
    return [one for one in processes if _runs(one)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
