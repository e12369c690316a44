"""The probe ``server``: its counters as differences and series, unknown where they cannot be known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.probes.conftest import MetricsServer

from benchhydra.facts import declared_facts
from benchhydra.probes import ProbeTarget
from benchhydra.probes.server import COUNTER_FACTS, LONGEST_INTERVAL_S, ServerProbe, read_metrics
from benchhydra.probes.server_metrics import COUNTERS, GAUGES, Reading, parse_engines, parse_metrics

DATA = Path(__file__).parent / "data"
TEXT = """# TYPE vllm:prefix_cache_hits counter
vllm:prefix_cache_hits_total{engine="0"} 3.0
vllm:prefix_cache_hits_total{engine="1"} 4.0
vllm:prefix_cache_hits_created{engine="0"} 1.7e9
# TYPE vllm:gpu_prefix_cache_queries counter
vllm:gpu_prefix_cache_queries_total 20.0
"""


def target_of(server: MetricsServer) -> ProbeTarget:
    return ProbeTarget(client_pid=os.getpid(), base_url=server.base_url, headers={"Authorization": "Bearer key"})


def observed(server: MetricsServer, *texts: str | None) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Series and facts of a probe whose server says these things, one after another; None: it answers with 500."""
    probe = ServerProbe()
    server.text = texts[0]
    assert probe.applies(target_of(server))
    probe.start(target_of(server))
    series: dict[str, list[float]] = {}
    for text in texts:
        server.text, server.status = text, 500 if text is None else 200
        for sample in probe.sample():
            series.setdefault(sample.name, []).append(sample.value)
    facts = dict(probe.stop())
    path = {name: facts.pop(name, None) for name in ("server_answer_ms", "server_connect_ms", "server_readings")}
    assert path["server_readings"] == (len(texts) if series else None)
    assert facts.pop("server_metrics_engine", None) == ("vllm" if series else None)
    return series, facts


def counters(text: str) -> dict[str, float]:
    """The counters without a label of their own, by name."""
    return {name: value for (name, label), value in parse_metrics(text).counters.items() if not label}


def data_parallel_text(running: tuple[float, float], tokens: tuple[float, float]) -> str:
    lines = [
        *(f'vllm:num_requests_running{{engine="{i}",model_name="m"}} {value}' for i, value in enumerate(running)),
        *(f'vllm:generation_tokens_total{{engine="{i}",model_name="m"}} {value}' for i, value in enumerate(tokens)),
    ]
    return "\n".join([*lines, ""])


def test_the_engines_of_a_data_parallel_server_have_figures_of_their_own(metrics_server: MetricsServer) -> None:
    probe = ServerProbe()
    metrics_server.text = data_parallel_text((0, 0), (100, 50))
    assert probe.applies(target_of(metrics_server))
    probe.start(target_of(metrics_server))
    list(probe.sample())
    metrics_server.text = data_parallel_text((2, 3), (130, 90))
    samples = list(probe.sample())
    facts = probe.stop()
    values = {(sample.name, sample.labels.get("replica")): sample.value for sample in samples}
    assert values["requests_running", None] == 5
    assert [values["replica_requests_running", number] for number in "01"] == [2, 3]
    assert [values["replica_generation_tokens", number] for number in "01"] == [30, 40]
    assert facts["server_generation_tokens"] == 70


def test_one_engine_and_lines_of_no_engine_are_one_reading() -> None:
    (reading,) = parse_engines('vllm:num_requests_running{engine="0"} 2\nvllm:prompt_tokens_total 7\n')
    assert reading == parse_metrics('vllm:num_requests_running{engine="0"} 2\nvllm:prompt_tokens_total 7\n')
    assert parse_engines("") == [Reading()]


def test_counters_are_summed_over_engines_and_unknown_where_absent() -> None:
    assert counters(TEXT) == {"prefix_cache_hits": 7.0, "prefix_cache_queries": 20.0}


def test_a_fraction_is_the_mean_over_engines() -> None:
    lines = ['vllm:kv_cache_usage_perc{engine="0"} 0.25', 'vllm:kv_cache_usage_perc{engine="1"} 0.75']
    assert parse_metrics("\n".join(lines)).gauges == {"kv_cache_usage_fraction": 0.5}


def test_the_newer_of_two_names_counts() -> None:
    text = "vllm:gpu_cache_usage_perc 0.1\nvllm:kv_cache_usage_perc 0.2\n"
    assert parse_metrics(text).gauges == {"kv_cache_usage_fraction": 0.2}


def test_labels_may_hold_anything() -> None:
    text = 'vllm:num_requests_running{a="} 7",b="\\"} 8"} 3 1700000000\nvllm:num_requests_running_total 9\n'
    assert parse_metrics(text).gauges == {"requests_running": 3.0}


def test_accepted_tokens_are_kept_apart_by_position() -> None:
    name = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
    text = "".join(
        f'{name}{{engine="{engine}",position="{position}"}} {count}\n'
        for engine, position, count in ((0, 0, 9), (0, 1, 4), (1, 0, 1), (1, 1, 2))
    )
    assert parse_metrics(text).counters == {
        ("accepted_tokens_by_position", "0"): 10.0,
        ("accepted_tokens_by_position", "1"): 6.0,
    }


