"""The output check: whether answers are the expected ones. An engine that talks nonsense may be fast.

An expectation is a text, which must occur in the answer as whole words whatever their case and punctuation, or a
regular expression between slashes (``/^\\s*yes/``), which must match somewhere in the answer.

Answers are checked after the load: a regular expression that backtracks can take hours for a kilobyte of text, and a
client that searches for so long sends nothing. The check of a load's answers ends after ``LONGEST_CHECK_S``.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.errors import ConfigError

#: The label of rows: 1 for an answer that is right, 0 for one that is wrong, -1 where nothing is expected or known.
CORRECT = "correct"
UNKNOWN = -1
LONGEST_CHECK_S = 30.0
_PUNCTUATION = "\"'`*_.,;:!?()[]{}<>"


def check_expectation(key: str, expect: str) -> None:
    """Raise ConfigError if an expectation can be met by no answer or by every one. key: where it comes from."""
    if _is_regex(expect):
        try:
            re.compile(expect[1:-1])
        except re.error as error:
            raise ConfigError(f"{key}: {expect} is not a regular expression: {error}") from error
    elif not _words(expect).strip():
        raise ConfigError(f"{key}: {expect!r} has no words", hint="/REGEX/ for punctuation")


def is_correct(answer: str, expect: str) -> bool:
    """Return whether an answer meets an expectation."""
    if _is_regex(expect):
        return _compiled(expect[1:-1]).search(answer) is not None
    return _words(expect) in _words(answer)


def check_answers(answers: Sequence[str], expected: Sequence[str], limit_s: float = LONGEST_CHECK_S) -> list[int]:
    """Return 1 for each answer that meets its expectation, 0 for each other one, and ``UNKNOWN`` without expectation.

    ``UNKNOWN`` also for those that are left after ``limit_s``. There is no limit outside the main thread, where no
    signal can interrupt a search.
    """
    outcomes = [UNKNOWN] * len(answers)
    with suppress(TimeoutError), time_limit(limit_s):
        for i, (answer, expect) in enumerate(zip(answers, expected, strict=True)):
            if expect:
                outcomes[i] = int(is_correct(answer, expect))
    return outcomes


def checked_answers(labels: Mapping[str, npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    """Return 1 for each checked answer that is as expected, 0 for each that is not. labels: of the rows."""
    correct = labels.get(CORRECT, np.zeros(0, dtype=np.int32))
    return correct[correct >= 0]


@contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raise TimeoutError in the block after ``limit_s``, also within a search (``re`` looks for signals).

    Outside the main thread, which alone gets signals, there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_timeout(*_: Any) -> None:
    raise TimeoutError


def _is_regex(expect: str) -> bool:
    return len(expect) > 2 and expect[0] == expect[-1] == "/"


@lru_cache(maxsize=4096)
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex)


def _words(text: str) -> str:
    """Return a text's words in lower case with a space before and after each, without punctuation at their edges."""
    words = (word.strip(_PUNCTUATION) for word in text.casefold().replace("=", " ").split())
    return f" {' '.join(filter(None, words))} "
