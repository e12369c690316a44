"""The server's own view of a run: its figures over the window, and the rules that compare it with the client's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.test_validity import MS, facts, rows

from benchhydra.metrics import summarize
from benchhydra.records import Phase, Records
from benchhydra.result import Verdict
from benchhydra.series import Series
from benchhydra.validity import ValidityLimits, judge
from benchhydra.window import Window
from benchhydra.witnesses import witnesses

INTERVAL_NS = 250 * MS
GAP_MS, CHUNKS = 10.0, 11
PATH: dict[str, Any] = {"server_answer_ms": 2.0, "server_connect_ms": 0.1}


def streamed(count: int = 200, **columns: Any) -> Records:
    """A healthy run of answers of 11 chunks, one each 10 ms."""
    made = rows(count, **columns)
    gaps_ns = np.full(count * (CHUNKS - 1), GAP_MS * MS, dtype=np.float32)
    offsets = np.arange(count + 1, dtype=np.int64) * (CHUNKS - 1)
    tokens = np.full(count, CHUNKS, dtype=np.int32)
    return dataclasses.replace(
        made, gaps_ns=gaps_ns, gap_offsets=offsets, output_tokens=tokens, asked_output_tokens=tokens
    )


def sample_times_ns(records: Records) -> Any:
    """Sample times from just before the run to just after it."""
    return np.arange(records.sent_ns.min() - MS, records.done_ns.max() + INTERVAL_NS, INTERVAL_NS, dtype=np.int64)


def counted(times_ns: Any, ends_ns: Any, values_ms: Any) -> tuple[Any, Any]:
    """The sum and the count of what ended until each sample."""
    ended = ends_ns[None, :] <= times_ns[:, None]
    return (ended * values_ms[None, :]).sum(axis=1), ended.sum(axis=1).astype(float)


def view(
    records: Records,
    *,
    ttft_ms: float = 0.5,
    e2el_ms: float = 0.5,
    queue_ms: float = 10.0,
    more: int = 0,
    gauges: dict[str, Any] | None = None,
) -> tuple[Series, ...]:
    """The series of a server whose figures are lower than the client's by ``ttft_ms`` and ``e2el_ms``.

    more: requests of somebody else. gauges: values by name, one for all samples or one for each.
    """
    times_ns = sample_times_ns(records)
    client_ttft_ms = (records.first_ns - records.sent_ns) / MS
    client_e2el_ms = (records.last_ns - records.sent_ns) / MS
    times = {
        "ttft": (records.first_ns, client_ttft_ms - ttft_ms),
        "e2el": (records.last_ns, client_e2el_ms - e2el_ms),
        "queue": (records.last_ns, np.full(len(records), queue_ms)),
        "prefill": (records.last_ns, client_ttft_ms - ttft_ms - queue_ms - 1),
        "decode": (records.last_ns, client_e2el_ms - client_ttft_ms),
        "itl": (
            (records.first_ns[:, None] + np.arange(1, CHUNKS) * GAP_MS * MS).ravel(),
            np.full(len(records) * (CHUNKS - 1), GAP_MS),
        ),
    }
    values: dict[str, tuple[str, Any]] = {}
    for name, (ends_ns, values_ms) in times.items():
        sums, counts = counted(times_ns, ends_ns, values_ms)
        others = more * np.arange(len(times_ns)) / (len(times_ns) - 1)
        values[f"{name}_sum_ms"] = ("ms", sums + others * 1000)
        values[f"{name}_count"] = ("requests", counts + others)
    for name, value in (gauges or {}).items():
        values[name] = ("", value * np.ones(len(times_ns)))
    return tuple(
        Series(name=f"server.{name}", unit=unit, times_ns=times_ns, values=np.asarray(column, dtype=np.float64))
        for name, (unit, column) in values.items()
    )


def window(records: Records, series: tuple[Series, ...], **known: Any) -> Window:
    return Window.of(records, facts=facts(**{**PATH, **known}), series=series)


def metrics(of: Window) -> dict[str, float]:
    has = {"requests", "latency", "stream", "tokens"} | {series.name for series in of.series}
    return {metric.key: metric.value for metric in summarize(of, has)}


def judged(records: Records, series: tuple[Series, ...], **known: Any) -> tuple[list[str], str]:
    """The names of the rules that object, and their sentences."""
    verdict, reasons = judge(window(records, series, **known), ValidityLimits())
    assert verdict in (Verdict.VALID, Verdict.SUSPECT)
    return [reason.check for reason in reasons], " ".join(reason.text for reason in reasons)


def test_the_parts_add_up_to_the_clients_mean() -> None:
    records = streamed()
    figures = metrics(window(records, view(records, ttft_ms=0.7, e2el_ms=0.9)))
    assert figures["outside_server_ttft_ms"] == pytest.approx(0.7)
    assert figures["outside_server_e2el_ms"] == pytest.approx(0.9)
    assert figures["outside_server_itl_ms"] == pytest.approx(0, abs=1e-6)
    parts = ("server_queue_ms", "server_prefill_ms", "server_decode_ms", "server_frontend_ms", "outside_server_e2el_ms")
    assert sum(figures[part] for part in parts) == pytest.approx(figures["mean_e2el_ms"])
    assert figures["server_frontend_ms"] == pytest.approx(1 + 0.7 - 0.9)
    assert figures["server_queue_ms"] == pytest.approx(10)


def test_only_the_window_counts() -> None:
    phase = np.where(np.arange(200) < 60, Phase.WARMUP, np.where(np.arange(200) > 160, Phase.COOLDOWN, 0))
    records = streamed(ttft_ms=np.where(np.arange(200) < 10, 400.0, 50.0), phase=phase)
    of = window(records, view(records, ttft_ms=2.0))
    both = witnesses(of, "ttft")
    assert both is not None and both.same_count
    assert both.client_ms < 60  # the slow requests of the warm-up are in neither
    assert both.outside_ms == pytest.approx(2.0)


def test_gauges_counters_and_ratios() -> None:
    records = streamed()
    ramp = np.arange(len(sample_times_ns(records)), dtype=float)
    gauges = {
        "requests_running": 4.0,
        "requests_waiting": ramp,
        "kv_cache_usage_fraction": 0.5,
        "prefix_cache_queries": 100 * ramp,
        "prefix_cache_hits": 25 * ramp,
        "preemptions": ramp,
        "generation_tokens": 50 * ramp,
        "draft_tokens": 30 * ramp,
        "accepted_tokens": 15 * ramp,
        "drafts": 10 * ramp,
        "acceptance_fraction": 0.5,
    }
    figures = metrics(window(records, view(records, gauges=gauges)))
    assert (figures["server_running"], figures["server_max_running"]) == (4, 4)
    assert figures["server_max_waiting"] == ramp[-2]
    assert figures["server_kv_cache_usage"] == figures["server_acceptance_fraction"] == 0.5
    assert figures["server_prefix_hit_fraction"] == 0.25
    assert figures["server_accepted_length"] == 2.5
    assert figures["server_drafted_fraction"] == pytest.approx(0.6)
    assert figures["server_generation_throughput"] == pytest.approx(50 / 0.25)
    assert figures["server_preemptions_per_minute"] == pytest.approx(60 / 0.25)


def test_a_server_that_stops_answering_has_no_figures() -> None:
    records = streamed()
    cut = tuple(
        dataclasses.replace(series, times_ns=series.times_ns[:-3], values=series.values[:-3])
        for series in view(records)
    )
    figures = metrics(window(records, cut))
    assert not any(name.startswith(("server_", "outside_server")) for name in figures)


def test_a_server_that_restarts_has_no_figures_of_counters() -> None:
    records = streamed()
    times_ns = sample_times_ns(records)
    since_restart = np.arange(len(times_ns), dtype=float)
    since_restart[len(times_ns) // 2 :] -= len(times_ns) // 2
    restarted = tuple(
        dataclasses.replace(series, values=since_restart) if series.name.startswith("server.ttft") else series
        for series in view(records, gauges={"preemptions": since_restart, "prompt_tokens": np.arange(len(times_ns))})
    )
    figures = metrics(window(records, restarted))
    assert "server_prompt_throughput" in figures and "server_e2el_ms" in figures
    assert not figures.keys() & {"server_preemptions_per_minute", "server_ttft_ms", "outside_server_ttft_ms"}


def test_requests_of_others_leave_no_comparison() -> None:
    records = streamed()
    figures = metrics(window(records, view(records, more=20)))
    assert "outside_server_ttft_ms" not in figures and "server_ttft_ms" in figures
    assert judged(records, view(records, more=20, ttft_ms=30, e2el_ms=30)) == ([], "")


def test_witnesses_that_agree_are_valid() -> None:
    records = streamed()
    assert judged(records, view(records)) == ([], "")
    assert judged(records, view(records, ttft_ms=6.5, e2el_ms=6.5)) == ([], "")  # 5 ms + the path's 2 ms


def test_witnesses_that_disagree_are_suspect_with_both_figures() -> None:
    records = streamed(ttft_ms=42.0)
    checks, text = judged(records, view(records, ttft_ms=11.0, e2el_ms=11.0))
    assert checks == ["witnesses"]
    both = witnesses(window(records, view(records, ttft_ms=11.0)), "ttft")
    assert both is not None
    assert f"the server says {both.server_ms:.4g} ms, the client {both.client_ms:.4g}" in text
    assert "mean TTFT" in text and "the path explains 2." in text


def test_a_delay_of_the_last_token_alone_is_found_in_the_latency() -> None:
    records = streamed()
    checks, text = judged(records, view(records, ttft_ms=1.0, e2el_ms=40.0))
    assert checks == ["witnesses"] and "mean E2E latency" in text


def test_tokens_that_arrive_before_they_exist_are_suspect() -> None:
    records = streamed()
    checks, text = judged(records, view(records, ttft_ms=-20.0))
    assert checks == ["witnesses"] and "before they exist" in text


def test_a_slow_network_is_honest() -> None:
    """The path delays a small request as much as it delays tokens."""
    records = streamed()
    far = view(records, ttft_ms=100.0, e2el_ms=100.0)
    assert judged(records, far, server_answer_ms=101.0, server_connect_ms=99.0)[0] == []
    assert judged(records, far, server_answer_ms=101.0, server_connect_ms=0.1)[0] == []  # a proxy with a delay
    assert judged(records, far)[0] == ["witnesses"]


def test_requests_that_arrive_together_wait_for_the_front_end() -> None:
    """Twenty at once, each 2 ms of work for the server's HTTP: a mean of 21 ms is no disagreement."""
    sent = np.repeat(np.arange(10) * 2_000 * MS, 20).astype(np.int64)
    records = streamed()
    moved = {name: getattr(records, name) - records.sent_ns + sent for name in ("first_ns", "last_ns", "done_ns")}
    records = dataclasses.replace(records, **moved, sent_ns=sent, scheduled_ns=sent, first_byte_ns=moved["first_ns"])
    assert judged(records, view(records, ttft_ms=24.0, e2el_ms=24.0), offered_rps=10.0)[0] == []
    assert judged(records, view(records, ttft_ms=34.0, e2el_ms=34.0), offered_rps=10.0)[0] == ["witnesses"]


