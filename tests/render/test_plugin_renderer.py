"""A format from outside, the example of docs/extending.md, is offered by the commands that write this kind."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.examples import install

from benchhydra import render
from benchhydra.errors import ConfigError
from benchhydra.result import Better, MetricValue, Result, Verdict


@pytest.fixture
def plugin_path(tmp_path: Path) -> Path:
    return install(tmp_path / "plugins", "comparison_csv").parent


def write_runs(directory: Path, ttft_ms: float) -> None:
    for number in range(3):
        metric = MetricValue(key="mean_ttft_ms", unit="ms", value=ttft_ms + number / 10, better=Better.SMALLER)
        Result(
            status="ok",
            verdict=Verdict.VALID,
            run_id=f"{directory.name}{number}",
            point_key="0123456789abcdef",
            script="serving",
            config={"qps": 2.0},
            epoch_time=float(number + 1),
            metrics={metric.key: metric},
        ).write(directory / str(number))


def test_a_renderer_from_outside_is_offered(tmp_path: Path, plugin_path: Path) -> None:
    write_runs(tmp_path / "base", 100.0)
    write_runs(tmp_path / "new", 150.0)
    command = [sys.executable, "-m", "benchhydra", "compare"]
    environment = {**os.environ, "PYTHONPATH": str(plugin_path)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    ended = run("base", "new", "--format", "csv")
    assert ended.returncode == 0, ended.stderr
    (row,) = csv.DictReader(io.StringIO(ended.stdout))
    assert (row["metric"], row["verdict"]) == ("mean_ttft_ms", "worse")
    assert float(row["ratio"]) == pytest.approx(0.5, abs=0.01)
    assert "{csv,html,json,junit,markdown,matrix,table}" in run("--help").stdout
    ended = run("base", "new", "--format", "xml")
    assert (ended.returncode, ended.stdout) == (2, "") and "csv" in ended.stderr


def test_an_unknown_format_is_an_error_that_lists_all() -> None:
    with pytest.raises(ConfigError, match=r"no such format of gate: xml") as caught:
        render.rendered("gate", "xml", None)
    assert "json, junit, markdown" in str(caught.value)


def test_two_renderers_of_one_format_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_renderers", dict(render._renderers))
    assert "json" in render.formats("comparison")
    with pytest.raises(ConfigError, match=r"two renderers of comparison as json"):
        render.renderer("comparison", "json")(lambda document, stream: None)
