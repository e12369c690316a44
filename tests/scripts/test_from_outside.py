"""Scripts, metrics and rules of a user's own: one file each in ``benchhydra_plugins``, and nothing else to edit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.examples import examples

from benchhydra import registry
from benchhydra.metrics import table
from benchhydra.result import Result, Verdict

registry.discover()
POINT = ["model=llama2", "engine=fake", "engine.ttft_ms=5", "engine.itl_ms=1", "tracking=none", "search=grid"]
POINT += ["dataset.prompt_tokens=16", "dataset.output_tokens=8", "num_prompts=30", "qps=100", "hydra.run.dir=run"]

FASTEST = """
from benchhydra.metrics import Better, Window, metric


@metric("fastest_ttft_ms", unit="ms", better=Better.SMALLER, doc="smallest TTFT", needs=("latency", "stream"))
def fastest_ttft_ms(window: Window) -> float | None:
    return float(window.ttft_ms[window.completed].min()) if window.completed.any() else None
"""

FEW_REQUESTS = '''
from collections.abc import Iterator

from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, rule, suspect


@rule("few_requests")
def few_requests(evidence: RunEvidence) -> Iterator[Reason]:
    """Figures of few requests are uncertain."""
    if len(evidence.window) < 50 and evidence.facts["client_processes"] == 1:
        yield suspect("few_requests", f"{len(evidence.window)} requests from one client process")
'''


def run(directory: Path, plugin: str, *overrides: str) -> Result:
    """One point in a directory that has a plugin."""
    (directory / "benchhydra_plugins").mkdir()
    (directory / "benchhydra_plugins" / "mine.py").write_text(plugin, encoding="utf-8")
    command = [sys.executable, "-m", "benchhydra", *POINT, "script.fail_on=never", *overrides]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return Result.read(directory / "run")


def test_a_script_on_top_of_the_http_load(tmp_path: Path) -> None:
    result = run(tmp_path, examples()["cached"], "script=cached", "script.warmup_requests=4", "slo.ttft_ms=500")
    assert result.script == "cached" and result.key_metrics == ("cached_ttft_ratio", "mean_ttft_ms")
    assert 0 < result.metrics["cached_ttft_ratio"].value < 10
    assert {"p99_ttft_ms", "request_throughput", "offered_rps", "slo_attainment"} <= set(result.metrics)
    assert result.metrics["completed"].value == 30
    assert result.metadata["client_processes"] == 1 and result.metadata["num_prompts"] == 30


def test_a_script_on_top_of_the_http_load_takes_its_options(tmp_path: Path) -> None:
    words = ("script=cached", "api=chat", "script.stream=false", "script.keep_text=true")
    result = run(tmp_path, examples()["cached"], *words)
    assert "mean_e2el_ms" in result.metrics
    assert not {"mean_ttft_ms", "cached_ttft_ratio"} & set(result.metrics)
    lines = [json.loads(line) for line in (tmp_path / "run" / "texts.jsonl").read_text().splitlines()]
    assert len(lines) == 30 and all(line["prompt"] and line["generated"] for line in lines)


def test_a_family_of_metrics(tmp_path: Path) -> None:
    result = run(tmp_path, FASTEST, "script=serving")
    assert 0 < result.metrics["fastest_ttft_ms"].value <= result.metrics["median_ttft_ms"].value


def test_a_metric_is_left_out_where_a_script_lacks_what_it_needs(tmp_path: Path) -> None:
    assert "fastest_ttft_ms" not in run(tmp_path, FASTEST, "script=throughput").metrics


def test_a_rule_of_the_verdict(tmp_path: Path) -> None:
    result = run(tmp_path, FEW_REQUESTS, "script=serving")
    assert result.verdict is not Verdict.VALID
    assert "30 requests from one client process" in {reason.text for reason in result.reasons}


@pytest.mark.parametrize("name", sorted(registry.options("script")))
def test_every_script_names_metrics_that_exist(name: str) -> None:
    script = registry.options("script")[name]
    charted = {metric for pair in script.charts for metric in pair}
    assert script.key_metrics and {*script.key_metrics, *charted} <= set(table())
