"""The program of the logging process: reads numbered orders from stdin, and writes the number of each finished one.

The tracker reports failures on stderr. The process exits at the end of its input, after the current order.
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

from benchhydra import redaction, registry
from benchhydra.errors import BenchhydraError
from benchhydra.escaping import printable_lines
from benchhydra.result import Result
from benchhydra.tracking import Tracking

#: Low priority, so that logging does not slow down a server that is starting.
NICENESS = 10


def main() -> None:
    """Carry out orders until the end of stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the outbox decides when to stop
    os.nice(NICENESS)
    answers = _private_stdout()
    redaction.guard_output()
    registry.import_plugins()
    for line in sys.stdin:
        number, _, order = line.partition(" ")
        carry_out(json.loads(order))
        try:
            answers.write(f"{number}\n")
            answers.flush()
        except BrokenPipeError:  # the sweep was killed
            break
    sys.stderr.flush()
    os._exit(0)  # skips the teardown of MLflow, which takes a second; everything is written


def carry_out(order: Mapping[str, Any]) -> None:
    """Carry out one order of the ``Outbox``; a BenchhydraError is printed."""
    try:
        ACTIONS[order["do"]](_tracking(order["option"], json.dumps(order["settings"])), order)
    except BenchhydraError as error:
        sys.stderr.write(f"not logged: {printable_lines(error.message)}\n")


@cache
def _tracking(option: str, settings: str) -> Tracking:
    values = json.loads(settings)
    redaction.protect_config(values)
    tracking: Tracking = registry.option_class("tracking", option)(**values)
    return tracking


def _prepare(tracking: Tracking, order: Mapping[str, Any]) -> None:
    tracking.prepare()


def _log(tracking: Tracking, order: Mapping[str, Any]) -> None:
    directory = Path(order["directory"])
    tracking.log(Result.read(directory), directory)


def _log_repeats(tracking: Tracking, order: Mapping[str, Any]) -> None:
    tracking.log_repeats(order["repeated"], [Path(directory) for directory in order["directories"]])


def _log_answer(tracking: Tracking, order: Mapping[str, Any]) -> None:
    tracking.log_answer(order["sweep_id"], order["answer"], [Path(directory) for directory in order["directories"]])


def _log_curves(tracking: Tracking, order: Mapping[str, Any]) -> None:
    tracking.log_curves(order["sweep_id"], Path(order["directory"]))


ACTIONS: Mapping[str, Callable[[Tracking, Mapping[str, Any]], None]] = {
    "prepare": _prepare,
    "log": _log,
    "repeats": _log_repeats,
    "curves": _log_curves,
    "answer": _log_answer,
}


def _private_stdout() -> IO[str]:
    """The original stdout, used only for answers; everything else that is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
