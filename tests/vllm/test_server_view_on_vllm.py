"""Runs on real vLLM with a known story: the server's own series and figures tell it, and agree with the client's.

Three servers: one with two slots and a prefix cache, one with a small KV cache and no prefix cache, one that drafts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.vllm.servers import CORES, DRAFTING, SMALL_CACHE, TWO_SLOTS, VllmServers
from tests.vllm.test_oracle import run

from benchhydra.artifacts import SERIES_FILE
from benchhydra.result import Result, Verdict
from benchhydra.series import Series, read_series
from benchhydra.target import Target

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.alone,
    pytest.mark.timeout(900),
    pytest.mark.skipif(len(CORES) < 2, reason="one core for the server, one for the client"),
]

PARTS = ("server_queue_ms", "server_prefill_ms", "server_decode_ms", "server_frontend_ms", "outside_server_e2el_ms")
#: The witnesses agree within this on a machine that does nothing else.
AGREEMENT_MS = 3.0
SLOTS = TWO_SLOTS["max_num_seqs"]


@pytest.fixture
def two_slots(vllm_servers: VllmServers) -> str:
    return vllm_servers.url(**TWO_SLOTS)


@pytest.fixture
def small_cache(vllm_servers: VllmServers) -> str:
    return vllm_servers.url(**SMALL_CACHE)


@pytest.fixture
def drafting(vllm_servers: VllmServers) -> str:
    return vllm_servers.url(**DRAFTING)


def measured(url: str, tiny: Target, out: Path, *words: str) -> tuple[Result, dict[str, Series]]:
    """The result of a load on a running server, and its series by name."""
    command = ["taskset", "-c", str(CORES[0]), sys.executable, "-m", "benchhydra", "script=serving"]
    command += ["engine=attach", f"engine.base_url={url}"]
    command += ["model=custom", f"model.id={tiny.served_name}", f"model.tokenizer={tiny.tokenizer}", "tracking=none"]
    # random tokens: a greedy answer of a random model is one token again and again, often without text
    command += ["script.fail_on=never", "script.temperature=1.0", f"hydra.run.dir={out}", *words]
    run(command, out.parent)
    return Result.read(out), {series.name: series for series in read_series(out / SERIES_FILE)}


def value(result: Result, metric: str) -> float:
    found = result.value(metric)
    assert found is not None, f"{metric} is absent"
    return found


def checks(result: Result) -> list[str]:
    return [reason.check for reason in result.reasons]


def test_quiet_witnesses_agree_and_the_parts_add_up(two_slots: str, tiny: Target, run_dir: Path) -> None:
    words = ("qps=4", "num_prompts=40", "dataset.prompt_tokens=64", "dataset.output_tokens=24")
    for attempt in range(3):  # something else may run on this machine for a moment
        result, series = measured(two_slots, tiny, run_dir.with_name(f"run-{attempt}"), *words)
        if value(result, "outside_server_ttft_ms") < AGREEMENT_MS:
            break
    assert "witnesses" not in checks(result)
    assert 0 < value(result, "outside_server_e2el_ms") < AGREEMENT_MS
    assert abs(value(result, "outside_server_itl_ms")) < AGREEMENT_MS
    # the first token of some answers is no text yet, so that the client waits for the next one
    late_ms = (1 - value(result, "chunks_per_request") / 24) * value(result, "server_itl_ms")
    assert 0 < value(result, "outside_server_ttft_ms") - late_ms < AGREEMENT_MS
    parts_ms = sum(value(result, part) for part in PARTS)
    assert parts_ms == pytest.approx(value(result, "mean_e2el_ms"), rel=0.05)
    assert value(result, "server_frontend_ms") < 0.05 * parts_ms + AGREEMENT_MS
    assert series["server.e2el_count"].values[-1] == 40
    assert result.metadata["server_metrics_engine"] == "vllm"


def test_a_rate_above_capacity_is_a_queue_at_the_server(two_slots: str, tiny: Target, run_dir: Path) -> None:
    words = ("qps=40", "num_prompts=400", "dataset.prompt_tokens=32", "dataset.output_tokens=16")
    result, series = measured(two_slots, tiny, run_dir, *words)
    waiting = series["server.requests_waiting"]
    assert result.verdict == Verdict.INVALID
    (reason,) = [reason.text for reason in result.reasons if reason.check == "overloaded"]
    assert "the server's queue:" in reason
    assert waiting.values.max() > 50 and waiting.values[-1] == 0
    assert series["server.requests_running"].values.max() == value(result, "server_max_running") == SLOTS
    assert value(result, "server_queue_ms") > 0.9 * value(result, "server_ttft_ms")
    recent = series["server.queue_ms"].values
    assert recent[-1] > 4 * recent[0]  # each second's requests waited longer
    assert sum(value(result, part) for part in PARTS) == pytest.approx(value(result, "mean_e2el_ms"), rel=0.05)


def test_a_prefix_cache_shows_its_hits(two_slots: str, small_cache: str, tiny: Target, tmp_path: Path) -> None:
    lengths = ("dataset.prompt_tokens=300", "dataset.prefix_tokens=256", "dataset.output_tokens=4")
    words = ("qps=4", "num_prompts=16", *lengths)
    with_cache, _ = measured(two_slots, tiny, tmp_path / "with", *words)
    without, _ = measured(small_cache, tiny, tmp_path / "without", *words)
    assert value(with_cache, "server_prefix_hit_fraction") > 0.75
    assert (without.value("server_prefix_hit_fraction") or 0.0) == 0.0
    assert value(with_cache, "server_prefill_ms") < value(without, "server_prefill_ms")


def test_a_small_kv_cache_is_full_and_preempts(small_cache: str, tiny: Target, run_dir: Path) -> None:
    lengths = ("dataset.prompt_tokens=48", "dataset.output_tokens=96")
    words = ("load=concurrency", "load.max_in_flight=16", "num_prompts=80", *lengths)
    result, series = measured(small_cache, tiny, run_dir, *words)
    assert value(result, "server_max_kv_cache_usage") > 0.9
    assert value(result, "server_max_waiting") >= 1
    assert value(result, "server_preemptions_per_minute") > 0
    assert series["server.preemptions"].values[-1] == result.metadata["preemptions"] > 0
    assert checks(result).count("preemptions") == 1 and "kv_cache_full" not in checks(result)


def test_drafted_tokens_are_counted_by_position(drafting: str, tiny: Target, run_dir: Path) -> None:
    # greedy: a random model repeats itself, which n-grams of the answer foresee
    words = ("qps=4", "num_prompts=24", "dataset.prompt_tokens=64", "dataset.output_tokens=48")
    result, series = measured(drafting, tiny, run_dir, *words, "script.temperature=0.0")
    by_position = result.metadata["server_accepted_by_position"]
    assert len(by_position) == 3 and by_position == sorted(by_position, reverse=True)
    assert sum(by_position) == result.metadata["server_accepted_tokens"] > 0
    accepted = value(result, "server_acceptance_fraction")
    assert accepted == pytest.approx(sum(by_position) / result.metadata["server_draft_tokens"], abs=0.05)
    length = 1 + sum(by_position) / result.metadata["server_drafts"]
    assert value(result, "server_accepted_length") == pytest.approx(length, abs=0.1)
    assert series["server.draft_tokens"].values[-1] == result.metadata["server_draft_tokens"]


def test_sampling_leaves_the_server_alone(two_slots: str, tiny: Target, run_dir: Path) -> None:
    """Reading takes the server at most 0.5 % of its time, whatever probes.interval_s asks for."""
    words = ("qps=4", "num_prompts=16", "dataset.prompt_tokens=32", "dataset.output_tokens=8", "probes.interval_s=0.05")
    _, series = measured(two_slots, tiny, run_dir, *words)
    intervals_s = np.diff(series["server.e2el_count"].times_ns)[:-1] / 1e9  # the last one ends with the load
    assert intervals_s.min(initial=np.inf) > 0.2
