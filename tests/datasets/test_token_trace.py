"""Recorded lengths become prompts that share what their records share; recorded times have a unit, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.datasets.jsonl import Jsonl
from benchhydra.datasets.token_trace import TokenTrace
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.loads.trace import Trace

MOONCAKE = [
    {"timestamp": 0, "input_length": 40, "output_length": 5, "hash_ids": [0, 1, 2]},
    {"timestamp": 500, "input_length": 48, "output_length": 6, "hash_ids": [0, 1, 3]},
    {"timestamp": 3000, "input_length": 33, "output_length": 7, "hash_ids": [0, 4, 5]},
    {"timestamp": 3000, "input_length": 10, "output_length": 8, "hash_ids": [9]},
]


def trace(folder: Path, rows: list[dict[str, Any]], name: str = "trace.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sampled(dataset: TokenTrace | Jsonl, count: int, tokenizer: Tokenizer, most: int | None = None) -> list[Prompt]:
    dataset.check(count)
    return list(dataset.sample(count, tokenizer, np.random.default_rng(1), most))


def shared_tokens(tokenizer: Tokenizer, first: Prompt, second: Prompt) -> int:
    pairs = zip(tokenizer.encode(first.text), tokenizer.encode(second.text), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(first.prompt_tokens, second.prompt_tokens))


def test_lengths_are_those_recorded(tmp_path: Path, tokenizer: Tokenizer) -> None:
    prompts = sampled(TokenTrace(path=trace(tmp_path, MOONCAKE), block_tokens=16), 4, tokenizer)
    assert [(p.prompt_tokens, p.output_tokens) for p in prompts] == [(40, 5), (48, 6), (33, 7), (10, 8)]
    counts = tokenizer.count_batch([p.text for p in prompts])
    assert [count + tokenizer.overhead for count in counts] == [40, 48, 33, 10]


def test_prompts_share_the_blocks_of_their_records(tmp_path: Path, tokenizer: Tokenizer) -> None:
    first, second, third, fourth = sampled(TokenTrace(path=trace(tmp_path, MOONCAKE), block_tokens=16), 4, tokenizer)
    assert shared_tokens(tokenizer, first, second) == 32
    assert shared_tokens(tokenizer, first, third) == 16
    assert shared_tokens(tokenizer, first, fourth) == 0
    again = sampled(TokenTrace(path=trace(tmp_path, MOONCAKE), block_tokens=16), 4, tokenizer)
    assert [p.text for p in again] == [p.text for p in (first, second, third, fourth)]


def test_mooncakes_times_are_milliseconds(tmp_path: Path, words: Tokenizer) -> None:
    dataset = TokenTrace(path=trace(tmp_path, MOONCAKE), block_tokens=16)
    assert [p.send_at_s for p in sampled(dataset, 4, words)] == [0.0, 0.5, 3.0, 3.0]
    assert dataset.recorded_s(4) == [0.0, 0.5, 3.0, 3.0]
    assert dataset.prefix_cache_intended


def test_azures_csv_has_dates_and_no_blocks(tmp_path: Path, words: Tokenizer) -> None:
    lines = ["2023-11-16 18:17:03.9799600,374,44", "2023-11-16 18:17:04.0319600,396,109"]
    (tmp_path / "azure.csv").write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines]))
    first, second = sampled(TokenTrace(path=str(tmp_path / "azure.csv")), 2, words)
    assert (first.prompt_tokens, second.output_tokens) == (374, 109)
    assert second.send_at_s == pytest.approx(0.052, abs=1e-6)


def test_burstgpts_csv_needs_the_unit_of_its_whole_numbers(tmp_path: Path, words: Tokenizer) -> None:
    header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
    (tmp_path / "burst.csv").write_text(
        f"{header}\n5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,230,1317,API log\n"
    )
    path = str(tmp_path / "burst.csv")
    with pytest.raises(DatasetError, match="'Timestamp' may be seconds or milliseconds: whole numbers up to 45"):
        TokenTrace(path=path).recorded_s(2)
    assert TokenTrace(path=path, time_unit="s").recorded_s(2) == [0.0, 40.0]


def test_recorded_requests_that_failed_are_left_out_and_counted(tmp_path: Path, words: Tokenizer) -> None:
    header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
    rows = ("5,ChatGPT,47,18,65,API log", "6,GPT-4,10,0,10,API log", "8,GPT-4,12,3,15,API log")
    (tmp_path / "burst.csv").write_text("\n".join((header, *rows)))
    dataset = TokenTrace(path=str(tmp_path / "burst.csv"), time_unit="s")
    assert dataset.recorded_count() == 2 and dataset.recorded_s(2) == [0.0, 3.0]
    assert [prompt.output_tokens for prompt in sampled(dataset, 2, words)] == [18, 3]
    (warning,) = dataset.warnings()
    assert "1 of 3 records were left out: 1 (Response tokens: 0, the recorded request failed" in warning
    every = TokenTrace(path=str(tmp_path / "burst.csv"), time_unit="s", output_tokens=7)
    assert every.recorded_s(3) == [0.0, 1.0, 3.0] and not every.warnings()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input_length": 40}, "output_length: it is missing"),
        ({"output_length": 4}, "input_length: it is missing: the columns are output_length"),
        ({"input_length": 0, "output_length": 4}, "input_length: 0 is not a whole number above 0"),
        (
            {"input_length": 40, "output_length": 4, "hash_ids": [1]},
            "hash_ids: 1 blocks, but 40 tokens are 3 blocks of 16",
        ),
        ({"input_length": 4, "output_length": 4, "hash_ids": ["a"]}, "hash_ids: a list is not a list of whole numbers"),
        (
            {"input_length": 4, "output_length": 4, "hash_ids": [True]},
            "hash_ids: a list is not a list of whole numbers",
        ),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=rf"trace\.jsonl:5: {message}"):
        TokenTrace(path=trace(tmp_path, [*MOONCAKE, row]), block_tokens=16).check(5)


def test_a_prompt_too_long_for_the_model_is_named(tmp_path: Path, words: Tokenizer) -> None:
    with pytest.raises(DatasetError, match=r"trace\.jsonl:2: 54 tokens of prompt and output exceed max_model_len=50"):
        sampled(TokenTrace(path=trace(tmp_path, MOONCAKE), block_tokens=16), 4, words, most=50)


# Times of prompts of one's own


def times(folder: Path, *values: Any, key: str = "timestamp", **fields: Any) -> Jsonl:
    rows = [{"prompt": "a", "output_tokens": 1, key: value} for value in values]
    return Jsonl(path=trace(folder, rows), **fields)


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        ((0, 0.5, 2), {}, [0.0, 0.5, 2.0]),  # a fraction: seconds
        ((1_700_000_000, 1_700_000_002), {}, [0.0, 2.0]),  # since 1970 in s, ms, us, ns
        ((1_700_000_000_000, 1_700_000_002_000), {}, [0.0, 2.0]),
        ((1_700_000_000_000_000, 1_700_000_002_000_000), {}, [0.0, 2.0]),
        ((1_700_000_000_000_000_000, 1_700_000_002_000_000_000), {}, [0.0, 2.0]),
        ((0, 27_482, 60_000), {"time_unit": "ms"}, [0.0, 27.482, 60.0]),
        ((0, 27_482, 60_000), {"time_unit": "s"}, [0.0, 27_482.0, 60_000.0]),
        ((0, 27_482, 60_000), {"key": "send_at_s"}, [0.0, 27_482.0, 60_000.0]),
        ((5, 1_500_000), {"key": "at", "columns": {"send_at_s": "at"}, "time_unit": "us"}, [0.0, 1.499995]),
        (("2024-05-10 00:00:00.5+00:00", "2024-05-10T00:00:02Z"), {}, [0.0, 1.5]),
        (("2024-05-10 00:00:00", "2024-05-10 01:00:00+01:00"), {}, [0.0, 0.0]),  # without a zone: UTC
    ],
)
def test_the_unit_of_times_is_recognized_or_given(
    tmp_path: Path, words: Tokenizer, values: tuple[Any, ...], fields: dict[str, Any], expected: list[float]
) -> None:
    dataset = times(tmp_path, *values, **fields)
    assert dataset.recorded_s(len(values)) == pytest.approx(expected)
    assert [p.send_at_s for p in sampled(dataset, len(values), words)] == pytest.approx(expected)


def test_whole_numbers_may_be_seconds_or_milliseconds(tmp_path: Path, words: Tokenizer) -> None:
    dataset = times(tmp_path, 0, 27_482, 60_000)
    with pytest.raises(DatasetError, match="may be seconds or milliseconds: whole numbers up to 60000") as caught:
        dataset.recorded_s(3)
    assert "dataset.time_unit=ms" in caught.value.hint
    assert [p.send_at_s for p in sampled(dataset, 3, words)] == [None] * 3  # of no use to other loads: no error


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.5, 0.25), r"trace\.jsonl:2: the send time, -0.25 s from the first one, is before that of the record above"),
        ((0.5, None), r"trace\.jsonl:2 has no send time"),
        ((0.5, 1e300), r"trace\.jsonl:2: timestamp: the send time 1e\+300 is 1e\+300 s from the first one"),
    ],
)
def test_times_that_cannot_be_replayed_are_named(tmp_path: Path, values: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        times(tmp_path, *values).recorded_s(2)


def test_a_trace_in_random_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="needs the file's order"):
        times(tmp_path, 0.5, 1.5, shuffle=True).recorded_s(2)
    with pytest.raises(ConfigError, match="time_unit"):
        times(tmp_path, 1, time_unit="h")


def test_the_length_of_a_replay_is_known_before(tmp_path: Path) -> None:
    recorded_s = times(tmp_path, 0.5, 27.5, 60.5).recorded_s(3)
    assert Trace(speedup=2.0).length_s(3, np.asarray(recorded_s)) == 30.0
    assert Trace().length_s(3) is None


# Whole recordings, scaled and repeated


def test_whole_blocks_are_shared_to_their_last_token(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [
        {"timestamp": 0, "input_length": 32 + tokenizer.overhead, "output_length": 5, "hash_ids": [7, 8]},
        {"timestamp": 1, "input_length": 48 + tokenizer.overhead, "output_length": 5, "hash_ids": [7, 8, 9]},
    ]
    for row in rows:  # the number of the last, shorter block may be left out
        row["hash_ids"] = row["hash_ids"][: row["input_length"] // 16]  # type: ignore[index, operator]
    first, second = sampled(TokenTrace(path=trace(tmp_path, rows), block_tokens=16), 2, tokenizer)
    assert tokenizer.encode(second.text)[:32] == tokenizer.encode(first.text)


def test_lengths_and_blocks_are_scaled_alike(tmp_path: Path, words: Tokenizer) -> None:
    dataset = TokenTrace(path=trace(tmp_path, MOONCAKE), block_tokens=16, length_scale=0.5)
    first, second, third, _ = sampled(dataset, 4, words)
    assert [(p.prompt_tokens, p.output_tokens) for p in (first, second, third)] == [(20, 2), (24, 3), (16, 4)]
    assert (shared_tokens(words, first, second), shared_tokens(words, first, third)) == (16, 8)


def test_a_recording_knows_how_many_requests_it_has(tmp_path: Path) -> None:
    assert TokenTrace(path=trace(tmp_path, MOONCAKE), block_tokens=16).recorded_count() == 4
    assert Jsonl(path=trace(tmp_path, [{"prompt": "a", "output_tokens": 1}] * 3)).recorded_count() == 3


def test_loops_follow_each_other_a_mean_gap_apart() -> None:
    load = Trace(loops=3, speedup=2.0)
    recorded_s = np.array([4.0, 5.0, 8.0])
    assert load.count(3) == 9
    sent_s = load.send_times_s(9, np.random.default_rng(0), np.tile(recorded_s, 3))
    assert sent_s.tolist() == [0.0, 0.5, 2.0, 3.0, 3.5, 5.0, 6.0, 6.5, 8.0]
    assert load.length_s(9, recorded_s) == 8.0