def test_text_that_comes_some_tokens_later_is_honest() -> None:
    """With two tokens a character, the first text comes one step after the first token."""
    records = streamed()
    tokens = np.full(len(records), 2 * CHUNKS, dtype=np.int32)
    records = dataclasses.replace(records, output_tokens=tokens, asked_output_tokens=tokens)
    assert judged(records, view(records, ttft_ms=15.0))[0] == []
    assert judged(streamed(), view(streamed(), ttft_ms=15.0))[0] == ["witnesses"]


def test_marks_before_the_first_text_are_honest() -> None:
    """``<think>`` is one token without a chunk: the text is a step later, the end of the answer is not."""
    tokens = np.full(200, CHUNKS + 1, dtype=np.int32)
    records = dataclasses.replace(streamed(), output_tokens=tokens, asked_output_tokens=tokens)
    assert judged(records, view(records, ttft_ms=10.0))[0] == []
    assert judged(records, view(records, ttft_ms=19.0))[0] == ["witnesses"]  # two steps
    assert judged(records, view(records, ttft_ms=10.0, e2el_ms=10.0))[0] == ["witnesses"]  # the path delays all
    assert judged(streamed(), view(streamed(), ttft_ms=10.0))[0] == ["witnesses"]


def test_tool_calls_that_a_parser_holds_back_are_honest() -> None:
    """The tokens of a call have no chunk until the parser knows the call: the text is later, the end is not."""
    tokens = np.full(200, CHUNKS + 20, dtype=np.int32)
    plain = dataclasses.replace(streamed(ttft_ms=400.0), output_tokens=tokens, asked_output_tokens=tokens)
    calling = dataclasses.replace(plain, labels={"tool_calls": np.ones(200, dtype=np.int32)})
    assert judged(calling, view(calling, ttft_ms=90.0))[0] == []
    assert judged(plain, view(plain, ttft_ms=90.0))[0] == ["witnesses"]
    assert judged(calling, view(calling, ttft_ms=300.0))[0] == ["witnesses"]  # more than the time of 20 tokens
    assert judged(calling, view(calling, ttft_ms=90.0, e2el_ms=90.0))[0] == ["witnesses"]


