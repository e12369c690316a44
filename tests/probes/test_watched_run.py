"""A whole run on a server with GPUs, by the stand-in for NVML: what the result says, and what it says is missing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests import nvml
from tests.nvml import P40, Card

from benchhydra.artifacts import SERIES_FILE
from benchhydra.registry import PLUGIN_NAMESPACE
from benchhydra.result import Result
from benchhydra.series import Series, read_series

#: The fake engine, which claims GPUs, as vLLM does.
ENGINE = """
import dataclasses
from benchhydra.engines.fake import Fake
from benchhydra.registry import option

@option("engine", "fake_on_gpus")
class FakeOnGpus(Fake):
    def server(self, target):
        return dataclasses.replace(super().server(target), gpus=2)

    def gpu_count(self, target):
        return 2
"""
LOAD_S = 3.0
WORDS = (
    *("model=llama2", "engine=fake_on_gpus", "engine.ttft_ms=5", "engine.itl_ms=1", "script.fail_on=never"),
    *("dataset.prompt_tokens=16", "dataset.output_tokens=8", "script.warmup_requests=0", "qps=50"),
    *(f"load.duration_s={LOAD_S:g}", "tracking=none", "hydra.run.dir=point"),
)
HOT = Card(reasons=[(0.0, 1e9, nvml.HW_SLOWDOWN | nvml.HW_THERMAL)])


def start(directory: Path, *words: str, **more: float) -> subprocess.Popen[str]:
    plugins = directory / PLUGIN_NAMESPACE
    plugins.mkdir()
    (plugins / "fake_on_gpus.py").write_text(ENGINE)
    recording = nvml.write_recording(directory / "recording.txt", [HOT, P40], 30)
    environment = os.environ | nvml.environment(recording, **more)
    environment = {name: value for name, value in environment.items() if name != "GITHUB_STEP_SUMMARY"}
    command = [sys.executable, "-m", "benchhydra", *WORDS, *words]
    return subprocess.Popen(command, cwd=directory, env=environment, text=True, stdout=-1, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[str], directory: Path) -> Result:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return Result.read(directory / "point")


def of(directory: Path, name: str) -> list[Series]:
    return [series for series in read_series(directory / "point" / SERIES_FILE) if series.name == name]


def test_a_run_has_energy_cost_and_what_is_wrong_with_its_gpus(tmp_path: Path) -> None:
    result = finish(start(tmp_path, "gpus.price_per_hour=1.8"), tmp_path)
    values = {name: metric.value for name, metric in result.metrics.items()}
    powers_w = [float(series.values.mean()) for series in of(tmp_path, "gpu.power_w")]
    assert len(powers_w) == 2
    assert values["mean_gpu_power_w"] == pytest.approx(sum(powers_w), rel=0.05)
    assert values["gpu_j_per_output_token"] == pytest.approx(
        values["mean_gpu_power_w"] / values["output_throughput"], rel=0.01
    )
    assert values["cost_per_1m_output_tokens"] == pytest.approx(
        3.6 / 3600 / values["output_throughput"] * 1e6, rel=1e-6
    )
    assert values["gpu_throttled_fraction"] == pytest.approx(0.5)
    assert values["max_gpu_memory_used_mib"] == 70_000
    metadata = result.metadata
    assert metadata["gpu_energy_source"] == "counter, integral of power" and metadata["server_price_per_hour"] == 3.6
    (reason,) = [reason for reason in result.reasons if reason.check == "gpu_throttled"]
    assert reason.text == (
        "gpu 0 had lowered clocks in 100 % of the window: temperature (hardware slowdown) (limit 5 %)"
    )
    (lag,) = of(tmp_path, "client.loop_lag_ms")
    assert LOAD_S / 0.25 - 2 <= len(lag) <= LOAD_S / 0.25 + 2
    assert np.all(lag.values >= 0) and np.all(np.diff(lag.times_ns) == 250_000_000)
    assert result.warnings == () or "requests" in result.warnings[0]


def test_a_gpu_that_is_lost_in_the_run_leaves_the_run_and_no_figure_of_energy(tmp_path: Path) -> None:
    # 3 s after each process's first look at the GPUs: after the claim, and before the end of the load
    result = finish(start(tmp_path, "load.duration_s=4", lost_at_s=3.0), tmp_path)
    assert result.status == "ok" and result.metrics["completed"].value == 200
    assert [text for text in result.warnings if "GPU is lost" in text] == [
        "the probe gpu was switched off: NVMLError_GpuIsLost: GPU is lost"
    ]
    assert of(tmp_path, "gpu.power_w")
    assert not [name for name in result.metrics if "gpu" in name and not name.endswith("_per_gpu")]
    assert "mean_server_cpu_fraction" in result.metrics


def test_a_helper_that_is_killed_leaves_the_run_and_says_what_is_missing(tmp_path: Path) -> None:
    process = start(tmp_path)
    killed: set[int] = set()

    def kill_each() -> None:
        """Kill the helper that waits for the point, and the one that watches it."""
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(process.pid).children():
                    if "benchhydra.probes.helper" in child.cmdline():
                        child.kill()
                        killed.add(child.pid)
            time.sleep(0.3)

    killer = threading.Thread(target=kill_each)
    killer.start()
    result = finish(process, tmp_path)
    killer.join()
    assert killed and result.status == "ok" and result.metrics["completed"].value == LOAD_S * 50
    assert [text for text in result.warnings if "lost" in text] == [
        "the helper process of the probes was lost (killed by signal 9): their facts and series are unknown"
    ]
    assert not of(tmp_path, "gpu.power_w") and of(tmp_path, "client.in_flight")
