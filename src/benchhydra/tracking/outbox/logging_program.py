"""The process that logs for an outbox: numbered orders on standard input, the number back when one is carried out.

The tracker itself says on standard error what cannot be logged. The process ends at the end of its input, after the
order that it carries out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

from benchhydra import registry
from benchhydra.errors import BenchhydraError
from benchhydra.result import Result
from benchhydra.tracking import Tracking

#: A server that starts meanwhile goes first.
NICENESS = 10


def main() -> None:
    """Carry out orders until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the outbox decides
    os.nice(NICENESS)
    answers = _private_stdout()
    registry.discover()
    for line in sys.stdin:
        number, _, order = line.partition(" ")
        carry_out(json.loads(order))
        answers.write(f"{number}\n")
        answers.flush()
    sys.stderr.flush()
    os._exit(0)  # tearing MLflow down takes a second, and everything is written


def carry_out(order: Mapping[str, Any]) -> None:
    """Do what an order of the ``Outbox`` says."""
    try:
        ACTIONS[order["do"]](_tracking(order["option"], json.dumps(order["settings"])), order)
    except BenchhydraError as error:
        sys.stderr.write(f"not logged: {error.message}\n")


@cache
def _tracking(option: str, settings: str) -> Tracking:
    tracking: Tracking = registry.options("tracking")[option](**json.loads(settings))
    return tracking


def _prepare(tracking: Tracking, order: Mapping[str, Any]) -> None:
    tracking.prepare()


def _log(tracking: Tracking, order: Mapping[str, Any]) -> None:
    directory = Path(order["directory"])
    tracking.log(Result.read(directory), directory)


def _log_repeats(tracking: Tracking, order: Mapping[str, Any]) -> None:
    tracking.log_repeats(order["repeated"], [Path(directory) for directory in order["directories"]])


ACTIONS: Mapping[str, Callable[[Tracking, Mapping[str, Any]], None]] = {
    "prepare": _prepare,
    "log": _log,
    "repeats": _log_repeats,
}


def _private_stdout() -> IO[str]:
    """Standard output for answers alone: what else is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
