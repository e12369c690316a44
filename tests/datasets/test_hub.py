"""Datasets of the hub, from a server on this machine that answers as the hub does."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.datasets.hub import Hub
from benchhydra.errors import ConfigError, DatasetError

REPO = "org/questions"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = [{"question": f"what is {i}", "reply": " ".join(["word"] * (i + 1)), "right": str(i)} for i in range(5)]


def parquet(rows: list[dict[str, str]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


FILES = {
    "README.md": b"# questions",
    "data/train-00000-of-00002.parquet": parquet(ROWS[:3]),
    "data/train-00001-of-00002.parquet": parquet([*ROWS[3:], {"question": "", "reply": "no question", "right": "1"}]),
    "data/test-00000-of-00001.parquet": parquet(ROWS[:1]),
    "hard/train.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in ROWS[:2]),
}


class Hubs(BaseHTTPRequestHandler):
    """The paths of the hub that a download uses."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(path)
        beginning = f"/datasets/{REPO}/resolve/"
        if path.startswith(f"/api/datasets/{REPO}/tree/"):
            self.answer(json.dumps([self.entry(name) for name in FILES]).encode(), {})
        elif path.startswith(f"/api/datasets/{REPO}"):
            siblings = [{"rfilename": name} for name in FILES]
            self.answer(json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode(), {})
        elif path.startswith(beginning) and path.removeprefix(beginning).partition("/")[2] in FILES:
            data = FILES[path.removeprefix(beginning).partition("/")[2]]
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            self.answer(data, {"X-Repo-Commit": COMMIT, "ETag": etag})
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def entry(self, name: str) -> dict[str, object]:
        data = FILES[name]
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def answer(self, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hubs)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    Hubs.asked.clear()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def dataset(**fields: object) -> Hub:
    columns = {"prompt": "question", "output": "reply", "expect": "right"}
    return Hub(**{"repo": REPO, "subset": "data", "columns": columns, "shuffle": False} | fields)  # type: ignore[arg-type]


def sampled(made: Hub, count: int, tokenizer: Tokenizer) -> list[Prompt]:
    return list(made.sample(count, tokenizer, np.random.default_rng(1), None))


def test_a_split_becomes_prompts_by_its_columns(words: Tokenizer) -> None:
    made = dataset()
    prompts = sampled(made, 5, words)
    assert [(prompt.text, prompt.output_tokens, prompt.expect) for prompt in prompts] == [
        (row["question"], len(row["reply"].split()), row["right"]) for row in ROWS
    ]
    assert "1 of 6 records were left out: 1 (prompt: it is empty" in made.warnings()[0]
    assert not any("test-" in path or "README" in path for path in Hubs.asked if "/resolve/" in path)


def test_another_split_and_a_folder_of_the_repository(words: Tokenizer) -> None:
    assert [prompt.text for prompt in sampled(dataset(split="test"), 1, words)] == ["what is 0"]
    assert len(sampled(dataset(subset="hard"), 2, words)) == 2
    with pytest.raises(DatasetError, match=f"^{REPO} has only 2 prompts"):
        sampled(dataset(subset="hard"), 3, words)


def test_prompts_are_drawn_by_the_seed(words: Tokenizer) -> None:
    first, again = (sampled(dataset(shuffle=True), 5, words) for _ in range(2))
    assert first == again != sampled(dataset(), 5, words)


def test_a_split_that_is_not_there_is_an_error(words: Tokenizer) -> None:
    with pytest.raises(DatasetError, match="has no split dev in data"):
        sampled(dataset(split="dev"), 1, words)


def test_a_dataset_that_is_not_there_is_an_error(words: Tokenizer) -> None:
    with pytest.raises(DatasetError, match="cannot fetch org/nothing"):
        sampled(dataset(repo="org/nothing"), 1, words)


def test_a_missing_column_is_said_with_the_columns_there_are(words: Tokenizer) -> None:
    with pytest.raises(DatasetError, match="there is no column 'ask', only") as refused:
        sampled(dataset(columns={"prompt": "ask", "output": "reply"}), 1, words)
    assert "question" in str(refused.value)


def test_a_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="no effect on dataset=hub"):
        Hub(repo=REPO, path="file.jsonl")
