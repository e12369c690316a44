"""Records that bring all texts of a request: a batch to embed, or a query and the documents to rank for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.scripts.points import composed, run

from benchhydra.client.apis import Api
from benchhydra.client.apis.embeddings import Embeddings
from benchhydra.client.apis.rerank import Rerank
from benchhydra.client.apis.score import Score
from benchhydra.datasets import Prompt
from benchhydra.datasets.hub import Hub
from benchhydra.datasets.jsonl import Jsonl
from benchhydra.datasets.tokenization import WordTokenizer
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.measure.several_texts import joined_prompts, prompts_per_request
from benchhydra.records import Records
from benchhydra.run import spec_of

RANKED: list[dict[str, Any]] = [
    {"query": "a b", "documents": ["c d e", "f", "g h"]},
    {"query": "i", "documents": ["j k"], "send_at_s": 1.5},
    {"query": "l m n", "documents": [f"o{i}" for i in range(12)]},
]
BATCHES: list[dict[str, Any]] = [{"texts": ["a b", "c"]}, {"texts": ["d"]}, {"texts": ["e f", "g h", "i j"]}]


def dataset(path: Path, rows: list[dict[str, Any]], **settings: Any) -> Jsonl:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Jsonl(path=str(path), **settings)


def requests_of(data: Jsonl, api: Api, count: int) -> list[Prompt]:
    size = prompts_per_request(data, api)
    data.check(count * size)
    sampled = data.sample(count * size, WordTokenizer(), np.random.default_rng(1), 512)
    return list(joined_prompts(sampled, api, size))


def test_a_query_is_ranked_with_its_own_documents(tmp_path: Path) -> None:
    data = dataset(tmp_path / "a.jsonl", RANKED)
    joint = requests_of(data, Rerank(documents=10), 3)
    assert [(p.text, list(p.texts)) for p in joint] == [(row["query"], row["documents"]) for row in RANKED]
    assert [p.prompt_tokens for p in joint] == [3 * 2 + 6, 1 + 2, 12 * 3 + 12]
    assert [p.labels["items"] for p in joint] == [3, 1, 12]
    assert Score().own_body(joint[1], 1) == {"text_1": "i", "text_2": ["j k"]}
    separate = requests_of(data, Score(pairs="separate"), 3)
    assert [p.prompt_tokens for p in separate] == [2 + 6, 1 + 2, 3 + 12]


def test_a_batch_is_embedded_as_it_is(tmp_path: Path) -> None:
    batches = requests_of(dataset(tmp_path / "a.jsonl", BATCHES), Embeddings(batch=7), 3)
    assert [Embeddings().own_body(p, 1)["input"] for p in batches] == [["a b", "c"], "d", ["e f", "g h", "i j"]]
    assert [(p.prompt_tokens, p.labels["items"]) for p in batches] == [(3, 2), (1, 1), (6, 3)]


def test_columns_say_where_the_texts_are(tmp_path: Path) -> None:
    rows = [{"prompt": "x", "question": "a b", "passages": ["c"]}]
    columns = {"query": "question", "documents": "passages"}
    (request,) = requests_of(dataset(tmp_path / "a.jsonl", rows, columns=columns), Rerank(), 1)
    assert (request.text, request.texts) == ("a b", ("c",))


def test_prompts_that_have_documents_beside_them_stay_prompts(tmp_path: Path) -> None:
    data = dataset(tmp_path / "a.jsonl", [{"prompt": "x y", "documents": ["c"], "output_tokens": 3}])
    assert data.text_group() is None
    (prompt,) = data.sample(1, WordTokenizer(), np.random.default_rng(1), None)
    assert (prompt.text, prompt.texts, prompt.prompt_tokens) == ("x y", (), 2)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"documents": ["a"]}, "query: it is missing"),
        ({"query": "", "documents": ["a"]}, "query: it is empty"),
        ({"query": "q", "documents": []}, "documents: a list without entries is not a list of texts"),
        ({"query": "q", "documents": ["a", 3]}, r"documents\[1\]: 3 is not a text"),
        ({"texts": "a"}, "texts: 'a' is not a list of texts"),
        ({"texts": ["a", ""]}, r"texts\[1\]: it is empty"),
        ({"texts": ["\ud83d"]}, r"texts\[0\]: a lone surrogate"),
        ({"query": "q"}, 'neither a "prompt" nor "messages"'),
    ],
)
def test_a_record_that_cannot_be_used_is_refused_with_its_field(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    with pytest.raises(DatasetError, match=words):
        dataset(tmp_path / "a.jsonl", [row]).check(1)


def test_a_file_holds_one_kind_of_record(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a.jsonl:4: it brings texts, the first record a query and documents"):
        dataset(tmp_path / "a.jsonl", [*RANKED, *BATCHES]).text_group()


def test_each_text_must_fit(tmp_path: Path) -> None:
    data = dataset(tmp_path / "a.jsonl", [{"query": "a", "documents": ["b", "c " * 600]}, *RANKED[:1]])
    with pytest.raises(DatasetError, match=r"only 1 prompts that fit, but 2 are needed .1 have more than 512 tokens"):
        requests_of(data, Rerank(), 2)


def test_what_the_hub_has_is_only_taken_from_named_columns() -> None:
    assert Hub(repo="a/b").text_group() is None
    assert Hub(repo="a/b", columns={"documents": "d"}).text_group() == "query"
    assert Hub(repo="a/b", columns={"texts": "t"}).text_group() == "batch"


@pytest.mark.parametrize(
    ("rows", "overrides", "words"),
    [
        (RANKED, ("api=chat", "num_prompts=3"), "api=chat cannot send records with a query and documents"),
        (RANKED, ("api=embeddings", "num_prompts=3"), "api=embeddings cannot send records with a query and documents"),
        (BATCHES, ("api=rerank", "num_prompts=3"), "api=rerank cannot send records with texts"),
        (BATCHES, ("script=latency", "dataset.allow_repeat=true"), "the records bring several"),
        (RANKED, ("api=rerank", "num_prompts=4"), "has only 3 prompts, but 4 are needed"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_starts(
    tmp_path: Path, rows: list[dict[str, Any]], overrides: tuple[str, ...], words: str
) -> None:
    dataset(tmp_path / "a.jsonl", rows)
    point = ("dataset=jsonl", f"dataset.path={tmp_path / 'a.jsonl'}", *overrides)
    with pytest.raises((ConfigError, DatasetError), match=words):
        spec_of(composed(*point))


def test_a_load_ranks_the_documents_of_a_file(tmp_path: Path) -> None:
    """The fake server counts what it gets: the queries with each document."""
    dataset(tmp_path / "a.jsonl", RANKED)
    words = ("dataset=jsonl", f"dataset.path={tmp_path / 'a.jsonl'}", "api=rerank", "num_prompts=3", "qps=50")
    result = run(tmp_path / "point", *words, "script.fail_on=never", "script.keep_text=true")
    rows = Records.read(tmp_path / "point" / "records.parquet")
    assert result.value("completed") == 3 and rows.labels["items"].tolist() == [3, 1, 12]
    assert rows.prompt_tokens.tolist() == rows.asked_prompt_tokens.tolist() == [12, 3, 48]
    sent = [json.loads(line) for line in (tmp_path / "point" / "texts.jsonl").read_text().splitlines()]
    assert [line["texts"] for line in sent] == [row["documents"] for row in RANKED]
