"""Tokenizers count alike, whoever loads them; what cannot be fetched is one line."""

from __future__ import annotations

import io
import urllib.request
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from benchhydra.datasets import Tokenizer
from benchhydra.datasets.chat_template import ChatTemplate
from benchhydra.datasets.files import hub, local
from benchhydra.datasets.tokenization import SlowTokenizer, tokens_are_additive
from benchhydra.errors import DatasetError
from benchhydra.progress import Progress

TEXTS = ["kilo lima mike", "one", "a longer text, with commas and 12 numbers"]


@pytest.mark.parametrize("folder", ["tiny_dir", "bos_dir"])
def test_transformers_counts_as_tokenizers_does(folder: str, request: pytest.FixtureRequest) -> None:
    fast: Tokenizer = request.getfixturevalue({"tiny_dir": "tiny", "bos_dir": "with_bos"}[folder])
    slow = SlowTokenizer(ChatTemplate(str(request.getfixturevalue(folder)), None, None))
    assert slow.overhead == fast.overhead
    assert slow.encode_batch(TEXTS) == fast.encode_batch(TEXTS) == [fast.encode(text) for text in TEXTS]
    assert slow.count_batch(TEXTS) == fast.count_batch(TEXTS)
    assert slow.decode_batch(slow.encode_batch(TEXTS)) == fast.decode_batch(fast.encode_batch(TEXTS)) == TEXTS
    assert [slow.token(i) for i in (5, 300)] == [fast.token(i) for i in (5, 300)]
    talk = [{"role": "user", "content": "kilo"}]
    assert slow.chat(talk) == fast.chat(talk)


@pytest.mark.parametrize(
    ("vocabulary", "apart"),
    [
        (["Ġword", "word", "ĊĠĠ", "Ġ"], True),
        (["▁word", "▁▁", "word"], True),
        (["Ġword", "ofĠthe"], False),
        (["▁word", "of▁"], False),
        (["word", "<|end of text|>"], False),
        ([b"word"], False),
    ],
)
def test_tokens_that_span_two_words_are_detected(vocabulary: list[object], apart: bool) -> None:
    assert tokens_are_additive(vocabulary) is apart


def test_tokens_are_additive_under_real_tokenizers(tokenizer: Tokenizer, tiny_dir: Path) -> None:
    assert tokenizer.tokens_are_additive()
    assert SlowTokenizer(ChatTemplate(str(tiny_dir), None, None)).tokens_are_additive()


def test_words_are_numbered_and_written_back(words: Tokenizer) -> None:
    ids = words.encode_batch(["new words here", "here"])
    assert words.decode_batch(ids) == ["new words here", "here"]
    assert ids[0][2] == ids[1][0]
    assert words.token(10**6) == ""


def test_a_file_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Opener:
        def open(self, url: str, timeout: float) -> io.BytesIO:
            asked.append(url)
            return io.BytesIO(b'{"prompt": "a"}\n')

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "build_opener", lambda *handlers: Opener())
    first, second = (local("https://example.org/own.jsonl", Progress()) for _ in range(2))
    assert first == second and first.read_text() == '{"prompt": "a"}\n'
    assert asked == ["https://example.org/own.jsonl"]


def test_the_hubs_files_of_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for name in ("data/test_sft-1.parquet", "data/test_sft-0.parquet"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **more: str(tmp_path))
    assert [path.name for path in hub("org/data", "test_sft", Progress())] == [
        "test_sft-0.parquet",
        "test_sft-1.parquet",
    ]
    with pytest.raises(DatasetError, match="org/data has no split other"):
        hub("org/data", "other", Progress())


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **more: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gone)
    with pytest.raises(DatasetError, match="cannot fetch org/data: offline") as refused:
        hub("org/data", "test", Progress())
    assert "and more" not in str(refused.value)
    assert "dataset.path=FILE" in refused.value.hint
