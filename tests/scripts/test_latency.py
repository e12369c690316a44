"""``script=latency`` on the fake engine, whose batches take a known time, and its metrics over made-up rows."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.scripts.points import composed, run

from benchhydra.errors import ConfigError
from benchhydra.loadgen.pacing.batches import Batches
from benchhydra.metrics import summarize
from benchhydra.records import NEVER, Phase, Records, Status
from benchhydra.result import Verdict
from benchhydra.run import spec_of
from benchhydra.window import Window

TTFT_MS, ITL_MS, OUTPUT = 20.0, 5.0, 9
LATENCY = ["script=latency", f"engine.ttft_ms={TTFT_MS}", f"engine.itl_ms={ITL_MS}"]
LATENCY += ["dataset.prompt_tokens=16", f"dataset.output_tokens={OUTPUT}", "script.batch_size=4"]
LATENCY += ["script.iterations=12", "script.warmup_iterations=3"]


@pytest.mark.parametrize("on", ["offline", "server"])
def test_a_batch_takes_what_the_engine_takes(tmp_path: Path, on: str) -> None:
    ttft_ms, itl_ms = 3 * TTFT_MS, 3 * ITL_MS  # long against what a busy machine adds
    latency_ms = ttft_ms + itl_ms * (OUTPUT - 1)
    slower = (f"engine.ttft_ms={ttft_ms}", f"engine.itl_ms={itl_ms}")
    result = run(tmp_path / on, *LATENCY, f"script.on={on}", *slower)
    assert result.status == "ok" and result.load_label == "batch=4"
    value = {key: metric.value for key, metric in result.metrics.items()}
    assert (value["batches"], value["completed"], value["failed"]) == (12, 48, 0)
    assert result.metadata["batch_size"] == 4
    # Never less than the engine's own times; more only by what a busy machine adds, which its fastest batches lack.
    assert latency_ms - 1 < value["p10_batch_latency_ms"] < 1.25 * latency_ms
    assert value["median_batch_prefill_ms"] >= ttft_ms
    assert value["median_batch_decode_ms"] == pytest.approx(itl_ms * (OUTPUT - 1), rel=0.5)
    assert value["mean_batch_latency_ms"] == pytest.approx(
        value["mean_batch_prefill_ms"] + value["mean_batch_decode_ms"]
    )
    assert ("mean_ttft_ms" in value) is (on == "server")
    assert set(result.key_metrics) <= value.keys()
    assert {metric for chart in result.charts for metric in chart} <= value.keys()


def test_the_first_batches_are_warm_up(tmp_path: Path) -> None:
    run(tmp_path / "point", *LATENCY)
    rows = Records.read(tmp_path / "point" / "records.parquet")
    assert len(rows) == 4 * (3 + 12)
    assert (rows.phase[:12] == Phase.WARMUP).all() and (rows.phase[12:] == Phase.MEASURED).all()
    assert len(np.unique(rows.scheduled_ns)) == 15


def test_batches_on_a_server_follow_one_another(tmp_path: Path) -> None:
    run(tmp_path / "point", *LATENCY, "script.on=server")
    rows = Records.read(tmp_path / "point" / "records.parquet")
    starts = np.unique(rows.scheduled_ns)
    for before, after in itertools.pairwise(starts):
        assert rows.done_ns[rows.scheduled_ns == before].max() <= after
    assert all((rows.scheduled_ns == start).sum() == 4 for start in starts)


def test_few_batches_are_told(tmp_path: Path) -> None:
    result = run(tmp_path / "point", *LATENCY)
    assert any("only 12 batches" in warning for warning in result.warnings)


def test_answers_shorter_than_asked_make_it_suspect(tmp_path: Path) -> None:
    result = run(tmp_path / "point", *LATENCY, "script.on=server", "engine.short_fraction=0.5")
    assert any(reason.check == "short" for reason in result.reasons) and result.verdict is not Verdict.VALID


def test_a_failed_request_takes_its_batch_out(tmp_path: Path) -> None:
    result = run(tmp_path / "point", *LATENCY, "script.on=server", "engine.http_5xx_fraction=0.1")
    assert result.verdict is Verdict.INVALID and result.metrics["failed"].value > 0
    assert result.metrics["median_batch_latency_ms"].value > 59


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("script.batch_size=0", "script.batch_size=0 must be at least 1"),
        ("script.iterations=0", "script.iterations=0 must be at least 1"),
        ("script.warmup_iterations=-1", "must be at least 0"),
        ("num_prompts=100", "num_prompts=100 has no effect"),
    ],
)
def test_what_cannot_be_measured_is_refused(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        spec_of(composed("script=latency", override))


def test_points_of_one_engine_share_it_whatever_their_batch_size() -> None:
    assert spec_of(composed(*LATENCY)) == spec_of(composed(*LATENCY, "script.batch_size=16"))


# The metrics


def rows_of(batches: list[list[tuple[int, int, int]]]) -> Records:
    """Batches one second apart, of requests (sent, first token, end) in ms from their batch's time."""
    spans = [(number, *request) for number, batch in enumerate(batches) for request in batch]
    at_ns = np.array([number * 1_000_000_000 for number, *_ in spans], np.int64)
    sent, first, end = (np.array([span[column] for span in spans], np.int64) for column in (1, 2, 3))
    rows = Records.of_spans(
        (at_ns + sent * 1_000_000).tolist(),
        (at_ns + end * 1_000_000).tolist(),
        prompt_tokens=[10] * len(spans),
        output_tokens=[5] * len(spans),
    )
    first_ns = np.where(first < 0, NEVER, at_ns + first * 1_000_000)
    return replace(rows, scheduled_ns=at_ns, first_ns=first_ns, last_ns=rows.done_ns)


