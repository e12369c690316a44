"""The reader of data files: common forms are read, whatever a file is called; damage is one line with its place."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchhydra.datasets import Dataset, Prompt, Tokenizer, data_file
from benchhydra.datasets.data_file import read_data_file
from benchhydra.datasets.file_dataset import FileDataset
from benchhydra.datasets.jsonl import Jsonl
from benchhydra.datasets.sharegpt import ShareGPT
from benchhydra.datasets.token_trace import TokenTrace
from benchhydra.datasets.ultrachat import UltraChat
from benchhydra.errors import BenchhydraError, ConfigError, DatasetError

ROWS: list[dict[str, Any]] = [{"prompt": f"p{i} größer 😀", "output_tokens": i + 1} for i in range(3)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
ARRAY = json.dumps(ROWS).encode()
BOM = b"\xef\xbb\xbf"


def sampled(dataset: Dataset, count: int, tokenizer: Tokenizer) -> list[Prompt]:
    """What a run does: check first, sample later."""
    dataset.check(count)
    return list(dataset.sample(count, tokenizer, np.random.default_rng(1), None))


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue().to_pybytes())


READ: dict[str, tuple[str, bytes]] = {
    "lines": ("a.jsonl", LINES),
    "lines called json": ("a.json", LINES),
    "an array": ("a.json", ARRAY),
    "an array called jsonl": ("a.jsonl", ARRAY),
    "an indented array": ("a.json", json.dumps(ROWS, indent=2).encode()),
    "without a suffix": ("prompts", LINES),
    "a mark before lines": ("a.jsonl", BOM + LINES),
    "a mark before an array": ("a.json", BOM + ARRAY),
    "carriage returns": ("a.jsonl", LINES.replace(b"\n", b"\r\n")),
    "no last line end": ("a.jsonl", LINES.rstrip()),
    "blank lines": ("a.jsonl", b"\n \n" + LINES.replace(b"\n", b"\n\n")),
    "escapes": ("a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS).encode()),
    "gzip": ("a.jsonl.gz", gzip.compress(LINES, mtime=0)),
    "gzip called jsonl": ("a.jsonl", gzip.compress(BOM + LINES, mtime=0)),
    "gzip of an array": ("a.json.gz", gzip.compress(ARRAY, mtime=0)),
    "bzip2": ("a.jsonl.bz2", bz2.compress(LINES)),
    "xz": ("a.jsonl.xz", lzma.compress(LINES)),
    "zstd": ("a.jsonl.zst", zstd(LINES)),
    "zstd of an array": ("a.json.zst", zstd(ARRAY)),
    "parquet": ("a.parquet", parquet(ROWS)),
    "parquet called json": ("a.json", parquet(ROWS)),
    "csv": (
        "a.csv",
        b"prompt,output_tokens\n" + b"".join(f"{r['prompt']},{r['output_tokens']}\n".encode() for r in ROWS),
    ),
    "tsv": (
        "a.tsv",
        b"prompt\toutput_tokens\n" + b"".join(f"{r['prompt']}\t{r['output_tokens']}\n".encode() for r in ROWS),
    ),
}


@pytest.mark.parametrize("form", READ)
def test_every_form_gives_the_same_prompts(tmp_path: Path, words: Tokenizer, form: str) -> None:
    name, content = READ[form]
    (tmp_path / name).write_bytes(content)
    prompts = sampled(Jsonl(path=str(tmp_path / name)), 3, words)
    assert [(p.text, p.output_tokens) for p in prompts] == [(row["prompt"], row["output_tokens"]) for row in ROWS]


OK = '{"prompt": "a", "output_tokens": 1}\n'
DAMAGED: list[tuple[str, bytes, str]] = [
    ("a.jsonl", b"", "a.jsonl is empty"),
    ("a.jsonl", b"\n\n", "a.jsonl holds nothing but blank lines"),
    ("a.json", b"[]", "a.json holds an empty array"),
    ("a.jsonl", (OK + "{").encode(), "a.jsonl:2 is not JSON"),
    ("a.jsonl", (OK + "7\n").encode(), "a.jsonl:2 is not a JSON object but a number"),
    ("a.json", f"[{OK},\n{OK.strip()[:-1]}\n]".encode(), "a.json:4 is not JSON"),
    ("a.json", f"[{OK},\n\n[1]]".encode(), r"a.json:4 \(record 2\) is not a JSON object but an array"),
    ("a.json", f"[{OK} {OK}]".encode(), "a.json:1 is not JSON: the array is not continued after record 1"),
    ("a.json", f"[{OK}".encode(), "a.json:1 is not JSON: the array is not continued"),
    ("a.json", f"[{OK}] more".encode(), "text follows the end of the array: 'more'"),
    ("a.json", b'{\n"data": [1]\n}', "a.json is a single JSON object with the keys 'data', not a list of records"),
    (
        "a.jsonl",
        OK.encode() + '{"prompt": "café", '.encode("latin-1"),
        "a.jsonl:2 is not UTF-8: byte 0xe9 at position 51",
    ),
    ("a.jsonl", BOM + b'{"prompt": "\xff"}', "a.jsonl:1 is not UTF-8: byte 0xff at position 15"),
    ("a.json", b'[{"a": 1},\n{"a": "\xff"}]', "a.json:2 is not UTF-8: byte 0xff at position 18"),
    ("a.jsonl", OK.encode("utf-16"), "a.jsonl is UTF-16"),
    ("a.zip", b"PK\x03\x04 and more", "a.zip is a zip archive"),
    ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:-9], "a.jsonl.gz cannot be read: Compressed file ended"),
    ("a.jsonl.xz", lzma.compress(LINES)[:40] + b"??", "a.jsonl.xz cannot be read"),
    ("a.jsonl.zst", zstd(LINES)[:20], "a.jsonl.zst"),
    ("a.parquet", b"PAR1" + bytes(20) + b"PAR1", "a.parquet cannot be read"),
    ("a.jsonl", b'{"a": ' + b"[" * 100_000, "a.jsonl:1 is not JSON: it is nested too deeply"),
    ("a.json", b"[" * 100_000, "a.json:1 is not JSON: it is nested too deeply"),
    (
        "a.jsonl",
        b'{"a": 1' + b"0" * 5000 + b"}",
        "a.jsonl:1 is not JSON: it holds a whole number of more than 4,300 digits",
    ),
    ("a.csv", b'prompt,output_tokens\n"a', "a.csv:1 is not CSV: unexpected end"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGED)
def test_damage_is_named_with_its_place(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        Jsonl(path=str(tmp_path / name)).check(3)


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_file, "MAX_LINE_BYTES", 1 << 20)
    (tmp_path / "a.jsonl").write_bytes(OK.encode() + b'{"prompt": "' + b"a" * (2 << 20) + b'"}')
    with pytest.raises(DatasetError, match=r"a\.jsonl:2 is longer than 1 MiB"):
        list(read_data_file(tmp_path / "a.jsonl"))


def test_an_array_may_be_longer_than_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_file, "MAX_LINE_BYTES", 100)
    (tmp_path / "a.json").write_text(json.dumps([{"prompt": "a" * 50}] * 10))
    assert len(list(read_data_file(tmp_path / "a.json"))) == 10
    monkeypatch.setattr(data_file, "MAX_ARRAY_BYTES", 200)
    with pytest.raises(DatasetError, match=r"a\.json is a JSON array of more than"):
        list(read_data_file(tmp_path / "a.json"))


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "is a directory"),
        (tmp_path / "pipe", "a pipe or a device"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(DatasetError, match=message):
            Jsonl(path=str(path)).check(1)


#: (record, words of the error); each is the second line of a file.
REFUSED: list[tuple[Any, str]] = [
    ({"prompt": "a \ud83d b"}, r"prompt: a lone surrogate \(\\ud83d\) at character 2"),
    ({"prompt": ""}, "prompt: it is empty"),
    ({"prompt": None}, 'neither a "prompt" nor "messages"'),
    ({"text": "a"}, "the columns are output_tokens, text"),
    ({"prompt": ["a"]}, "prompt: a list is not a text"),
    ({"prompt": "a", "output_tokens": 10**20}, "output_tokens: 100000000000000000000 is above 2147483647"),
    ({"prompt": "a", "output_tokens": -1}, "output_tokens: -1 is not a whole number above 0"),
    ({"prompt": "a", "output_tokens": True}, "output_tokens: True is not a whole number"),
    ({"prompt": "a", "output_tokens": 1.5}, "output_tokens: 1.5 is not a whole number"),
    ({"prompt": "a", "max_tokens": "8", "output_tokens": None}, "max_tokens: '8' is not a whole number"),
    ({"prompt": "a", "send_at_s": float("nan")}, "send_at_s: the send time nan is not finite"),
    ({"prompt": "a", "send_at_s": 10**400}, "send_at_s: the send time .* is not finite"),
    ({"prompt": "a", "send_at_s": True}, "send_at_s: the send time True is neither a number nor a date"),
    ({"prompt": "a", "timestamp": "\x1b[31mnoon"}, r"timestamp: the send time '\\x1b\[31mnoon' is neither"),
    ({"messages": "hello"}, "messages: 'hello' is not a list of messages"),
    ({"messages": [{"role": "wizard", "content": "a"}]}, r"messages\[0\].role: 'wizard' is not a role"),
    ({"messages": [{"role": "user", "content": None}]}, r"messages\[0\].content: None is not a text"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        r"content\[0\]: 'image_url' is not a part of text",
    ),
    ({"messages": [{"role": "user", "content": []}]}, "an empty list of parts"),
    ({"messages": [{"role": "user", "content": "\udc00"}]}, r"content: a lone surrogate \(\\udc00\)"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"x": "\ud800"}]}]},
        r"tool_calls: a value that cannot be sent as JSON",
    ),
]


@pytest.mark.parametrize(("row", "message"), REFUSED)
def test_a_record_that_cannot_be_used_is_named_with_line_and_field(tmp_path: Path, row: Any, message: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(OK + json.dumps({"output_tokens": 1, **row}) + "\n")
    with pytest.raises(DatasetError, match=rf"own\.jsonl:2: .*{message}") as caught:
        Jsonl(path=str(path)).check(2)
    assert "\x1b" not in caught.value.message and "\n" not in caught.value.message


def test_a_bad_record_behind_those_needed_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(OK * 2 + '{"prompt": 7}\n')
    with pytest.raises(DatasetError, match=r"own\.jsonl:3: prompt: 7 is not a text"):
        Jsonl(path=str(path)).check(1)


def test_too_few_records_are_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(OK * 3)
    with pytest.raises(DatasetError, match="has only 3 prompts, but 4 are needed") as caught:
        Jsonl(path=str(tmp_path / "own.jsonl")).check(4)
    assert caught.value.hint == "num_prompts=3, or dataset.allow_repeat=true"
    Jsonl(path=str(tmp_path / "own.jsonl"), allow_repeat=True).check(4)


# Columns and forms of conversations


def test_other_columns_are_named(tmp_path: Path, words: Tokenizer) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"question": "a b", "length": 7, "prompt": 3}\n')
    dataset = Jsonl(path=str(path), columns={"prompt": "question", "output_tokens": "length"})
    assert sampled(dataset, 1, words) == [Prompt("a b", 2, 7)]
    with pytest.raises(DatasetError, match="prompt: there is no column 'query', only question, length, prompt"):
        Jsonl(path=str(path), columns={"prompt": "query"}, output_tokens=1).check(1)
    with pytest.raises(ConfigError, match=r"dataset\.columns\.question: this dataset has no field") as caught:
        Jsonl(path=str(path), columns={"question": "query"})
    assert "prompt, messages, output_tokens, output, expect, send_at_s" in caught.value.hint


def test_parts_and_tool_turns_are_sent_as_they_are(tmp_path: Path, words: Tokenizer) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "one two"}, {"type": "text", "text": "three"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"messages": messages, "max_completion_tokens": 5, "tools": [{"type": "function"}]}))
    dataset = Jsonl(path=str(path))
    (prompt,) = sampled(dataset, 1, words)
    assert prompt.messages == tuple(messages) and prompt.output_tokens == 5
    assert (prompt.text.split(), prompt.prompt_tokens) == (["one", "two", "three", "42"], 4)
    assert 'have "tools", which is not sent' in dataset.warnings()[0]


TURNS = [("human", "one two three four"), ("gpt", "five six seven eight")]
SHAREGPT_TURNS = [{"from": who, "value": text} for who, text in TURNS]
OPENAI_TURNS = [{"role": {"human": "user", "gpt": "assistant"}[who], "content": text} for who, text in TURNS]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": SHAREGPT_TURNS},
        {"conversations": OPENAI_TURNS},
        {"messages": OPENAI_TURNS},
        {"conversations": [{**OPENAI_TURNS[0], "content": [{"type": "text", "text": TURNS[0][1]}]}, OPENAI_TURNS[1]]},
    ],
)
@pytest.mark.parametrize("kind", [ShareGPT, UltraChat])
def test_conversations_of_both_forms_are_read(
    tmp_path: Path, words: Tokenizer, kind: type[FileDataset], row: dict[str, Any]
) -> None:
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([row]))
    (prompt,) = sampled(kind(path=str(path)), 1, words)
    assert (prompt.text, prompt.output_tokens) == (TURNS[0][1], 4)


ODD: list[Any] = [
    {"conversations": []},
    {"conversations": None},
    {"id": "no conversation"},
    {"conversations": ["text", "text"]},
    {"conversations": SHAREGPT_TURNS[::-1]},
    {"conversations": [{"from": "human", "value": None}, SHAREGPT_TURNS[1]]},
    {"conversations": [{"from": "human", "value": "lone \ud83d surrogate"}, SHAREGPT_TURNS[1]]},
    {"conversations": [SHAREGPT_TURNS[0], {"from": "gpt", "value": "\udc00"}]},
    {"conversations": [{"from": 7, "value": "a"}, SHAREGPT_TURNS[1]]},
]


def test_odd_records_of_sharegpt_are_left_out_and_counted(tmp_path: Path, words: Tokenizer) -> None:
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([row for odd in ODD for row in (odd, {"conversations": SHAREGPT_TURNS})]))
    dataset = ShareGPT(path=str(path))
    assert {p.text for p in sampled(dataset, len(ODD), words)} == {TURNS[0][1]}
    (warning,) = dataset.warnings()
    assert f"{len(ODD)} of {2 * len(ODD)} records were left out" in warning and "talks.json:1 (record 1" in warning


def test_content_that_is_null_is_no_text_of_ultrachat(tmp_path: Path, words: Tokenizer) -> None:
    rows = [{"messages": [{"role": "user", "content": None}]}, {"messages": ["a"]}, {"messages": OPENAI_TURNS}]
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (prompt,) = sampled(UltraChat(path=str(path)), 1, words)
    assert "None" not in prompt.text


@pytest.mark.parametrize("kind", [ShareGPT, UltraChat])
def test_a_file_of_another_shape_is_not_said_to_be_too_short(tmp_path: Path, kind: type[FileDataset]) -> None:
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([{"question": "a", "answer": "b"}] * 5))
    with pytest.raises(DatasetError, match=r"no record can be used: .*5 of 5 records were left out") as caught:
        kind(path=str(path)).check(1)
    assert "question, answer" in caught.value.hint and "bounds" not in caught.value.hint


def test_bounds_that_leave_nothing_are_named(tmp_path: Path, words: Tokenizer) -> None:
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([{"conversations": SHAREGPT_TURNS}] * 5))
    with pytest.raises(DatasetError, match=r"only 0 prompts that fit.*5 have a prompt of more than 3 tokens"):
        sampled(ShareGPT(path=str(path), max_prompt_tokens=3), 1, words)


# Any damage

scalars = (
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | st.text(max_size=4) | st.just("\ud800")
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
RECORDS: dict[str, dict[str, Any]] = {
    "jsonl": {"prompt": "a b", "output_tokens": 3, "send_at_s": 1.0, "messages": None},
    "sharegpt": {"conversations": SHAREGPT_TURNS},
    "ultrachat": {"messages": OPENAI_TURNS},
    "token_trace": {"timestamp": 1, "input_length": 20, "output_length": 5, "hash_ids": [3]},
}
KINDS: dict[str, type[FileDataset]] = {
    "jsonl": Jsonl,
    "sharegpt": ShareGPT,
    "ultrachat": UltraChat,
    "token_trace": TokenTrace,
}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(sorted(KINDS)))
def test_any_file_is_read_or_refused_with_its_name(
    tmp_path: Path, words: Tokenizer, data: st.DataObject, name: str
) -> None:
    """Two good records and one with any value in any place, as lines or array, with bytes cut off, changed or added."""
    record = json.loads(json.dumps(RECORDS[name]))
    record[data.draw(st.sampled_from([*record, "other"]))] = data.draw(values)
    rows = [json.dumps(row) for row in (RECORDS[name], record, RECORDS[name])]
    content = ("\n".join(rows) if data.draw(st.booleans()) else f"[{','.join(rows)}]").encode("utf-8", "surrogatepass")
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(content)))
        content = content[:at] + data.draw(st.binary(max_size=3)) + content[at + data.draw(st.integers(0, 5)) :]
    if data.draw(st.booleans()):
        content = gzip.compress(content, mtime=0)[: data.draw(st.integers(0, 400))]
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    dataset = KINDS[name](path=str(path))
    try:
        dataset.check(3)
        dataset.recorded_s(3)
        list(dataset.sample(3, words, np.random.default_rng(1), None))
        assert all(isinstance(warning, str) for warning in dataset.warnings())
    except BenchhydraError as error:
        assert "any.jsonl" in error.message and "\n" not in error.message
