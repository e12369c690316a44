"""The exception tree. An error that a user can cause is one line that says what is wrong, and a hint what to type.

BenchhydraError       the program prints its one line and hint, and exits with 1; the trace with HYDRA_FULL_ERROR=1
├── ConfigError       a value, combination, option or file of the configuration is wrong
├── DatasetError      the data cannot be read, or does not hold what was asked for
├── EngineError       a server or offline engine did not start, died, or answered wrongly
│   └── GpuUnavailable    fewer free GPUs than asked for
├── RunInvalid        the point ran, but its result must not be used
└── ResultError       a result file cannot be written, read, or does not match the schema

This module imports nothing heavy: client processes, which start with every load of several processes, import it.
"""

from __future__ import annotations

from typing import Any


class BenchhydraError(Exception):
    """An error shown to the user as one line. ``hint`` says what to type instead."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n  hint: {hint}" if hint else message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[BenchhydraError], message: str, hint: str) -> BenchhydraError:
    return kind(message, hint=hint)


class ConfigError(BenchhydraError):
    """A value, combination, option or file of the configuration is wrong."""


class DatasetError(BenchhydraError):
    """The data cannot be read, or does not hold what was asked for."""


class EngineError(BenchhydraError):
    """A server or offline engine did not start, died, or answered wrongly."""


class GpuUnavailable(EngineError):
    """Fewer free GPUs than asked for."""


class RunInvalid(BenchhydraError):
    """The point ran, but its result must not be used."""


class ResultError(BenchhydraError):
    """A result file cannot be written, read, or does not match the schema."""
