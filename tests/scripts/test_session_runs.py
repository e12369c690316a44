"""Conversations and recordings on the fake engine, whose prefix cache is simulated block by block."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.scripts.points import composed, run

from benchhydra.errors import BenchhydraError
from benchhydra.records import Records
from benchhydra.result import Result
from benchhydra.run import load_s_of, spec_of

QUICK = ("engine.ttft_ms=2", "engine.itl_ms=0", "script.fail_on=never", "probes.interval_s=0.05")
SESSIONS = (
    *("dataset=sessions", "load=sessions", "qps=50", "num_prompts=20", "dataset.think_s=0.02", "api=chat"),
    *("dataset.turns=4", "dataset.system_tokens=48", "dataset.prompt_tokens=64", "dataset.output_tokens=64"),
)
#: Prompt tokens of the four turns, and how many of them lie in whole blocks of 16 that were computed before: the system
#: prompt; then the prompt before and its answer but for the last token (112 + 63 = 175 -> 160, ...).
PROMPTS = (112, 240, 368, 496)
HITS = (48, 160, 288, 416)


def value(result: Result, metric: str) -> float:
    found = result.value(metric)
    assert found is not None, metric
    return found


def reasons(result: Result) -> dict[str, str]:
    return {reason.check: reason.text for reason in result.reasons}


def test_a_prefix_cache_finds_what_is_computed_by_hand(tmp_path: Path) -> None:
    result = run(tmp_path / "point", *QUICK, *SESSIONS)
    hits, queries = 20 * sum(HITS) - 48, 20 * sum(PROMPTS)  # nobody had sent the system prompt before the first session
    assert result.metadata["prefix_cache_hits"] == hits
    assert result.metadata["prefix_cache_queries"] == queries
    assert value(result, "expected_prefix_hit_fraction") == pytest.approx(hits / queries, abs=1e-12)
    assert value(result, "prefix_hits_of_expected") == pytest.approx(1, abs=0.02)
    assert (
        reasons(result).keys().isdisjoint({"prefix_cache", "prompt_tokens", "broken_sessions", "sessions_overloaded"})
    )

    assert value(result, "completed_sessions") == 20 and value(result, "broken_sessions") == 0
    assert value(result, "mean_session_turns") == 4
    assert value(result, "offered_sessions_per_s") == pytest.approx(50)
    assert value(result, "mean_session_duration_s") > 3 * 0.01
    assert value(result, "mean_session_wait_s") < value(result, "mean_session_duration_s")
    assert "cost_per_1k_sessions" not in result.metrics and "offered_rps" not in result.metrics
    assert [result.groups["turn"][f"turn {number}"]["mean_input_tokens"].value for number in (1, 2, 3, 4)] == [*PROMPTS]

    records = Records.read(tmp_path / "point" / "records.parquet")
    assert (records.asked_prompt_tokens == records.prompt_tokens).all()
    assert sorted(zip(records.labels["session"].tolist(), records.labels["turn"].tolist(), strict=True)) == [
        (session, turn) for session in range(20) for turn in range(4)
    ]


def test_a_cache_that_forgets_finds_less_and_a_failed_turn_ends_a_session(tmp_path: Path) -> None:
    faults = ("engine.prefix_cache_blocks=25", "engine.http_5xx_fraction=0.1", "gpus.price_per_hour=2")
    result = run(tmp_path / "point", *QUICK, *SESSIONS, *faults)
    assert value(result, "prefix_hits_of_expected") < 0.8
    broken, not_sent = value(result, "broken_sessions"), value(result, "turns_not_sent")
    assert broken == value(result, "failed") > 0
    assert value(result, "completed_sessions") == 20 - broken
    assert not_sent == 80 - value(result, "completed") - broken > 0
    words = reasons(result)["broken_sessions"]
    assert f"{broken:g} of 20 sessions broke off" in words and f"{not_sent:g} turns were not sent" in words


def test_a_server_that_ends_fewer_sessions_than_start_is_overloaded(tmp_path: Path) -> None:
    slow = ("engine.max_concurrency=1", "engine.ttft_ms=10", "qps=60", "num_prompts=60")
    result = run(tmp_path / "point", *QUICK, *SESSIONS, *slow)
    assert "overloaded by 60 sessions/s" in reasons(result)["sessions_overloaded"]
    assert result.verdict == "INVALID"


def test_a_session_has_one_adapter_and_one_priority_and_each_of_its_answers_is_checked(tmp_path: Path) -> None:
    words = (
        *("+dataset.adapters={sql:1,base:1}", "+dataset.priorities={0:1,5:1}", "engine.adapters=[sql]"),
        *("dataset.expect=/w w/", "script.keep_text=true", "num_prompts=24", "dataset.history=recorded"),
    )
    result = run(tmp_path / "point", *QUICK, *SESSIONS, *words)
    assert value(result, "failed") == 0
    hits, queries = (result.metadata[f"prefix_cache_{name}"] for name in ("hits", "queries"))
    assert value(result, "expected_prefix_hit_fraction") == pytest.approx(hits / queries, abs=1e-12)
    assert value(result, "output_checked") == 96 and value(result, "output_correct_fraction") == 1
    labels = Records.read(tmp_path / "point" / "records.parquet").labels
    for name, groups in (("adapter", {"sql", "base"}), ("priority", {"0", "5"})):
        pairs = set(zip(labels["session"].tolist(), labels[name].tolist(), strict=True))
        assert len(pairs) == 24  # all turns of a session have the same
        assert result.groups[name].keys() == groups
        sizes = [metrics["completed"].value for metrics in result.groups[name].values()]
        assert sum(sizes) == 96 and all(size % 4 == 0 < size for size in sizes)
    lines = [json.loads(line) for line in (tmp_path / "point" / "texts.jsonl").read_text().splitlines()]
    assert [(line["expect"], line["correct"]) for line in lines] == [("/w w/", True)] * 96


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dataset=sessions",), "the turns of conversations are no independent prompts"),
        (("load=sessions",), "load=sessions needs a dataset of conversations"),
        (("dataset=sessions", "script=throughput", "num_prompts=9"), "no independent prompts"),
        (("dataset=sessions", "load=sessions", "api=embeddings"), "answers of api=embeddings are no text"),
        (("dataset=sessions", "load=sessions", "load.processes=2"), "runs in one client process"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_server_starts(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(BenchhydraError, match=message):
        spec_of(composed(*words))


def mooncake(path: Path, rows: int) -> list[list[int]]:
    """Write a trace of prompts of 1 to 4 blocks of 512 tokens, which begin with one of three system prompts."""
    blocks = [[row % 3, *(100 + row // 4 * 10 + block for block in range(row % 4))] for row in range(rows)]
    lines = (
        {"timestamp": row * 7, "input_length": 512 * len(ids) + (row % 2) * 3, "output_length": 4, "hash_ids": ids}
        for row, ids in enumerate(blocks)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return blocks


def hits_by_hand(blocks: list[list[int]], block_tokens: int, own_tokens: list[int]) -> int:
    """Tokens in whole blocks that a prompt before began with; a prompt's last token is never one of them."""
    known, hits = set[tuple[int, ...]](), 0
    for ids, own in zip(blocks, own_tokens, strict=True):
        shared = 0
        while shared < len(ids) and tuple(ids[: shared + 1]) in known:
            shared += 1
        tokens = len(ids) * block_tokens + own
        hits += min(shared * block_tokens, (tokens - 1) // 16 * 16)
        known |= {tuple(ids[: length + 1]) for length in range(len(ids))}
    return hits


def test_a_recording_is_replayed_whole_with_the_blocks_that_it_shares(tmp_path: Path) -> None:
    blocks = mooncake(tmp_path / "trace.jsonl", 120)
    words = ("dataset=mooncake", f"dataset.path={tmp_path / 'trace.jsonl'}", "load=trace", "load.speedup=2")
    config = composed(*words)
    assert load_s_of(config) == pytest.approx(119 * 0.0035)
    result = run(tmp_path / "point", *QUICK, *words)
    own = [(row % 2) * 3 for row in range(120)]
    assert result.metadata["prefix_cache_hits"] == hits_by_hand(blocks, 512, own)
    records = Records.read(tmp_path / "point" / "records.parquet")
    gaps_ns = records.scheduled_ns - records.scheduled_ns[0]
    assert gaps_ns.tolist() == pytest.approx([row * 3_500_000 for row in range(120)], abs=2)
    assert records.prompt_tokens.tolist() == [512 * len(ids) + more for ids, more in zip(blocks, own, strict=True)]


def test_loops_have_new_words_and_a_plan_says_how_long_they_last(tmp_path: Path) -> None:
    blocks = mooncake(tmp_path / "trace.jsonl", 24)
    words = ("dataset=mooncake", f"dataset.path={tmp_path / 'trace.jsonl'}", "load=trace", "load.loops=3")
    assert load_s_of(composed(*words)) == pytest.approx(24 * 3 * 0.007 - 0.007)
    result = run(tmp_path / "point", *QUICK, *words)
    assert value(result, "completed") == 72
    assert result.metadata["prefix_cache_hits"] == 3 * hits_by_hand(blocks, 512, [(row % 2) * 3 for row in range(24)])


BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
OWN = '{"when": "2026-01-01T00:00:0%d.5+02:00", "in": 40, "out": 3}\n'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("b.csv", BURSTGPT + "5,ChatGPT,20,3,23,API log\n7,GPT-4,30,4,34,API log\n", ("dataset=burstgpt",)),
        (
            "a.csv",
            AZURE + "2023-11-16 18:17:03.9799600,20,3\n2023-11-16 18:17:05.9799600,30,4\n",
            ("dataset=azure_llm",),
        ),
        (
            "t.jsonl",
            '{"timestamp":0.5,"input_length":20,"output_length":3,"hash_ids":[1,2]}\n'
            '{"timestamp":2.5,"input_length":30,"output_length":4,"hash_ids":[1,3]}\n',
            ("dataset=timed_trace",),
        ),
        (
            "o.jsonl",
            OWN % 1 + OWN % 3,
            (
                *("dataset=token_trace", "+dataset.columns.input_length=in", "+dataset.columns.output_length=out"),
                "+dataset.columns.timestamp=when",
            ),
        ),
    ],
)
def test_traces_of_several_forms_load(tmp_path: Path, name: str, content: str, words: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(content)
    config = composed(*words, f"dataset.path={tmp_path / name}", "load=trace", "load.speedup=4")
    assert spec_of(config) is not None
    assert load_s_of(config) == pytest.approx(0.5)
