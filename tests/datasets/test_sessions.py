"""Conversations: made ones have the shapes that were asked for, and a file's are what is in it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchhydra.datasets import Tokenizer
from benchhydra.datasets.conversations import Dialogue
from benchhydra.datasets.sessions import Sessions
from benchhydra.errors import ConfigError, DatasetError

OPENAI = {
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "how many legs has a spider"},
        {"role": "assistant", "content": "eight legs"},
        {"role": "user", "content": "and a fly"},
        {"role": "assistant", "content": "it has six"},
        {"role": "user", "content": "thanks"},
    ]
}
SHAREGPT = {
    "conversations": [
        {"from": "human", "value": "name a colour"},
        {"from": "gpt", "value": "red"},
        {"from": "human", "value": "another"},
        {"from": "gpt", "value": "green and blue"},
    ]
}
TOOLS = {
    "messages": [
        {"role": "user", "content": "what time is it"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "function": {"name": "t", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "noon"},
        {"role": "assistant", "content": "it is noon"},
    ]
}


def file_of(folder: Path, *records: dict[str, Any]) -> str:
    path = folder / "talks.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def sessions(dataset: Sessions, count: int, tokenizer: Tokenizer, seed: int = 1) -> list[Dialogue]:
    dataset.check_sessions(count)
    return list(itertools.islice(dataset.sessions(count, tokenizer, np.random.default_rng(seed), None), count))


def own_texts(session: Dialogue) -> list[list[str]]:
    return [[message["content"] for message in turn.messages] for turn in session.turns]


def test_made_messages_have_exact_lengths(tokenizer: Tokenizer) -> None:
    dataset = Sessions(turns=3, prompt_tokens=20, first_prompt_tokens=50, system_tokens=30, output_tokens=7)
    for session in sessions(dataset, 40, tokenizer):
        (system, first), second, third = own_texts(session)
        assert tokenizer.count_batch([system, first, *second, *third]) == [30, 50, 20, 20]
        assert [turn.parent for turn in session.turns] == [-1, 0, 1]
        assert [turn.output_tokens for turn in session.turns] == [7, 7, 7]
        assert all(turn.answer is None for turn in session.turns)


def test_recorded_answers_of_made_sessions_have_the_output_length(tokenizer: Tokenizer) -> None:
    (session,) = sessions(Sessions(turns=4, history="recorded", output_tokens=9), 1, tokenizer)
    answers = [turn.answer["content"] for turn in session.turns if turn.answer is not None]
    assert tokenizer.count_batch(answers) == [9] * 4 and len({*answers}) == 4


def test_the_same_seed_makes_the_same_sessions(words: Tokenizer) -> None:
    dataset = Sessions(turns=3, turns_shape="geometric", think_shape="lognormal", prompt_shape="exponential")
    assert sessions(dataset, 20, words) == sessions(dataset, 20, words)
    assert sessions(dataset, 20, words) != sessions(dataset, 20, words, seed=2)


@pytest.mark.parametrize("shape", ["fixed", "uniform", "geometric"])
def test_turns_have_the_mean_that_was_asked(words: Tokenizer, shape: str) -> None:
    made = sessions(Sessions(turns=5, turns_shape=shape, prompt_tokens=2), 1500, words)
    assert np.mean([len(session.turns) for session in made]) == pytest.approx(5, rel=0.06)


@pytest.mark.parametrize("shape", ["fixed", "exponential", "lognormal"])
def test_think_times_have_the_mean_that_was_asked(words: Tokenizer, shape: str) -> None:
    made = sessions(Sessions(turns=5, think_s=2.0, think_shape=shape, prompt_tokens=2), 500, words)
    thinks_s = [turn.think_s for session in made for turn in session.turns[1:]]
    assert np.mean(thinks_s) == pytest.approx(2.0, rel=0.1)
    assert {session.turns[0].think_s for session in made} == {0.0}


def test_branches_continue_from_one_turn(words: Tokenizer) -> None:
    (session,) = sessions(Sessions(turns=4, branches=2, branch_turn=2), 1, words)
    assert [turn.parent for turn in session.turns] == [-1, 0, 1, 2, 1, 4]


def test_system_prompts_are_shared_by_popularity(words: Tokenizer) -> None:
    dataset = Sessions(turns=1, system_tokens=5, system_prompts=3, system_zipf=1.0)
    made = sessions(dataset, 1100, words)
    counts = np.bincount([session.prefix for session in made])
    assert counts / 1100 == pytest.approx(np.array([6, 3, 2]) / 11, abs=0.05)
    assert len({(session.prefix, own_texts(session)[0][0]) for session in made}) == 3


def test_a_files_conversations_become_turns(tmp_path: Path, words: Tokenizer) -> None:
    dataset = Sessions(path=file_of(tmp_path, OPENAI, SHAREGPT), output_tokens=None, history="recorded")
    made = sorted(sessions(dataset, 2, words), key=lambda session: len(session.turns[0].messages))
    assert own_texts(made[0]) == [["name a colour"], ["another"]]
    assert own_texts(made[1]) == [["be brief", "how many legs has a spider"], ["and a fly"]]
    assert [[turn.output_tokens for turn in session.turns] for session in made] == [[1, 3], [2, 3]]
    assert [turn.answer["content"] for turn in made[1].turns if turn.answer] == ["eight legs", "it has six"]


def test_a_last_question_is_sent_if_its_answer_has_a_length(tmp_path: Path, words: Tokenizer) -> None:
    (session,) = sessions(Sessions(path=file_of(tmp_path, OPENAI), output_tokens=4), 1, words)
    assert own_texts(session)[-1] == ["thanks"] and len(session.turns) == 3
    (short,) = sessions(Sessions(path=file_of(tmp_path, OPENAI), output_tokens=4, max_turns=1), 1, words)
    assert len(short.turns) == 1


def test_results_of_tools_belong_to_the_turn_whose_answer_follows(tmp_path: Path, words: Tokenizer) -> None:
    (session,) = sessions(Sessions(path=file_of(tmp_path, TOOLS), history="recorded"), 1, words)
    assert [[message["role"] for message in turn.messages] for turn in session.turns] == [["user"], ["tool"]]
    assert session.turns[0].answer is not None and "tool_calls" in session.turns[0].answer


def test_a_record_may_say_what_its_answers_must_contain(tmp_path: Path, words: Tokenizer) -> None:
    questions = [{"role": "user", "content": text} for text in ("a", "b", "c")]
    answers = [{"role": "assistant", "content": text} for text in ("d", "e")]
    messages = [questions[0], answers[0], questions[1], answers[1], questions[2]]
    for expect, expected in (("x", ["x", "x", "x"]), (["/y/", None, "z"], ["/y/", "", "z"]), (None, ["", "", ""])):
        path = file_of(tmp_path, {"messages": messages, "expect": expect})
        (session,) = sessions(Sessions(path=path), 1, words)
        assert [turn.expect for turn in session.turns] == expected


@pytest.mark.parametrize(
    ("expect", "reason"),
    [(["x"], "1 texts, but 3 questions"), (7, "7 is not a text"), ("/(/", "not a regular expression")],
)
def test_an_expectation_that_cannot_be_used_leaves_a_record_out(
    tmp_path: Path, words: Tokenizer, expect: object, reason: str
) -> None:
    path = file_of(tmp_path, {**OPENAI, "expect": expect}, OPENAI)
    dataset = Sessions(path=path)
    assert len(sessions(dataset, 1, words)) == 1
    (warning,) = dataset.warnings()
    assert "1 of 2 records were left out" in warning and reason in warning


def test_records_without_a_conversation_are_left_out_and_counted(tmp_path: Path, words: Tokenizer) -> None:
    dataset = Sessions(
        path=file_of(tmp_path, OPENAI, {"prompt": "a"}, {"messages": [{"role": "system", "content": "x"}]})
    )
    assert len(sessions(dataset, 1, words)) == 1
    (warning,) = dataset.warnings()
    assert "2 of 3 records were left out" in warning and "there is no conversation" in warning
    with pytest.raises(DatasetError, match="has only 1 prompts, but 2 are needed"):
        dataset.check_sessions(2)
    repeated = Sessions(path=dataset.path, allow_repeat=True)
    assert len(sessions(repeated, 3, words)) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"turns": 0}, "turns=0 must be at least 1"),
        ({"think_s": -1.0}, "think_s=-1 must be at least 0"),
        ({"branches": 2, "turns": 1}, "branch_turn=1 must be from 1 to dataset.turns - 1 = 0"),
        ({"output_tokens": None}, "made sessions have no lengths of their own"),
        ({"history": "none"}, "history='none' is not allowed"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sessions(**settings)


def test_loads_of_independent_prompts_are_refused(words: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="no independent prompts"):
        Sessions().check(1)
    with pytest.raises(ConfigError, match="no independent prompts"):
        Sessions().sample(1, words, np.random.default_rng(0), None)