def test_a_histogram_is_its_sum_in_ms_and_its_count() -> None:
    name = "vllm:request_queue_time_seconds"
    text = f'{name}_bucket{{le="0.3"}} 4\n{name}_sum 0.25\n{name}_count 4\n{name}_created 1.7e9\n'
    assert parse_metrics(text).times == {"queue": (250.0, 4.0)}
    assert parse_metrics(f"{name}_sum 0.25\n").times == {}


def test_sglangs_names_mean_the_same() -> None:
    reading = parse_metrics((DATA / "sglang.txt").read_text())
    assert reading.engine == "sglang"
    assert reading.gauges == {
        "requests_running": 3.0,
        "requests_waiting": 2.0,
        "kv_cache_usage_fraction": 0.25,
        "acceptance_fraction": 0.5,
    }
    assert {name: value for (name, _), value in reading.counters.items()} == {
        "prompt_tokens": 120.0,
        "generation_tokens": 40.0,
        "prefix_cache_queries": 120.0,
        "prefix_cache_hits": 16.0,
        "preemptions": 1.0,
        "drafts": 12.0,
    }
    assert reading.times == {"queue": (500, 4), "ttft": (800, 4), "itl": (360, 36), "e2el": (1200, 4)}


def test_llamacpps_names_mean_the_same() -> None:
    """The file is what a real server of llama.cpp said after one request."""
    reading = parse_metrics((DATA / "llamacpp.txt").read_text())
    assert (reading.engine, reading.times) == ("llamacpp", {})
    assert reading.gauges == {"requests_running": 0.0, "requests_waiting": 0.0}
    assert {name: value for (name, _), value in reading.counters.items()} == {
        "prompt_tokens": 3.0,
        "generation_tokens": 20.0,
        "prefix_cache_queries": 3.0,
        "prefix_cache_hits": 0.0,
        "drafts": 0.0,
        "draft_tokens": 0.0,
        "accepted_tokens": 0.0,
    }


@pytest.mark.parametrize("value", ["NaN", "+Inf", "many"])
def test_a_value_that_is_no_number_is_unknown(value: str) -> None:
    assert parse_metrics(f"vllm:num_requests_running {value}\n").gauges == {}


@given(st.text())
def test_read_metrics_accepts_any_text(text: str) -> None:
    assert all(isinstance(value, float) for value in parse_metrics(text).gauges.values())


SIMPLE = [quantity for quantity in (*GAUGES, *COUNTERS) if not quantity.mean and not quantity.by and quantity.vllm]
SOURCES = sorted({source for quantity in SIMPLE for source in quantity.vllm})
LABEL_TEXTS = st.text(st.characters(exclude_characters="\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", codec="utf-8"))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SOURCES), LABEL_TEXTS, st.integers(0, 10**9)), min_size=1))
def test_it_reads_what_the_reference_parser_reads(rows: list[tuple[str, str, int]]) -> None:
    escaped = [(name, text.replace("\\", "\\\\").replace('"', '\\"'), value) for name, text, value in rows]
    text = "".join(f'{name}{{a="{label}"}} {value}\n' for name, label, value in escaped)
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    expected = {}
    for quantity in SIMPLE:
        values = [totals[source] for source in quantity.vllm if source in totals]
        if values:
            expected[quantity.name] = values[0]
    assert {**parse_metrics(text).gauges, **counters(text)} == expected


def test_facts_are_differences_and_series_begin_at_zero(metrics_server: MetricsServer) -> None:
    texts = [
        f"vllm:prompt_tokens_total {tokens}\nvllm:num_preemptions_total 2\nvllm:num_requests_running {running}\n"
        for tokens, running in ((100, 0), (130, 5), (180, 1))
    ]
    series, facts = observed(metrics_server, *texts)
    assert series == {"prompt_tokens": [0, 30, 80], "preemptions": [0, 0, 0], "requests_running": [0, 5, 1]}
    assert facts == {"server_prompt_tokens": 80, "preemptions": 0}
    assert metrics_server.headers["Authorization"] == "Bearer key"


def test_a_restart_in_between_is_unknown_and_no_negative_number(metrics_server: MetricsServer) -> None:
    before = "vllm:prompt_tokens_total 9\nvllm:num_preemptions_total 2\n"
    after = "vllm:prompt_tokens_total 5\nvllm:num_preemptions_total 2\n"
    series, facts = observed(metrics_server, before, after)
    assert facts == {"preemptions": 0}
    assert series == {"prompt_tokens": [0], "preemptions": [0, 0]}


@pytest.mark.parametrize("text", ["", "<html>what?</html>"])
def test_without_readable_metrics_it_is_silent(metrics_server: MetricsServer, text: str) -> None:
    assert observed(metrics_server, text, "vllm:prompt_tokens_total 9\n") == ({}, {})


def test_a_server_that_says_404_is_silent(metrics_server: MetricsServer) -> None:
    metrics_server.text, metrics_server.status = TEXT, 404
    assert read_metrics(target_of(metrics_server)) == Reading()


