"""Every endpoint on the fake engine: what is measured is what the server counted, and its faults are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.endpoints.conftest import Measure
from tests.scripts.points import composed

from benchhydra.errors import ConfigError
from benchhydra.records import Status
from benchhydra.result import Verdict
from benchhydra.run import spec_of

#: The requests of a load of ``conftest``, and the words of each text.
REQUESTS, WORDS = 40, 12
ITEMS = {
    "embeddings": (["api=embeddings", "api.batch=4"], 4, 4 * WORDS),
    "in base64": (
        ["api=embeddings", "api.batch=4", "api.encoding=base64", "api.dimensions=8"],
        4,
        4 * WORDS,
    ),
    "one text": (["api=embeddings"], 1, WORDS),
    "pooling": (["api=pooling", "api.batch=3"], 3, 3 * WORDS),
    "classify": (["api=classify", "api.batch=2"], 2, 2 * WORDS),
    "score": (["api=score", "api.documents=5"], 5, 10 * WORDS),
    "rerank": (["api=rerank", "api.documents=5"], 5, 10 * WORDS),
}


@pytest.mark.parametrize(("overrides", "items", "tokens"), ITEMS.values(), ids=ITEMS)
def test_items_are_counted_exactly(measure: Measure, overrides: list[str], items: int, tokens: int) -> None:
    measured = measure(*overrides)
    metrics = measured.metrics
    assert not measured.doubts
    assert measured.truth == {"items": REQUESTS * items, "prompt_tokens": REQUESTS * tokens}
    assert metrics["completed"] == REQUESTS and metrics["mean_items"] == items
    assert metrics["mean_input_tokens"] == tokens
    assert metrics["item_throughput"] == pytest.approx(measured.truth["items"] / metrics["duration_s"])
    assert metrics["input_throughput"] == pytest.approx(measured.truth["prompt_tokens"] / metrics["duration_s"])
    own = [name for name in metrics if not name.startswith(("server_", "outside_server"))]
    assert not [name for name in own if "ttft" in name or "tpot" in name or "itl" in name or "output" in name]
    assert measured.result.key_metrics[0] == "item_throughput"


@pytest.mark.parametrize("overrides", [words for words, items, _ in ITEMS.values() if items > 1], ids=lambda o: o[0])
def test_broken_items_are_failed_requests(measure: Measure, overrides: list[str]) -> None:
    measured = measure(*overrides, flags=("--broken-items-fraction", "0.5"))
    failed, broken = int(measured.metrics["failed"]), measured.classes["broken_items"]
    assert failed > 5 and measured.result.verdict == Verdict.INVALID
    assert failed == broken or "api=rerank" in overrides  # whose order is free
    assert set(measured.rows.status[measured.rows.failed].tolist()) == {Status.MALFORMED}
    assert measured.metrics["mean_items"] == measured.truth["items"] / measured.classes["ok"]


def test_a_server_that_cuts_documents_is_suspect(measure: Measure) -> None:
    measured = measure("api=embeddings", "api.batch=2", flags=("--usage-low-fraction", "1"))
    assert {"prompt_tokens"} <= measured.checks


@pytest.mark.parametrize("stream", [True, False])
def test_responses(measure: Measure, stream: bool) -> None:
    measured = measure("api=responses", f"script.stream={stream}", "dataset.output_tokens=6")
    metrics = measured.metrics
    assert not measured.doubts
    assert (metrics["mean_input_tokens"], metrics["mean_output_tokens"]) == (WORDS, 6)
    assert ("mean_tpot_ms" in metrics) is stream
    if stream:
        assert metrics["chunks_per_request"] == 6
        assert metrics["mean_ttft_ms"] >= 2 and metrics["mean_tpot_ms"] > 0


@pytest.mark.parametrize(
    ("fault", "status"),
    [("error_event", Status.ERROR_EVENT), ("early_end", Status.EARLY_END), ("abort", Status.ERROR_EVENT)],
)
def test_responses_that_fail(measure: Measure, fault: str, status: Status) -> None:
    flag = f"--{fault.replace('_', '-')}-fraction"
    measured = measure("api=responses", "dataset.output_tokens=6", flags=(flag, "0.4"))
    assert measured.metrics["failed"] == measured.classes[fault] > 5
    assert set(measured.rows.status[measured.rows.failed].tolist()) == {status}


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_reasoning_is_measured_apart(measure: Measure, api: str) -> None:
    words = [f"api={api}", "api.reasoning=true", "dataset.output_tokens=12"]
    measured = measure(*words, flags=("--reasoning-tokens", "8"))
    metrics, rows = measured.metrics, measured.rows
    assert not measured.doubts
    assert (rows.labels["reasoning_chunks"] == 8).all() and (rows.labels["reasoning_tokens"] == 8).all()
    assert metrics["mean_reasoning_tokens"] == metrics["mean_reasoning_chunks"] == 8
    assert metrics["answered_fraction"] == 1
    gaps = [rows.gaps_ns[begin : begin + 8].sum() for begin in rows.gap_offsets[:-1]]
    expected_ms = np.mean((rows.first_ns - rows.sent_ns + np.array(gaps)) / 1e6)
    assert metrics["mean_ttfat_ms"] == pytest.approx(expected_ms)
    assert metrics["mean_ttfat_ms"] > metrics["mean_ttft_ms"]


def test_a_server_that_does_not_separate_reasoning_is_suspect(measure: Measure) -> None:
    assert "reasoning" in measure("api=chat", "api.reasoning=true").checks


def test_reasoning_that_never_ends_is_suspect(measure: Measure) -> None:
    words = ("api=chat", "api.reasoning=true", "dataset.output_tokens=6")
    measured = measure(*words, flags=("--reasoning-tokens", "8"))
    assert "reasoning" in measured.checks
    assert measured.metrics["answered_fraction"] == 0 and "mean_ttfat_ms" not in measured.metrics


STRUCTURED = {
    "schema": "api.json_schema=example",
    "choice": "api.choice=[red,green]",
    "regex": "api.regex='w( w)+'",
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("asked", STRUCTURED)
def test_structured_output_is_checked(measure: Measure, asked: str, stream: bool) -> None:
    words = ("api=chat", STRUCTURED[asked], f"script.stream={stream}", "dataset.output_tokens=12")
    measured = measure(*words)
    assert not measured.doubts
    assert measured.metrics["valid_output_fraction"] == 1


@pytest.mark.parametrize("words", ["api.json_schema=example", "api.choice=[red]", "api.tools=example"])
def test_a_server_that_ignores_what_is_asked_for_is_suspect(measure: Measure, words: str) -> None:
    asked = ("api=chat", "dataset.output_tokens=12", words, *(["api.tool_choice=required"] if "tools" in words else []))
    measured = measure(*asked, flags=("--invalid-output-fraction", "0.3"))
    name = "valid_tool_call_fraction" if "tools" in words else "valid_output_fraction"
    assert measured.metrics[name] == pytest.approx(1 - measured.classes["invalid_output"] / REQUESTS)
    assert {"tool_calls", "structured_output"} & measured.checks


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("choice", ["auto", "required", "add"])
def test_tool_calls_are_counted_and_checked(measure: Measure, choice: str, stream: bool) -> None:
    words = ("api=chat", "api.tools=example", f"api.tool_choice={choice}", "dataset.output_tokens=12")
    measured = measure(*words, f"script.stream={stream}")
    assert not measured.doubts
    assert measured.metrics["tool_calls_per_request"] == 1 == measured.metrics["valid_tool_call_fraction"]


def test_images_are_counted_exactly(measure: Measure) -> None:
    words = ("dataset=images", "dataset.count=2", "dataset.width=280", "dataset.height=56", "dataset.output_tokens=4")
    measured = measure("api=chat", *words)
    metrics = measured.metrics
    assert not measured.doubts
    assert measured.truth == {"images": 2 * REQUESTS}
    assert metrics["mean_image_tokens"] == 10 * 2
    assert metrics["image_throughput"] == pytest.approx(2 * REQUESTS / metrics["duration_s"])


@pytest.mark.parametrize("stream", [True, False])
def test_recordings_are_counted_exactly(measure: Measure, stream: bool) -> None:
    words = ("api=transcription", "dataset=audio", "dataset.seconds=2", f"script.stream={stream}")
    measured = measure(*words)
    metrics = measured.metrics
    assert not measured.doubts
    assert measured.truth == {"audio_ms": 2000 * REQUESTS}
    assert metrics["audio_throughput"] == pytest.approx(2 * REQUESTS / metrics["duration_s"])
    assert metrics["mean_real_time_factor"] == pytest.approx(metrics["mean_e2el_ms"] / 2000)
    if stream:
        assert (metrics["mean_input_tokens"], metrics["mean_output_tokens"]) == (50, 6)


def test_files_are_sent_in_turn(measure: Measure, tmp_path: Path) -> None:
    from benchhydra.datasets.audio import made_wav

    for seconds in (1, 2, 3):
        (tmp_path / f"{seconds}.wav").write_bytes(made_wav(seconds, np.random.default_rng(seconds)))
    measured = measure("api=transcription", "dataset=audio", f"dataset.path={tmp_path}")
    lengths_ms = measured.rows.labels["audio_ms"]
    assert lengths_ms[:4].tolist() == [1000, 2000, 3000, 1000]
    assert measured.truth["audio_ms"] == lengths_ms.sum()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("api=transcription",), "needs audio data"),
        (("api=completions", "dataset=images"), "sends no image data"),
        (("script=throughput", "dataset=images"), "sends no image data"),
        (("script=throughput", "+dataset.adapters={sql:1}"), "dataset.adapters has no effect"),
        (("script=latency", "script.on=offline", "dataset.expect=yes"), "dataset.expect has no effect"),
        (("script=latency", "api=rerank"), "one text at a time"),
        (("api=chat", "api.json_schema=example", "api.regex=a"), "exclude each other"),
        (("api=chat", "api.tools=example", "api.tool_choice=sing"), "is no tool"),
        (("api=chat", "api.regex='('"), "is no regular expression"),
        (("api=chat", "api.json_schema=/no/such/file"), "cannot be read"),
        (("api=embeddings", "api.batch=0"), "must be at least 1"),
        (("api=rerank", "api.pairs=several"), "is not allowed"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        spec_of(composed(*words))


def test_a_warm_up_has_the_same_requests(measure: Measure) -> None:
    measured = measure("api=rerank", "api.documents=3", "script.warmup_requests=10")
    assert measured.truth["items"] == 3 * (REQUESTS + 10)
    assert measured.truth["prompt_tokens"] == 6 * WORDS * (REQUESTS + 10)