def metrics_of(rows: Records) -> dict[str, float]:
    return {m.key: m.value for m in summarize(Window.of(rows), {"batches", "tokens", "generated"})}


def test_a_batch_lasts_from_its_schedule_to_its_last_answer() -> None:
    values = metrics_of(rows_of([[(0, 10, 30), (1, 20, 50)], [(0, 30, 80), (0, 30, 70)]]))
    assert values["batches"] == 2
    assert values["mean_batch_latency_ms"] == 65 and values["p10_batch_latency_ms"] == 53
    assert values["mean_batch_prefill_ms"] == 25 and values["mean_batch_decode_ms"] == 40
    assert values["batch_prefill_throughput"] == pytest.approx(40 / 0.050)
    assert values["batch_decode_throughput"] == pytest.approx(16 / 0.080)


def test_without_first_tokens_there_is_no_prefill() -> None:
    values = metrics_of(rows_of([[(0, -1, 30)], [(0, -1, 50)]]))
    assert values["mean_batch_latency_ms"] == 40
    assert not any("prefill" in name or "decode" in name for name in values)


def test_a_batch_with_a_failed_request_is_left_out() -> None:
    rows = rows_of([[(0, 10, 30), (0, 10, 900)], [(0, 10, 50), (0, 10, 60)]])
    status = rows.status.copy()
    status[1] = Status.TIMEOUT
    values = metrics_of(replace(rows, status=status))
    assert values["p99_batch_latency_ms"] == values["p10_batch_latency_ms"] == 60
    assert values["batch_decode_throughput"] == pytest.approx(8 / 0.050)


def test_no_row_is_no_metric() -> None:
    empty = rows_of([[(0, 10, 30)]]).where(np.array([False]))
    assert metrics_of(empty) == {"batches": 0}


# Pacing


def test_pacing_releases_a_batch_when_the_one_before_has_ended() -> None:
    pacing = Batches(5, 2)
    pacing.start(100)
    assert pacing.wake_ns == 100
    assert list(pacing.next(100)) == [0, 1] and pacing.wake_ns == NEVER
    assert pacing.scheduled_ns(0) == pacing.ready_ns(1) == 100
    assert list(pacing.next(150)) == []  # woken for nothing
    assert list(pacing.next(200, finished=1)) == []
    assert list(pacing.next(300, finished=0)) == [2, 3] and pacing.scheduled_ns(2) == 300
    assert list(pacing.next(400, finished=2)) == []
    assert list(pacing.next(500, finished=3)) == [4]
    assert list(pacing.next(600, finished=4)) == []
