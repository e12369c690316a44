"""What watching costs: CPU time of the probes' helper, and the client's TTFT error with and without probes, in turn.

    cc -O2 -o mockserver benchmarks/mockserver.c -lm
    python benchmarks/watching_cost.py --server ./mockserver --rate 800 --seconds 10 --pairs 5

The mock server records the true time of each token, and answers /metrics with a text of the size of vLLM's. GPUs are
the stand-in of tests/nvml (``--gpus 0`` leaves them out), whose readings take less time than a driver's.

    python benchmarks/watching_cost.py --server ./mockserver --watch-s 1000

watches an idle server for so long, and prints the helper's memory (resident, private) in ten steps, the samples
of those that were due, and the size of the file of series.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from compare import Server, prefer
from drive import make_plan

from benchhydra import registry
from benchhydra.loadgen import run_load
from benchhydra.probes import ProbeTarget
from benchhydra.probes.helper_process import close_idle_helpers
from benchhydra.probes.settings import ProbeSettings
from benchhydra.probes.watch import Observation, Watch, start_helper
from benchhydra.progress import Progress
from benchhydra.series import write_series

HISTOGRAMS = (
    *("time_to_first_token", "inter_token_latency", "e2e_request_latency", "request_queue_time"),
    *("request_prefill_time", "request_decode_time", "request_inference_time", "request_time_per_output_token"),
)
GAUGES = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
COUNTERS = ("prompt_tokens_total", "generation_tokens_total", "num_preemptions_total", "prefix_cache_queries_total")
LABELS = 'engine="0",model_name="HuggingFaceTB/SmolLM2-135M-Instruct"'
BUCKETS = 40
TTFT_MS, ITL_MS = 50, 10
#: A long watch prints the memory at its begin and after each of so many parts.
STEPS = 10


def metrics_text() -> str:
    """A text of 45 KB in vLLM's names."""
    lines = [f"vllm:{name}{{{LABELS}}} 3.0" for name in GAUGES + COUNTERS]
    for name in HISTOGRAMS:
        lines += [f"# HELP vllm:{name}_seconds A time.", f"# TYPE vllm:{name}_seconds histogram"]
        lines += [f'vllm:{name}_seconds_bucket{{{LABELS},le="{0.001 * 2**n:g}"}} 100.0' for n in range(BUCKETS)]
        lines += [f"vllm:{name}_seconds_count{{{LABELS}}} 100.0", f"vllm:{name}_seconds_sum{{{LABELS}}} 12.0"]
    return "\n".join(lines) + "\n"


def use_stand_in(gpus: int, directory: Path) -> None:
    """Let the next helper find the stand-in for NVML."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests import nvml

    recording = nvml.write_recording(directory / "recording.txt", [nvml.H100] * gpus, 60)
    os.environ.update(nvml.environment(recording))


def helper() -> psutil.Process:
    """The helper process of the probes."""
    children = psutil.Process().children()
    return next(child for child in children if "benchhydra.probes.helper" in child.cmdline())


@contextmanager
def watching(target: ProbeTarget, observed: dict[str, Any]) -> Iterator[None]:
    """Watch meanwhile; then ``observed`` has the observation, and the helper's CPU seconds a second."""
    with Watch.start(target, ProbeSettings()) as watch:
        time.sleep(1.0)  # as while prompts are made
        watch.begin()
        process, begin_s = helper(), time.monotonic()
        before_s = sum(process.cpu_times()[:2])
        yield
        elapsed_s = time.monotonic() - begin_s
        observed["cpu_fraction"] = (sum(process.cpu_times()[:2]) - before_s) / elapsed_s
        observed["seconds"] = elapsed_s
        observed["observation"] = watch.end(client_processes=1)


def ttft_error_ms(server: Server, arguments: argparse.Namespace) -> tuple[float, float]:
    """Send the load; return the client's mean and p99 of TTFT minus the true ones."""
    server.control(ttft=TTFT_MS, itl=ITL_MS)
    rows = run_load(make_plan(arguments), Progress()).records
    measured_ms = (rows.first_ns - rows.sent_ns)[rows.first_ns >= 0] / 1e6
    true_ms = np.array([(times[0] - arrival) / 1e6 for arrival, _, _, _, _, times in server.truth() if times])
    return (
        float(measured_ms.mean() - true_ms.mean()),
        float(np.percentile(measured_ms, 99) - np.percentile(true_ms, 99)),
    )