@pytest.mark.parametrize("unknown", ["offered_rps", "stationary", "server_answer_ms"])
def test_witnesses_are_not_judged_without_a_schedule_or_a_path(unknown: str) -> None:
    records = streamed()
    assert judged(records, view(records, ttft_ms=40.0), **{unknown: None})[0] == []


def test_a_full_kv_cache_is_suspect_if_requests_wait_for_room() -> None:
    records = streamed()
    full = {"kv_cache_usage_fraction": 0.98}
    checks, text = judged(records, view(records, gauges=full | {"requests_waiting": 3.0}))
    assert checks == ["kv_cache_full"]
    assert "100 % of the window (limit 10 %)" in text and "3 requests waited" in text
    assert judged(records, view(records, gauges=full | {"requests_waiting": 0.0}))[0] == []
    assert judged(records, view(records, gauges={"kv_cache_usage_fraction": 0.6, "requests_waiting": 3.0}))[0] == []


def test_a_load_sent_all_at_once_may_fill_the_kv_cache() -> None:
    records = streamed()
    full = view(records, gauges={"kv_cache_usage_fraction": 1.0, "requests_waiting": 3.0})
    assert judged(records, full, offered_rps=None, stationary=False)[0] == []
    assert judged(records, full, offered_rps=None, stationary=False, max_in_flight=64)[0] == ["kv_cache_full"]


