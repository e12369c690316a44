"""Conversations on a real vLLM: its prefix cache finds as much of their histories as is expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.planted_causes import measure
from tests.vllm.servers import TWO_SLOTS, VllmServers, words

from benchhydra.records import Records
from benchhydra.result import Result

pytestmark = pytest.mark.vllm

SESSIONS = (
    *("dataset=sessions", "load=sessions", "qps=4", "num_prompts=12", "dataset.turns=5", "dataset.think_s=0.1"),
    *("dataset.prompt_tokens=60", "dataset.output_tokens=24", "dataset.system_tokens=140", "script.fail_on=never"),
)


@pytest.mark.parametrize(("history", "api"), [("real", "chat"), ("recorded", "completions")])
def test_vllm_finds_the_histories_that_are_expected(
    vllm_servers: VllmServers, tmp_path: Path, history: str, api: str
) -> None:
    pool = vllm_servers.pool(**TWO_SLOTS)
    own = (f"dataset.history={history}", f"api={api}", "dataset.cache_salt=load")
    directory = measure(tmp_path / "run", *words(**TWO_SLOTS), *SESSIONS, *own, pool=pool)
    result, records = Result.read(directory), Records.read(directory / "records.parquet")
    assert result.value("completed_sessions") == 12 and len(records) == 60
    seen = result.metadata["prefix_cache_hits"] / result.metadata["prefix_cache_queries"]
    expected = result.value("expected_prefix_hit_fraction")
    assert expected is not None and expected > 0.4
    assert seen == pytest.approx(expected, rel=0.02)
    known = records.asked_prompt_tokens >= 0
    assert known.all() == (history == "recorded")
    assert (records.asked_prompt_tokens[known] == records.prompt_tokens[known]).all()
