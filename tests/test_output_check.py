"""The output check: what counts as right, and that it finds an engine that answers fast and wrongly."""

from __future__ import annotations

import pytest

from benchhydra.errors import ConfigError
from benchhydra.output_check import check_expectation, is_correct


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
