"""The output check: what counts as right, and that it finds an engine that answers fast and wrongly."""

from __future__ import annotations

import signal
import time

import pytest

from benchhydra.errors import ConfigError
from benchhydra.output_check import UNKNOWN, check_answers, check_expectation, is_correct


@pytest.mark.parametrize(
    ("answer", "expect", "right"),
    [
        (" 85\n12 + 4 = 16", "85", True),
        ("The answer is 85.", "85", True),
        ("48+37=85", "85", True),
        ("185", "85", False),
        ("8 5", "85", False),
        ("", "85", False),
        (" ocean, Paper, hammer\nInput:", "ocean paper hammer", True),
        ("ocean hammer paper", "ocean paper hammer", False),
        ("ocean paper", "ocean paper hammer", False),
        ("Yes, it is", "/^(yes|no)/", False),
        ("Yes, it is", "/(?i)^(yes|no)/", True),
        ("no/maybe", "/o/m/", True),
    ],
)
def test_an_answer_is_right_if_it_contains_the_words_or_matches(answer: str, expect: str, right: bool) -> None:
    assert is_correct(answer, expect) is right


@pytest.mark.parametrize(("expect", "words"), [("/(/", "is not a regular expression"), ("...", "has no words")])
def test_an_expectation_that_means_nothing_is_refused(expect: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_expectation("dataset.expect", expect)


def test_answers_are_checked_where_something_is_expected() -> None:
    assert check_answers(["yes", "no", "no", "?"], ["yes", "yes", "/^n/", ""]) == [1, 0, 1, UNKNOWN]


def test_an_expression_that_backtracks_does_not_hold_a_run_up() -> None:
    before, began_s = signal.getsignal(signal.SIGALRM), time.monotonic()
    answers = ["x", "a" * 64 + "b", "x"]
    assert check_answers(answers, ["/x/", "/(a+)+$/", "/x/"], limit_s=0.2) == [1, UNKNOWN, UNKNOWN]
    assert time.monotonic() - began_s < 60  # it would take years
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL)[0] == 0
