"""Whole points on the fake engine: checked answers, mixed adapters and priorities, cancelled and retried requests."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from tests.test_run import run as run_composed
from tests.test_validity import facts, rows, some, verdict

import benchhydra
from benchhydra import config, registry
from benchhydra.client.apis.chat import Chat
from benchhydra.config import BenchConfig
from benchhydra.errors import ConfigError
from benchhydra.measure import answer_checks
from benchhydra.metrics import summarize
from benchhydra.records import NEVER, Records, Status
from benchhydra.render.point_report import PointReport
from benchhydra.render.terminal.point_table import print_point
from benchhydra.result import Result
from benchhydra.run import spec_of
from benchhydra.servers.pool import ServerPool
from benchhydra.window import Window

registry.discover()
config.register()
QUICK = ["model=llama2", "engine=fake", "engine.ttft_ms=2", "engine.itl_ms=1", "tracking=none", "qps=50"]
QUICK += ["dataset.output_tokens=8", "num_prompts=12", "script.warmup_requests=2"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPool]:
    made = ServerPool(tmp_path_factory.mktemp("servers"))
    yield made
    made.close()


def composed(*overrides: str) -> BenchConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(registry.CONF_DIR), version_base="1.3"):
        made: Any = OmegaConf.to_object(compose("config", overrides=[*QUICK, *overrides]))
    assert isinstance(made, BenchConfig)
    return made


def run(pool: ServerPool, out: Path, *overrides: str) -> Result:
    return run_composed(composed(*overrides), out, pool)


def reasons(result: Result) -> dict[str, str]:
    return {reason.check: reason.text for reason in result.reasons}


@pytest.mark.parametrize(
    "more",
    [("api=completions",), ("api=chat",), ("api=chat", "script.stream=false"), ("load.processes=2",)],
    ids=["completions", "chat", "whole", "two processes"],
)
def test_right_answers_are_right(pool: ServerPool, tmp_path: Path, more: tuple[str, ...]) -> None:
    result = run(pool, tmp_path / "p", "dataset=copying", *more)
    assert result.value("output_correct_fraction") == 1.0 and result.value("output_checked") == 12
    assert "output_check" not in reasons(result)


def test_an_engine_that_answers_wrongly_is_found(pool: ServerPool, tmp_path: Path) -> None:
    result = run(pool, tmp_path / "p", "dataset=arithmetic", "engine.wrong_fraction=0.5", "num_prompts=40")
    right = result.value("output_correct_fraction")
    labels = Records.read(tmp_path / "p" / "records.parquet").labels["correct"]
    assert right is not None and 0.2 < right < 0.8 and labels.mean() == right
    assert f"only {labels.sum()} of 40 answers are as expected" in reasons(result)["output_check"]


def test_an_engine_that_cuts_the_context_is_found(pool: ServerPool, tmp_path: Path) -> None:
    words = ("dataset=copying", "dataset.words=20", "dataset.output_tokens=null")
    assert run(pool, tmp_path / "whole", *words).value("output_correct_fraction") == 1.0
    cut = run(pool, tmp_path / "cut", *words, "engine.context_tokens=16")
    assert cut.value("output_correct_fraction") == 0.0 and "output_check" in reasons(cut)


def test_an_expectation_of_ones_own_and_the_answers_in_a_file(pool: ServerPool, tmp_path: Path) -> None:
    result = run(pool, tmp_path / "p", "dataset.expect=/w w/", "script.keep_text=true")
    assert result.value("output_correct_fraction") == 1.0
    lines = [json.loads(line) for line in (tmp_path / "p" / "texts.jsonl").read_text().splitlines()]
    assert {(line["expect"], line["correct"]) for line in lines} == {("/w w/", True)}
    (stored,) = benchhydra.load(tmp_path / "p")
    assert stored.correct_fraction() == 1.0
    assert stored.correct_fraction("w w w w") == 1.0 and stored.correct_fraction("nothing of it") == 0.0


def test_answers_that_take_too_long_to_check_are_unknown(
    pool: ServerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_checks, "LONGEST_CHECK_S", 0.2)
    words = ("dataset.expect='/(w| |w )+x/'", "dataset.output_tokens=60", "script.keep_text=true")
    result = run(pool, tmp_path / "p", *words)
    assert result.value("completed") == 12 and result.value("output_checked") == 0
    assert any("12 of 12 answers were not checked" in warning for warning in result.warnings)
    lines = [json.loads(line) for line in (tmp_path / "p" / "texts.jsonl").read_text().splitlines()]
    assert [line["correct"] for line in lines] == [None] * 12


def test_structured_output_that_takes_too_long_to_check_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_checks, "LONGEST_CHECK_S", 0.2)
    records = dataclasses.replace(rows(3), labels={"request": np.arange(3, dtype=np.int32)})
    api = Chat(regex="(w| |w )+x")
    checked = answer_checks.checked(records, ["w x", "w w " * 30, "w x"], api)
    assert checked.labels["tool_calls"].tolist() == [0, -1, -1]
    assert "2 of 3 answers were not checked" in answer_checks.unchecked_warning(checked, ())[0]
    values = {each.key: each.value for each in summarize(Window.of(checked), {"requests", "structured"})}
    assert values["valid_output_fraction"] == 1.0


def test_nothing_is_checked_by_default(pool: ServerPool, tmp_path: Path) -> None:
    result = run(pool, tmp_path / "p")
    assert result.value("output_checked") is None and not result.groups
    assert not Records.read(tmp_path / "p" / "records.parquet").labels


def test_results_are_given_by_adapter_and_by_priority(pool: ServerPool, tmp_path: Path) -> None:
    result = run(
        pool,
        tmp_path / "p",
        *("+dataset.adapters={sql:1,base:1}", "+dataset.priorities={0:1,5:1}", "num_prompts=60"),
        *("engine.adapters=[sql,law]", "engine.adapter_ms=40"),
    )
    assert result.value("failed") == 0
    by_adapter, by_priority = result.groups["adapter"], result.groups["priority"]
    ttft = {name: metrics["median_ttft_ms"].value for name, metrics in by_adapter.items()}
    assert 25 < ttft["sql"] - ttft["base"] < 70
    for groups in (by_adapter, by_priority):
        assert sum(metrics["completed"].value for metrics in groups.values()) == 60
    assert set(by_priority) == {"0", "5"}
    assert Result.read(tmp_path / "p").groups == result.groups
    stream = io.StringIO()
    print_point(PointReport(result=result, directory=tmp_path), stream)
    assert re.search(r"by adapter +sql +base +unit", stream.getvalue())
    assert re.search(r"by priority +0 +5 +unit", stream.getvalue())


def test_an_adapter_that_the_server_does_not_have_fails(pool: ServerPool, tmp_path: Path) -> None:
    words = ("+dataset.adapters={nobody:1}", "script.warmup_requests=0", "engine.adapters=[sql]")
    result = run(pool, tmp_path / "p", *words)
    assert result.failures == {"http_4xx": 12} and "nobody" in result.failure_texts[0].text


def test_low_priorities_wait_while_high_ones_are_served(pool: ServerPool, tmp_path: Path) -> None:
    words = ("+dataset.priorities={0:1,5:1}", "qps=inf", "num_prompts=60", "engine.max_concurrency=4")
    served = run(pool, tmp_path / "p", *words, "engine.priority_scheduling=true", "engine.itl_ms=5")
    first, last = (served.groups["priority"][name]["median_ttft_ms"].value for name in ("0", "5"))
    assert first * 1.5 < last


CANCELLED = ("load.cancel_fraction=0.5", "load.cancel_after_s=0.1", "dataset.output_tokens=100", "num_prompts=20")


def test_cancelled_requests_count_apart_and_a_server_that_stops_is_not_suspected(
    pool: ServerPool, tmp_path: Path
) -> None:
    result = run(pool, tmp_path / "p", *CANCELLED, "engine.itl_ms=5")
    assert (result.value("cancelled"), result.value("completed"), result.value("failed")) == (10, 10, 0)
    assert result.failures == {"user_cancelled": 10} and not result.failure_texts
    assert "goes_on" not in reasons(result) and "failed_fraction" not in reasons(result)


def test_a_server_that_goes_on_for_clients_that_are_gone_is_found(pool: ServerPool, tmp_path: Path) -> None:
    result = run(pool, tmp_path / "p", *CANCELLED, "engine.itl_ms=5", "engine.ignore_disconnects=true")
    assert "after 10 cancellations" in reasons(result)["goes_on"]


@pytest.mark.parametrize(("generated", "found"), [(180 * 64 + 20 * 64, True), (180 * 64 + 400, False), (None, False)])
def test_what_was_generated_is_compared_with_what_was_received(generated: float | None, found: bool) -> None:
    cancelled = rows(status=some(20, Status.USER_CANCELLED), first_ns=NEVER)
    assert ("goes_on" in verdict(cancelled, facts(server_generation_tokens=generated))[1]) is found


def test_failures_that_pass_are_retried_counted_and_suspected(pool: ServerPool, tmp_path: Path) -> None:
    words = ("script.retries=5", "script.retry_backoff_s=0.01", "engine.http_5xx_fraction=0.3", "num_prompts=40")
    result = run(pool, tmp_path / "p", *words)
    tries = Records.read(tmp_path / "p" / "records.parquet").labels["tries"]
    assert result.value("failed") == 0 and result.value("completed") == 40
    assert result.value("retries") == np.maximum(tries - 1, 0).sum() > 0
    assert "retried" in reasons(result)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("load.cancel_fraction=0.1",), "needs a time or a number of chunks"),
        (("load.cancel_after_s=1",), "has no effect"),
        (
            ("load.cancel_fraction=0.1", "load.cancel_after_chunks=5", "script.stream=false"),
            "cancel_after_chunks needs streamed answers",
        ),
        (("load.cancel_fraction=2", "load.cancel_after_s=1"), "must be from 0 to 1"),
        (("script.retries=-1",), "must be at least 0"),
        (("+dataset.adapters={a:0}",), "all weights are 0"),
        (("dataset.expect='/(/'",), "not a regular expression"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        spec_of(composed(*overrides))
