"""``script=startup`` on real vLLM: its phases are those of the server's own log, and fit into the measured time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchhydra.records import Records
from benchhydra.result import Result

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]


def seconds(text: str) -> float:
    """A stamp's time of day."""
    hours, minutes, rest = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cold start and one warm one."""
    out = tmp_path_factory.mktemp("startup") / "point"
    command = [sys.executable, "-m", "benchhydra", "script=startup", "script.starts=1", "model=tiny", "gpus=cpu"]
    command += ["tracking=none", "script.fail_on=never", "dataset.prompt_tokens=32", "dataset.output_tokens=4"]
    done = subprocess.run([*command, f"hydra.run.dir={out}"], capture_output=True, text=True, timeout=350)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_phases_are_those_of_the_log(point: Path, cache: str) -> None:
    result = Result.read(point)
    value = {key: metric.value for key, metric in result.metrics.items()}
    log = (point / "server.log").read_text().partition(f"=== {cache} start\n")[2].partition("=== ")[0]
    (engine_init,) = re.findall(r"warmup model\) took ([\d.]+) s", log)
    (weights,) = re.findall(r"Loading weights took ([\d.]+) s", log)
    (tokens,) = re.findall(r"KV cache size: ([\d,]+) tokens", log)
    assert value[f"median_{cache}_engine_init_s"] == float(engine_init)
    assert value[f"median_{cache}_weights_s"] == float(weights)
    assert value["kv_cache_tokens"] == int(tokens.replace(",", ""))
    stamps = re.findall(r"(?:INFO|WARNING) \d\d-\d\d (\d\d:\d\d:\d\d)", log)
    (loading,) = re.findall(r"INFO \d\d-\d\d (\d\d:\d\d:\d\d) \S+ Starting to load model", log)
    between_s = (seconds(loading) - seconds(stamps[0])) % 86400
    assert value[f"median_{cache}_setup_s"] - value[f"median_{cache}_imports_s"] == pytest.approx(between_s)
    whole_s = (seconds(stamps[-1]) - seconds(stamps[0])) % 86400
    assert value[f"median_{cache}_ready_s"] >= value[f"median_{cache}_imports_s"] + whole_s - 5


def test_phases_fit_into_the_start_and_the_first_token_follows(point: Path) -> None:
    value = {key: metric.value for key, metric in Result.read(point).metrics.items()}
    for cache in ("cold", "warm"):
        parts_s = value[f"median_{cache}_setup_s"] + value[f"median_{cache}_engine_init_s"]
        assert 1 < value[f"median_{cache}_imports_s"] < parts_s < value[f"median_{cache}_ready_s"] + 1
        assert value[f"median_{cache}_ready_s"] < value[f"median_{cache}_first_token_s"]
    assert value["median_warm_ready_s"] < value["median_cold_ready_s"] * 1.5


def test_one_start_came_after_the_other(point: Path) -> None:
    rows = Records.read(point / "records.parquet")
    assert len(rows) == 2 and rows.done_ns[0] < rows.sent_ns[1]
    assert Result.read(point).engine_version
