"""Texts that differ only in their numbers become one text."""

from __future__ import annotations

import pytest

from benchhydra.similar_texts import merge_similar, natural_order


@pytest.mark.parametrize(
    ("texts", "merged"),
    [
        (["got 57 % of it", "got 72 % of it", "got 60 % of it"], ["got 57 to 72 % of it"]),
        (["a 5 of 10", "a 5 of 12"], ["a 5 of 10 to 12"]),
        (["same", "same"], ["same"]),
        (["took 1,200 ms", "took 900 ms"], ["took 900 to 1,200 ms"]),
        (["off by +0.3 %", "off by -1.2 %"], ["off by -1.2 to +0.3 %"]),
        (["limit 80", "limit 80.0"], ["limit 80"]),
        (["b 1", "a", "b 2"], ["b 1 to 2", "a"]),
        ([], []),
    ],
)
def test_numbers_become_ranges(texts: list[str], merged: list[str]) -> None:
    assert merge_similar(texts) == merged


@pytest.mark.parametrize(
    "text", ["p{} is high", "at qps={}", "run a{}f failed", "host 10.0.0.{} is down", "http://h:{}/x", "on 2026-11-{}"]
)
def test_numbers_in_names_are_kept_apart(text: str) -> None:
    texts = [text.format(11), text.format(12)]
    assert merge_similar(texts) == texts


def test_numbers_are_in_order_of_their_size() -> None:
    texts = ["a qps=16", "a qps=8", "a qps=inf", "b", "a qps=2.5", "a qps=8 x=2"]
    ordered = ["a qps=2.5", "a qps=8", "a qps=8 x=2", "a qps=16", "a qps=inf", "b"]
    assert sorted(texts, key=natural_order) == ordered


def test_ranges_are_merged_again_and_changes_stay_changes() -> None:
    assert merge_similar(["got 29 to 34 % of it", "got 53 % of it", "got 44 to 50 % of it"]) == ["got 29 to 53 % of it"]
    assert merge_similar(["fell from 3 to 2", "fell from 5 to 2"]) == ["fell from 3-5 to 2"]
    assert merge_similar(["fell from 3 to 2", "got 3 to 5"]) == ["fell from 3 to 2", "got 3 to 5"]
    for texts in (["took from 3 to 5 s", "took 5 s"], ["took 5 s", "took from 3 to 5 s"], ["from 3 to 5", "from 4"]):
        assert merge_similar(texts) == texts
