"""llama.cpp as a second oracle for TTFT and the time between tokens: it tells its own times of each request."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.llamacpp_oracle import REQUESTS, agreement

pytestmark = [pytest.mark.alone, pytest.mark.slow]


def test_latencies_are_those_that_llamacpp_measured(tmp_path: Path) -> None:
    """Means over 200 requests within 2 %; TTFT, which HTTP is a part of, within 2 ms (or 2 % on a slow machine)."""
    means = agreement(tmp_path)
    assert means.requests == REQUESTS == 200
    report = "\n".join(means.lines())
    assert 0 < means.ttft_ms - means.prompt_ms < max(2.0, 0.02 * means.prompt_ms), report
    assert means.decode_ms == pytest.approx(means.predicted_ms, rel=0.02), report
    assert means.e2el_ms == pytest.approx(means.timed_ms, rel=0.02), report
