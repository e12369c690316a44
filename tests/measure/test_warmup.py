"""Warm-up: as many at once as the load will have under way, never more than it has, and as configured where it is."""

from __future__ import annotations

import pytest

from benchhydra.errors import ConfigError
from benchhydra.measure.warmup import WarmupHistory, check_warmup, warmup_count


@pytest.mark.parametrize(
    ("configured", "planned", "max_in_flight", "expected"),
    [
        (None, 100, 32, 32),
        (None, 100, 2, 8),
        (None, 100, None, 8),
        (None, 20, 64, 20),
        (0, 100, 32, 0),
        (5, 100, 32, 5),
    ],
)
def test_the_number_of_warmup_requests(
    configured: int | None, planned: int, max_in_flight: int | None, expected: int
) -> None:
    assert warmup_count(configured, planned, max_in_flight) == expected


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup_requests=-1"):
        check_warmup(-1)
    check_warmup(None)


def test_a_server_needs_a_warm_up_again_only_for_more_longer_or_other_requests() -> None:
    history = WarmupHistory(by_kind={})
    assert not history.covers("chat", 1, 1)
    history.add("chat", 8, 128)
    assert history.covers("chat", 8, 128) and history.covers("chat", 2, 16)
    assert not history.covers("chat", 9, 128) and not history.covers("chat", 8, 129)
    assert not history.covers("completions", 1, 1)
    history.add("chat", 4, 512)  # fewer: what is known of the eight stays
    assert history.covers("chat", 8, 128) and not history.covers("chat", 4, 512)