def compare(server: Server, target: ProbeTarget, arguments: argparse.Namespace) -> None:
    """Print the error of runs with and without probes, in turn, the first of each pair changing places."""
    errors: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    used = []
    print("pair  probes  mean TTFT error  p99 error  helper's CPU")
    for pair in range(arguments.pairs):
        for watched in (False, True) if pair % 2 == 0 else (True, False):
            observed: dict[str, Any] = {}
            if watched:
                with watching(target, observed):
                    errors[True].append(ttft_error_ms(server, arguments))
                used.append(observed["cpu_fraction"])
            else:
                errors[False].append(ttft_error_ms(server, arguments))
            mean_ms, p99_ms = errors[watched][-1]
            cpu = f"{used[-1]:.2%}" if watched else "-"
            print(f"{pair:4}  {'on' if watched else 'off':6}  {mean_ms:12.3f} ms  {p99_ms:6.3f} ms  {cpu}", flush=True)
    off, on = (np.array(errors[watched]) for watched in (False, True))
    change = np.median(on - off, axis=0)
    print(f"change of the error by watching, median of pairs: mean {change[0]:+.3f} ms, p99 {change[1]:+.3f} ms")
    print(f"helper: {np.mean(used):.2%} of a core (highest {max(used):.2%})")


def memory_mib(process: psutil.Process) -> tuple[float, float]:
    """Resident memory, and what of it belongs to the process alone."""
    memory = process.memory_full_info()
    return memory.rss / (1 << 20), memory.uss / (1 << 20)


def watch_long(target: ProbeTarget, seconds: float, directory: Path) -> None:
    """Print the helper's memory in ten steps while watching for ``seconds``, its samples, and the size of the file."""
    observed: dict[str, Any] = {}
    with watching(target, observed):
        process, begin_s = helper(), time.monotonic()
        for step in range(STEPS + 1):
            time.sleep(max(0.0, begin_s + step * seconds / STEPS - time.monotonic()))
            resident, private = memory_mib(process)
            print(f"{step * seconds / STEPS:6.0f} s: {resident:.2f} MiB resident, {private:.2f} private", flush=True)
    observation: Observation = observed["observation"]
    path = directory / "series.parquet"
    write_series(observation.series, path)
    minutes = observed["seconds"] / 60
    due = observed["seconds"] / ProbeSettings().interval_s
    print(f"{len(observation.series)} series; warnings: {observation.warnings}")
    for probe in ("server", "gpu", "host", "client"):
        counts = [len(series) for series in observation.series if series.name.startswith(f"{probe}.")]
        if counts:
            print(f"{probe}: {len(counts)} series of {min(counts)} to {max(counts)} samples; {due:.0f} intervals")
    print(f"the helper's CPU: {observed['cpu_fraction']:.2%} of a core")
    print(f"series.parquet: {path.stat().st_size / 1e6:.2f} MB, {path.stat().st_size / 1e6 / minutes:.3f} MB a minute")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--port", type=int, default=8960)
    parser.add_argument("--rate", type=float, default=800.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--server-cores", default="0")
    parser.add_argument("--cores", default="1")
    parser.add_argument("--nice", type=int, default=0, help="priority over other work on this machine: -15 (root)")
    parser.add_argument("--watch-s", type=float)
    arguments = parser.parse_args()
    if arguments.nice:
        os.nice(arguments.nice)
        prefer(os.getpid(), arguments.nice)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "metrics.txt").write_text(metrics_text())
        if arguments.gpus:
            use_stand_in(arguments.gpus, directory)
        registry.import_modules("benchhydra.probes")
        server = Server(arguments.server, arguments.port, arguments.server_cores, 0, metrics=directory / "metrics.txt")
        start_helper(ProbeSettings())  # before the client is pinned: the helper may use all cores
        if arguments.cores:
            os.sched_setaffinity(0, {int(core) for core in arguments.cores.split(",")})
        target = ProbeTarget(
            client_pid=os.getpid(),
            client_thread=threading.get_native_id(),
            base_url=server.base,
            server_pid=server.p.pid,
            gpus=tuple(range(arguments.gpus)),
        )
        plan = {"base_url": None, "api": "completions", "no_stream": False, "words": 128, "tokens": 64, "seed": 1}
        vars(arguments).update(plan, n=round(arguments.rate * arguments.seconds), processes="1")
        try:
            if arguments.watch_s:
                watch_long(target, arguments.watch_s, directory)
            else:
                compare(server, target, arguments)
        finally:
            close_idle_helpers()
            server.stop()


if __name__ == "__main__":
    main()
