"""Priorities on a real vLLM with ``--scheduling-policy priority``: who waits when two slots are asked for too much.

    python benchmarks/priorities_on_vllm.py [--gpus cpu] [--out FOLDER]

The same overload twice, with vLLM's usual policy and with priorities: TTFT of each group. Exits with 1 if the urgent
requests do not wait less than half as long as the others with priorities, or if they do without.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from points_on_vllm import points

PRIORITY = "priority"
URGENT, PATIENT = "0", "10"
LOAD = (
    *("model=tiny", "++engine.args.max_num_seqs=2", "++engine.args.max_model_len=512", "validity.blank_fraction=1"),
    *(f"++dataset.priorities={{{URGENT}:1,{PATIENT}:3}}", "dataset.prompt_tokens=32", "dataset.output_tokens=32"),
    *("qps=inf", "num_prompts=80"),
    # vLLM's other threads have the other cores: they answer all requests at once when the engine leaves them no core
    f"++engine.env.VLLM_CPU_OMP_THREADS_BIND='{max(os.sched_getaffinity(0))}'",
)


def main() -> int:
    """Measure both policies, and print. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", default="cpu")
    parser.add_argument("--out", type=Path, help="folder for the results; default: a new one")
    args = parser.parse_args()
    ratios = {}
    print("| policy | priority | requests | median TTFT, ms | p99 TTFT, ms | TPOT, ms |\n|---|--:|--:|--:|--:|--:|")
    with points(args.out or Path(tempfile.mkdtemp())) as on_vllm:
        for policy in ("fcfs", "priority"):
            words = (f"++engine.args.scheduling_policy={policy}", f"gpus={args.gpus}")
            groups = on_vllm.measure(policy, *LOAD, *words).groups[PRIORITY]
            for name, metrics in groups.items():
                keys = ("completed", "median_ttft_ms", "p99_ttft_ms", "mean_tpot_ms")
                print(f"| {policy} | {name} | " + " | ".join(f"{metrics[key].value:.0f}" for key in keys) + " |")
            ratios[policy] = groups[URGENT]["median_ttft_ms"].value / groups[PATIENT]["median_ttft_ms"].value
    print(", ".join(f"{policy}: urgent ones wait {ratio:.2f} times as long" for policy, ratio in ratios.items()))
    return int(not ratios["priority"] < 0.5 < ratios["fcfs"])


if __name__ == "__main__":
    sys.exit(main())
