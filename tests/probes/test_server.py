"""The probe ``server``: its counters as differences and series, unknown where they cannot be known."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.probes.conftest import MetricsServer

from benchhydra.facts import declared_facts
from benchhydra.probes import ProbeTarget
from benchhydra.probes.server import METRICS, ServerProbe, parse_metrics, read_metrics

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
    return series, dict(probe.stop())


def test_counters_are_summed_over_engines_and_unknown_where_absent() -> None:
    assert parse_metrics(TEXT) == {"prefix_cache_hits": 7.0, "prefix_cache_queries": 20.0}


def test_a_fraction_is_the_mean_over_engines() -> None:
    lines = ['vllm:kv_cache_usage_perc{engine="0"} 0.25', 'vllm:kv_cache_usage_perc{engine="1"} 0.75']
    assert parse_metrics("\n".join(lines)) == {"kv_cache_usage_fraction": 0.5}


def test_the_newer_of_two_names_counts() -> None:
    text = "vllm:gpu_cache_usage_perc 0.1\nvllm:kv_cache_usage_perc 0.2\n"
    assert parse_metrics(text) == {"kv_cache_usage_fraction": 0.2}


def test_labels_may_hold_anything() -> None:
    text = 'vllm:num_requests_running{a="} 7",b="\\"} 8"} 3 1700000000\nvllm:num_requests_running_total 9\n'
    assert parse_metrics(text) == {"requests_running": 3.0}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "many"])
def test_a_value_that_is_no_number_is_unknown(value: str) -> None:
    assert parse_metrics(f"vllm:num_requests_running {value}\n") == {}


@given(st.text())
def test_read_metrics_accepts_any_text(text: str) -> None:
    assert all(isinstance(value, float) for value in parse_metrics(text).values())


NAMES = sorted({source for metric in METRICS if not metric.mean for source in metric.sources})
LABEL_TEXTS = st.text(st.characters(exclude_characters="\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", codec="utf-8"))


@given(st.lists(st.tuples(st.sampled_from(NAMES), LABEL_TEXTS, st.integers(0, 10**9)), min_size=1))
def test_it_reads_what_the_reference_parser_reads(rows: list[tuple[str, str, int]]) -> None:
    escaped = [(name, text.replace("\\", "\\\\").replace('"', '\\"'), value) for name, text, value in rows]
    text = "".join(f'{name}{{a="{label}"}} {value}\n' for name, label, value in escaped)
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    expected = {}
    for metric in METRICS:
        values = [totals[source] for source in metric.sources if source in totals]
        if values:
            expected[metric.name] = values[0]
    assert parse_metrics(text) == expected


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
    assert read_metrics(target_of(metrics_server)) == {}


def test_a_sample_that_fails_is_missing_and_a_last_one_that_fails_is_an_error(metrics_server: MetricsServer) -> None:
    one, two = "vllm:num_preemptions_total 1\n", "vllm:num_preemptions_total 2\n"
    series, facts = observed(metrics_server, one, None, two)
    assert (series, facts) == ({"preemptions": [0, 1]}, {"preemptions": 1})
    with pytest.raises(ConnectionError, match="/metrics"):
        observed(metrics_server, one, None)


def test_a_server_that_is_not_there_is_silent() -> None:
    probe = ServerProbe()
    probe.start(ProbeTarget(client_pid=os.getpid(), base_url="http://127.0.0.1:1"))
    assert list(probe.sample()) == []
    assert probe.stop() == {}
    assert not probe.applies(ProbeTarget(client_pid=os.getpid()))


def test_each_counter_is_a_declared_fact() -> None:
    counters = [metric for metric in METRICS if metric.fact_name]
    assert {metric.fact_name for metric in counters} <= declared_facts().keys()
    assert {"prefix_cache_queries", "prefix_cache_hits", "preemptions"} <= {metric.fact_name for metric in counters}


def test_a_key_is_not_in_the_repr_of_a_target() -> None:
    assert "secret" not in repr(ProbeTarget(client_pid=1, headers={"Authorization": "Bearer secret"}))