def test_a_sample_that_fails_is_missing_and_a_last_one_that_fails_is_an_error(metrics_server: MetricsServer) -> None:
    one, two = "vllm:num_preemptions_total 1\n", "vllm:num_preemptions_total 2\n"
    series, facts = observed(metrics_server, one, None, two)
    assert (series, facts) == ({"preemptions": [0, 1]}, {"preemptions": 1})
    with pytest.raises(ConnectionError, match="/metrics"):
        observed(metrics_server, one, None)


def test_growth_is_unknown_where_the_reading_before_the_load_failed(metrics_server: MetricsServer) -> None:
    probe = ServerProbe()
    metrics_server.text = "vllm:num_preemptions_total 1\n"
    probe.start(target_of(metrics_server))
    for status in (500, 200, 200):
        metrics_server.status = status
        list(probe.sample())
    with pytest.raises(ConnectionError, match="just before the load"):
        probe.stop()


def test_a_server_that_is_not_there_is_silent() -> None:
    probe = ServerProbe()
    probe.start(ProbeTarget(client_pid=os.getpid(), base_url="http://127.0.0.1:1"))
    assert list(probe.sample()) == []
    assert probe.stop() == {}
    assert not probe.applies(ProbeTarget(client_pid=os.getpid()))


def text_of_times(ttft_ms: float, count: int) -> str:
    name = "vllm:time_to_first_token_seconds"
    return f"{name}_sum {ttft_ms / 1e3}\n{name}_count {count}\n"


def test_times_are_differences_and_means_of_the_last_interval(metrics_server: MetricsServer) -> None:
    texts = [text_of_times(500, 5), text_of_times(700, 7), text_of_times(700, 7), text_of_times(1000, 8)]
    series, _ = observed(metrics_server, *texts)
    assert series["ttft_sum_ms"] == pytest.approx([0, 200, 200, 500])
    assert series["ttft_count"] == [0, 2, 2, 3]
    assert series["ttft_ms"] == pytest.approx([100, 300])  # nothing was counted in the second interval


def test_a_counter_that_appears_during_the_load_began_at_zero(metrics_server: MetricsServer) -> None:
    first = "sglang:prompt_tokens_total 7\n"
    series, _ = observed_sglang(metrics_server, first, f"{first}sglang:cached_tokens_total 3\n")
    assert series["prefix_cache_hits"] == [3]


def observed_sglang(server: MetricsServer, *texts: str) -> tuple[dict[str, list[float]], dict[str, Any]]:
    probe, series = ServerProbe(), dict[str, list[float]]()
    server.text = texts[0]
    probe.start(target_of(server))
    for text in texts:
        server.text = text
        for sample in probe.sample():
            series.setdefault(sample.name, []).append(sample.value)
    return series, dict(probe.stop())


def test_accepted_tokens_by_position_are_a_fact_and_series_with_labels(metrics_server: MetricsServer) -> None:
    name = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
    texts = [f'{name}{{position="0"}} {first}\n{name}{{position="1"}} {second}\n' for first, second in ((5, 3), (9, 4))]
    series, facts = observed(metrics_server, *texts)
    assert facts == {"server_accepted_by_position": (4.0, 1.0)}
    assert series == {"accepted_tokens_by_position": [0, 0, 4, 1]}


def test_it_asks_less_often_where_answering_is_work(metrics_server: MetricsServer) -> None:
    metrics_server.text = TEXT
    intervals_s = []
    for delay_s in (0.0, 0.02, 0.2):
        metrics_server.delay_s = delay_s
        probe = ServerProbe()
        probe.start(target_of(metrics_server))
        intervals_s.append(probe.min_interval_s)
    assert intervals_s[0] < 4 <= intervals_s[1]  # 20 ms of work are 0.5 % of 4 s
    assert intervals_s[2] == LONGEST_INTERVAL_S


def test_waiting_for_an_answer_is_no_work(metrics_server: MetricsServer) -> None:
    metrics_server.text = TEXT
    probe = ServerProbe()
    probe.start(target_of(metrics_server))
    idle_s = probe.min_interval_s
    metrics_server.delay_s = 0.2  # the server is busy, as it will be under load
    list(probe.sample())
    assert probe.min_interval_s == idle_s


def test_metrics_that_hang_from_the_start_are_said_to_be_missing(
    metrics_server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchhydra.probes.server.TIMEOUT_S", 0.1)
    metrics_server.delay_s = 0.5
    with pytest.raises(TimeoutError, match="/metrics did not answer"):
        ServerProbe().start(target_of(metrics_server))


def test_each_counter_is_a_declared_fact() -> None:
    assert set(COUNTER_FACTS.values()) <= declared_facts().keys()
    assert COUNTER_FACTS.keys() <= {quantity.name for quantity in COUNTERS}
    assert {"prefix_cache_queries", "prefix_cache_hits", "preemptions"} <= set(COUNTER_FACTS.values())


def test_a_key_is_not_in_the_repr_of_a_target() -> None:
    assert "secret" not in repr(ProbeTarget(client_pid=1, headers={"Authorization": "Bearer secret"}))
