"""Made tasks have exact lengths and right answers, in both of their forms."""

from __future__ import annotations

import numpy as np
import pytest

from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.datasets._tasks import TaskDataset
from benchhydra.datasets.arithmetic import Arithmetic
from benchhydra.datasets.copying import Copying
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.measure.prompt_lengths import PromptLengths
from benchhydra.output_check import is_correct


def sampled(dataset: TaskDataset, tokenizer: Tokenizer, count: int = 300, seed: int = 1) -> list[Prompt]:
    return list(dataset.sample(count, tokenizer, np.random.default_rng(seed), None))


def test_words_to_copy_are_the_answer(tiny: Tokenizer) -> None:
    for prompt in sampled(Copying(words=5, examples=2), tiny):
        *_, question = prompt.text.split("Input: ")
        assert prompt.text.count("Input: ") == 3 and prompt.text.endswith("\nOutput:")
        assert question.removesuffix("\nOutput:") == prompt.expect and len(set(prompt.expect.split())) == 5
        assert prompt.messages is not None and len(prompt.messages) == 5
        assert prompt.messages[-1] == {"role": "user", "content": f"Repeat: {prompt.expect}"}


def test_sums_are_right(tiny: Tokenizer) -> None:
    for prompt in sampled(Arithmetic(digits=3, examples=0), tiny):
        left, plus, right, equals = prompt.text.split()
        assert (plus, equals) == ("+", "=") and 100 <= int(left) < 1000 and 100 <= int(right) < 1000
        assert is_correct(f" {int(left) + int(right)}", prompt.expect)


def test_lengths_are_those_of_the_form_that_is_sent(tiny: Tokenizer) -> None:
    rng = np.random.default_rng
    text = next(iter(PromptLengths.of(tiny, Completions(), Copying()).sample(Copying(), 1, rng(1), None)))
    chat = next(iter(PromptLengths.of(tiny, Chat(), Copying()).sample(Copying(), 1, rng(1), None)))
    assert text.expect == chat.expect and text.messages == chat.messages
    assert tiny.count_batch([text.text]) == [text.prompt_tokens - tiny.overhead]
    assert tiny.count_batch([tiny.chat(chat.messages or ())]) == [chat.prompt_tokens - tiny.overhead]
    assert text.output_tokens == max(tiny.count_batch([text.expect, f" {text.expect}"]))


def test_a_seed_gives_the_same_tasks_and_no_two_are_alike(words: Tokenizer) -> None:
    first, again = (sampled(Copying(), words) for _ in range(2))
    assert first == again and len({prompt.text for prompt in first}) == len(first)


def test_a_task_too_long_for_the_model_is_refused(words: Tokenizer) -> None:
    with pytest.raises(DatasetError, match="exceed max_model_len=20"):
        list(Copying().sample(1, words, np.random.default_rng(1), 20))


def test_impossible_tasks_are_refused() -> None:
    for wrong in (lambda: Copying(words=0), lambda: Arithmetic(digits=0), lambda: Copying(examples=-1)):
        with pytest.raises(ConfigError):
            wrong()


def test_messages_too_long_for_the_model_are_an_error(tiny: Tokenizer) -> None:
    lengths, made = PromptLengths.of(tiny, Chat(), Copying()), Copying()
    prompt = next(iter(lengths.sample(made, 1, np.random.default_rng(1), None)))
    most = prompt.prompt_tokens + prompt.output_tokens
    assert list(lengths.sample(made, 1, np.random.default_rng(1), most)) == [prompt]
    with pytest.raises(DatasetError, match=f"{most} tokens of messages and output exceed"):
        list(lengths.sample(made, 1, np.random.default_rng(1), most - 1))
