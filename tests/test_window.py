"""The measured window is what was asked for, and the automatic one finds a warm-up and leaves a steady run alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchhydra import window
from benchhydra.records import Phase, Records
from benchhydra.request_series import per_second_series


def run(latency_ms: np.ndarray, every_ms: float = 10.0) -> Records:
    n = len(latency_ms)
    sent = (np.arange(n) * every_ms * 1e6).astype(np.int64)
    rows = Records.of_spans(sent.tolist(), (sent + (latency_ms * 1e6).astype(np.int64)).tolist())
    return replace(rows, first_ns=rows.done_ns, last_ns=rows.done_ns, output_tokens=np.full(n, 1, np.int32))


def test_the_first_and_last_seconds_are_marked() -> None:
    marked = window.mark_phases(run(np.full(100, 5.0)), 0.2, 0.3)
    assert (marked.phase == Phase.WARMUP).sum() == 20
    assert (marked.phase == Phase.COOLDOWN).sum() == 30
    assert (marked.phase[20:69] == Phase.MEASURED).all()


def test_steady_auto_cuts_a_slow_start() -> None:
    noise = np.random.default_rng(0).normal(50, 2, 400)
    noise[:60] += np.linspace(300, 20, 60)
    cut = (window.mark_phases(run(noise), 0, 0, "auto").phase == Phase.WARMUP).sum()
    assert 45 <= cut <= 100


def test_steady_auto_keeps_nearly_all_of_a_steady_run() -> None:
    cuts = [
        (window.mark_phases(run(np.random.default_rng(s).gamma(20, 2, 400)), 0, 0, "auto").phase == Phase.WARMUP).sum()
        for s in range(40)
    ]
    assert np.median(cuts) <= 40


def test_a_run_that_never_settles_is_not_cut() -> None:
    assert window.mser5(np.linspace(0, 1, 200) ** 2) == 0


def test_the_series_counts_every_request_once() -> None:
    rows = run(np.full(300, 35.0))
    seconds = {series.name.removeprefix("client."): series for series in per_second_series(rows)}
    assert seconds["sent_rps"].values.sum() == seconds["done_rps"].values.sum() == 300
    assert seconds["sent_rps"].values.tolist() == [100, 100, 100, 0]
    assert seconds["mean_ttft_ms"].values == pytest.approx([35.0, 35.0, 35.0])  # nothing was sent in the last second
    assert seconds["in_flight"].values[0] == pytest.approx(3, abs=1)
