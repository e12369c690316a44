"""A whole run on the fake engine: its result holds the server's view, which agrees with the client's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.examples import benchhydra

from benchhydra.artifacts import SERIES_FILE
from benchhydra.result import Result
from benchhydra.series import read_series

WORDS = (
    *("engine=fake", "engine.ttft_ms=20", "engine.itl_ms=5", "engine.max_concurrency=2", "tracking=none"),
    *("dataset.prompt_tokens=16", "dataset.output_tokens=8", "qps=20", "num_prompts=60", "script.fail_on=never"),
)


def measured(directory: Path, *words: str) -> Result:
    done = benchhydra(directory, [*WORDS, "hydra.run.dir=point", *words])
    assert done.returncode == 0, done.stdout + done.stderr
    return Result.read(directory / "point")


@pytest.mark.parametrize("stream", ["true", "false"])
def test_the_parts_of_a_run_add_up(tmp_path: Path, stream: str) -> None:
    result = measured(tmp_path, f"script.stream={stream}")
    parts = ("queue", "prefill", "decode", "frontend")
    parts_ms = sum(result.metrics[f"server_{part}_ms"].value for part in parts)
    outside_ms = result.metrics["outside_server_e2el_ms"].value
    assert parts_ms + outside_ms == pytest.approx(result.metrics["mean_e2el_ms"].value, rel=1e-6)
    assert 0 < outside_ms < 0.25 * parts_ms
    assert result.metrics["server_prefill_ms"].value > 19 and result.metrics["server_queue_ms"].value > 1
    assert ("outside_server_ttft_ms" in result.metrics) == (stream == "true")
    assert result.metrics["server_max_running"].value == 2
    assert (result.metadata["server_metrics_engine"], result.metadata["server_generation_tokens"]) == ("vllm", 480)
    names = {series.name for series in read_series(tmp_path / "point" / SERIES_FILE)}
    assert {"server.requests_waiting", "server.queue_sum_ms", "server.queue_count", "server.ttft_ms"} <= names


def test_without_the_probe_there_is_no_view_of_the_server(tmp_path: Path) -> None:
    result = measured(tmp_path, "probes.off=[server]")
    assert not any(name.startswith("outside_server") for name in result.metrics)
    assert "server_answer_ms" not in result.metadata