def test_a_full_kv_cache_is_not_said_twice() -> None:
    records = streamed()
    full = view(records, gauges={"kv_cache_usage_fraction": 1.0, "requests_waiting": 3.0})
    assert judged(records, full, preemptions=40.0)[0] == ["preemptions"]


def test_swapped_requests_are_suspect() -> None:
    records = streamed()
    checks, text = judged(records, view(records, gauges={"requests_swapped": 2.0}))
    assert checks == ["swapping"] and "up to 2 requests" in text
    assert judged(records, view(records, gauges={"requests_swapped": 0.0}))[0] == []


def drafting(records: Records, begin: float, end: float, noise: float = 0.02) -> tuple[Series, ...]:
    """200 drafted tokens between two samples, of which a fraction is accepted that moves from one value to another."""
    count = len(sample_times_ns(records))
    rates = np.linspace(begin, end, count) + np.random.default_rng(7).normal(0, noise, count)
    drafted = 200.0 * np.arange(count)
    return view(records, gauges={"draft_tokens": drafted, "accepted_tokens": np.cumsum(200 * rates)})


def test_an_acceptance_rate_that_moves_is_suspect() -> None:
    records = streamed(600)
    checks, text = judged(records, drafting(records, 0.8, 0.4))
    assert checks == ["acceptance"]
    assert "accepted 65 % of the drafted tokens" in text and "47 %" in text
    assert judged(records, drafting(records, 0.4, 0.8))[0] == ["acceptance"]


def test_an_acceptance_rate_that_scatters_is_valid() -> None:
    records = streamed(600)
    assert judged(records, drafting(records, 0.6, 0.6, noise=0.15))[0] == []
    assert judged(records, drafting(records, 0.62, 0.58))[0] == []


def test_an_overloaded_servers_queue_is_in_the_sentence() -> None:
    records = streamed(ttft_ms=50.0)
    late = (np.arange(len(records)) * 8 * MS).astype(np.int64)
    records = dataclasses.replace(
        records,
        first_ns=records.first_ns + late,
        first_byte_ns=records.first_ns + late,
        last_ns=records.last_ns + late,
        done_ns=records.done_ns + late,
    )
    count = len(sample_times_ns(records))
    of = window(records, view(records, gauges={"requests_waiting": np.arange(count) * 9.0}))
    _, reasons = judge(of, ValidityLimits())
    sentences = [reason.text for reason in reasons if reason.check == "overloaded"]
    assert len(sentences) == 1 and "the server's queue: 9 requests, then" in sentences[0]
