"""ShareGPT, UltraChat and your own lines: from real file shapes to prompts that fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchhydra.datasets import Dataset, Prompt, Tokenizer
from benchhydra.datasets._download import HttpsOnly
from benchhydra.datasets.files import local
from benchhydra.datasets.jsonl import Jsonl
from benchhydra.datasets.sharegpt import ShareGPT
from benchhydra.datasets.ultrachat import UltraChat
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.progress import Progress


def sampled(
    dataset: Dataset, count: int, tokenizer: Tokenizer, *, seed: int = 1, most: int | None = None
) -> list[Prompt]:
    return list(dataset.sample(count, tokenizer, np.random.default_rng(seed), most))


def text(count: int, word: str = "w") -> str:
    return " ".join([word] * count)


# ShareGPT


def talk(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"id": "QWJhYvA_0", "conversations": [{"from": who, "value": said} for who, said in turns]}


GOOD = [talk(("human", text(5 + i, f"q{i}")), ("gpt", text(10 + i, "a")), ("human", "more")) for i in range(8)]
BAD = [
    talk(),
    talk(("human", text(50))),
    talk(("gpt", text(50)), ("human", text(50))),
    talk(("human", text(3)), ("gpt", text(50))),  # prompt too short
    talk(("human", text(50)), ("gpt", text(3))),  # answer too short
    talk(("human", text(101)), ("gpt", text(10))),  # prompt too long
    talk(("human", text(90)), ("gpt", text(111))),  # too long together
    {"id": "no turns"},
]


@pytest.fixture
def sharegpt(tmp_path: Path) -> dict[str, Any]:
    """Fields of a dataset with 8 conversations that fit among others that do not."""
    path = tmp_path / "sharegpt.json"
    path.write_text(json.dumps([row for pair in zip(GOOD, BAD, strict=True) for row in pair]))
    return {"path": str(path), "max_prompt_tokens": 100, "max_total_tokens": 200}


def test_sharegpt_keeps_first_turns_that_fit(sharegpt: dict[str, Any], words: Tokenizer) -> None:
    prompts = sampled(ShareGPT(**sharegpt), 8, words)
    assert {(p.prompt_tokens, p.output_tokens) for p in prompts} == {(5 + i, 10 + i) for i in range(8)}
    assert {p.text for p in prompts} == {row["conversations"][0]["value"] for row in GOOD}
    assert all(p.messages == ({"role": "user", "content": p.text},) for p in prompts)


def test_sharegpt_is_drawn_by_the_seed_without_repeats(sharegpt: dict[str, Any], words: Tokenizer) -> None:
    first, again, other = (sampled(ShareGPT(**sharegpt), 8, words, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({p.text for p in first}) == 8


def test_too_few_are_an_error_that_says_what_to_type(sharegpt: dict[str, Any], words: Tokenizer) -> None:
    with pytest.raises(DatasetError, match="has only 8 prompts that fit, but 9 are needed") as refused:
        sampled(ShareGPT(**sharegpt), 9, words)
    assert refused.value.hint == "num_prompts=8, or dataset.allow_repeat=true"
    with pytest.raises(DatasetError, match="has only 0 prompts"):
        sampled(ShareGPT(**sharegpt, allow_repeat=True), 1, words, most=3)


def test_prompts_repeat_only_if_allowed(sharegpt: dict[str, Any], words: Tokenizer) -> None:
    prompts = sampled(ShareGPT(**sharegpt, allow_repeat=True), 20, words)
    assert prompts[:8] == prompts[8:16]
    assert len(prompts) == 20


def test_output_tokens_fixes_the_length_before_the_filters(sharegpt: dict[str, Any], words: Tokenizer) -> None:
    prompts = sampled(ShareGPT(**sharegpt, output_tokens=100), 9, words)  # the short answer counts no more
    assert {p.output_tokens for p in prompts} == {100}


def test_the_models_length_limits_prompts_too(sharegpt: dict[str, Any], words: Tokenizer) -> None:
    assert len(sampled(ShareGPT(**sharegpt), 3, words, most=19)) == 3
    with pytest.raises(DatasetError, match="has only 3 prompts"):
        sampled(ShareGPT(**sharegpt), 4, words, most=19)


def test_special_tokens_count_as_the_server_counts_them(sharegpt: dict[str, Any], with_bos: Tokenizer) -> None:
    for prompt in sampled(ShareGPT(**sharegpt), 4, with_bos):
        assert prompt.prompt_tokens == len(with_bos.encode(prompt.text)) + 1


# UltraChat

CHAT = [
    {"role": "user", "content": "kilo lima"},
    {"role": "assistant", "content": "one two three"},
    {"role": "user", "content": "mike"},
    {"role": "assistant", "content": "four five"},
]


def ultrachat_file(folder: Path, kind: str) -> str:
    path = folder / f"talks.{kind}"
    rows = [{"prompt": "kilo lima", "prompt_id": "0", "messages": CHAT}]
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_ultrachat_goes_turn_by_turn(tmp_path: Path, words: Tokenizer, kind: str) -> None:
    first, second = sampled(UltraChat(path=ultrachat_file(tmp_path, kind)), 2, words)
    assert (first.text, first.output_tokens, first.messages) == ("kilo lima", 3, tuple(CHAT[:1]))
    assert (second.text, second.output_tokens) == ("kilo lima one two three mike", 2)
    assert second.messages == tuple(CHAT[:3])


def test_ultrachat_is_written_with_the_models_template(tmp_path: Path, tiny: Tokenizer) -> None:
    _, second = sampled(UltraChat(path=ultrachat_file(tmp_path, "jsonl"), output_tokens=9), 2, tiny)
    assert second.text == (
        "<|im_start|>user\nkilo lima<|im_end|>\n<|im_start|>assistant\none two three<|im_end|>\n"
        "<|im_start|>user\nmike<|im_end|>\n<|im_start|>assistant\n"
    )
    assert second.prompt_tokens == len(tiny.encode(second.text))
    assert second.output_tokens == 9


def test_a_bos_that_the_server_adds_is_not_written_twice(tmp_path: Path, with_bos: Tokenizer) -> None:
    first, _ = sampled(UltraChat(path=ultrachat_file(tmp_path, "jsonl")), 2, with_bos)
    assert first.text == "<|im_start|>user\nkilo lima<|im_end|>\n<|im_start|>assistant\n"
    assert first.prompt_tokens == len(with_bos.encode(first.text)) + 1


# Your own lines


def lines(folder: Path, *rows: dict[str, Any] | str) -> str:
    path = folder / "own.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_lines_come_in_the_files_order(tmp_path: Path, words: Tokenizer) -> None:
    path = lines(tmp_path, {"prompt": "a b", "output_tokens": 3}, "", {"messages": CHAT[:1], "output_tokens": 4})
    first, second = sampled(Jsonl(path=path), 2, words)
    assert first == Prompt("a b", 2, 3)
    assert second == Prompt("kilo lima", 2, 4, messages=tuple(CHAT[:1]))


def test_lines_are_shuffled_on_request(tmp_path: Path, words: Tokenizer) -> None:
    path = lines(tmp_path, *({"prompt": f"p{i}"} for i in range(20)))
    first, again = (sampled(Jsonl(path=path, shuffle=True, output_tokens=1), 20, words) for _ in range(2))
    texts = [p.text for p in first]
    assert first == again
    assert texts != sorted(texts, key=lambda name: int(name[1:])) and len(set(texts)) == 20


@pytest.mark.parametrize("key", ["send_at_s", "timestamp"])
def test_times_are_relative_to_the_first_line(tmp_path: Path, words: Tokenizer, key: str) -> None:
    rows = [{"prompt": "a", "output_tokens": 1, key: 1700000000 + after} for after in (0, 0.5, 2)]
    prompts = sampled(Jsonl(path=lines(tmp_path, *rows)), 3, words)
    assert [p.send_at_s for p in prompts] == [0.0, 0.5, 2.0]


@pytest.mark.parametrize(
    ("row", "words_"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ({"text": "a"}, 'neither a "prompt" nor "messages": the columns are text'),
        ({"prompt": 7}, "prompt: 7 is not a text"),
        ({"messages": []}, "messages: a list without entries is not a list of messages"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\]\.content: None is not a text"),
        ({"messages": ["hello"]}, r"messages\[0\]: 'hello' is not a message with a role and a content"),
        ({"prompt": "a", "output_tokens": 0}, "output_tokens: 0 is not a whole number above 0"),
        ({"prompt": "a"}, "output_tokens: it is missing"),
        ({"prompt": "a", "output_tokens": "9"}, "output_tokens: '9' is not a whole number above 0"),
        ({"prompt": "a", "output_tokens": 1, "timestamp": "noon"}, "send time 'noon'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, words: Tokenizer, row: dict[str, Any] | str, words_: str) -> None:
    path = lines(tmp_path, {"prompt": "a", "output_tokens": 1}, "", row)
    with pytest.raises(DatasetError, match=rf"own\.jsonl:3\b.*{words_}"):
        sampled(Jsonl(path=path), 2, words)


# Files


def test_a_missing_file_is_one_line(tmp_path: Path, words: Tokenizer) -> None:
    for dataset in (Jsonl(path="nowhere.jsonl"), ShareGPT(path="nowhere.json"), UltraChat(path="nowhere.parquet")):
        with pytest.raises(DatasetError, match="no such file: nowhere"):
            dataset.prepare(Progress())


@pytest.mark.parametrize(("name", "content"), [("a.json", "{}"), ("a.json", "[1"), ("a.parquet", "no parquet")])
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, words: Tokenizer, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=name):
        sampled(ShareGPT(path=str(tmp_path / name)), 1, words)


def test_http_is_refused_and_so_is_a_redirect_to_it() -> None:
    with pytest.raises(DatasetError, match="is not https"):
        local("http://127.0.0.1/data.json", Progress())
    asked: Any = None
    with pytest.raises(OSError, match="redirected to http://other/data"):
        HttpsOnly().redirect_request(asked, asked, 302, "Found", {}, "http://other/data")


def test_a_dead_url_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DatasetError, match=r"cannot download https://127\.0\.0\.1:1/data\.json") as refused:
        local("https://127.0.0.1:1/data.json?download=true", Progress())
    assert "dataset=synthetic" in refused.value.hint
    assert [path.suffix for path in (tmp_path / "benchhydra" / "datasets").iterdir()] == [".lock"]


def test_an_unwritable_cache_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match=r"cannot write .*data\.json") as refused:
        local("https://127.0.0.1:1/data.json", Progress())
    assert "XDG_CACHE_HOME" in refused.value.hint


def test_a_download_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DatasetError):
        local("https://127.0.0.1:1/data.jsonl?download=true", Progress())
    (lock,) = (tmp_path / "benchhydra" / "datasets").iterdir()
    kept = lock.with_suffix("")
    kept.write_text("{}\n")
    assert kept.suffix == ".jsonl"
    assert local("https://127.0.0.1:1/data.jsonl?download=true", Progress()) == kept


# Templates


def test_a_model_without_template_says_so(tmp_path: Path, tiny_dir: Path) -> None:
    from benchhydra.datasets.tokenization import load_tokenizer
    from benchhydra.target import Target

    (tmp_path / "tokenizer.json").write_bytes((tiny_dir / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (tmp_path / "good.jinja").write_text("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    (tmp_path / "refusing.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    expected = {
        None: "has no chat template",
        "refusing.jinja": "rejects a conversation: roles must alternate",
        "missing.jinja": "cannot be read",
    }
    for name, words_ in expected.items():
        template = str(tmp_path / name) if name else None
        target = Target(model="m", tokenizer=str(tmp_path), chat_template=template)
        with pytest.raises(ConfigError, match=words_):
            load_tokenizer(target).chat(CHAT)
    own = Target(model="m", tokenizer=str(tmp_path), chat_template=str(tmp_path / "good.jinja"))
    assert load_tokenizer(own).chat(CHAT[:2]) == "[kilo lima][one two three]"
