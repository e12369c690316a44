"""Watching for 1,000 s: 4,000 samples, taken as fast as they can be. The memory is flat, and the file is small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import nvml

SAMPLES = 4000
#: Begins to count once imports and buffers have their size.
SETTLED = 500
#: What the memory may grow by from then on; the samples, which go to a file, are 2 MiB.
MOST_MIB = 1.0

WATCH = """
import json, os, sys, time
from pathlib import Path
import numpy as np, psutil
from benchhydra.probes import ProbeTarget, gpu, host
from benchhydra.probes.helper import ProbeRunner
from benchhydra.series import Series, write_series

host.LEAST_SAMPLE_S = 1e-6
samples, settled, path = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
target = ProbeTarget(client_pid=os.getpid(), server_pid=os.getppid(), gpus=(0,))
classes = (gpu.GpuProbe, host.HostProbe)
descriptions = [{"name": c.name, "module": c.__module__, "class": c.__qualname__} for c in classes]
runners = [ProbeRunner(description, target, 1e-4) for description in descriptions]

def least():
    return min(runner.samples_taken for runner in runners)

def rss_mib():
    return psutil.Process().memory_info().rss / (1 << 20)

for runner in runners:
    runner.begin()
while least() < settled:
    time.sleep(0.01)
before_mib = rss_mib()
while least() < samples:
    time.sleep(0.05)
after_mib = rss_mib()
for runner in runners:
    runner.end()
    runner.done.wait(60)
series = []
for runner in runners:
    for head, data in runner.series():
        # 4 samples a second of the clock, as in a run
        times_ns = np.arange(head["count"], dtype=np.int64) * 250_000_000
        values = np.frombuffer(data, np.float64)[head["count"]:]
        name = f"{runner.name}.{head['name']}"
        series.append(Series(name=name, unit=head["unit"], labels=head["labels"], times_ns=times_ns, values=values))
write_series(series, path)
minutes = max(len(s) for s in series) / 4 / 60
errors = [runner.error for runner in runners]
print(json.dumps({"mib": after_mib - before_mib, "series": len(series), "errors": errors, "minutes": minutes}))
"""


def test_memory_is_flat_and_the_file_is_under_1_mb_a_minute(tmp_path: Path) -> None:
    recording = nvml.write_recording(tmp_path / "recording.txt", [nvml.H100], 120)
    path = tmp_path / "series.parquet"
    command = [sys.executable, "-c", WATCH, str(SAMPLES), str(SETTLED), str(path)]
    environment = os.environ | nvml.environment(recording)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    figures = json.loads(done.stdout)
    assert figures["errors"] == [None, None]
    assert figures["series"] >= 25
    assert figures["mib"] < MOST_MIB
    assert path.stat().st_size / 1e6 / figures["minutes"] < 0.25  # a machine of 8 GPUs has four times as many series
