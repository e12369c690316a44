"""Gates on real vLLM on CPU: a build against itself, and against a setting that makes it clearly slower.

``python benchmarks/gate_on_vllm.py DIR [--gates 20]`` continues where an earlier call with the same DIR stopped. Each
gate has 5 runs per side, the other runs of the same build as history, and confirms by re-runs. Base and candidate run
on different server starts; five candidates share one start, and each round of re-runs has its own. One line is printed
per gate. The exit code is 1 if a gate of the same build alarms, or the gate of the slower setting does not.

The checks of the client are switched off, so that this also runs on a two-core machine that other programs use: their
noise is part of the trial.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchhydra.analysis import rerun

POINT = ["model=tiny", "script=serving", "qps=8", "num_prompts=24", "dataset.prompt_tokens=32"]
POINT += ["dataset.output_tokens=16", "engine.args.enforce_eager=true"]
CHECKS_OFF = ["validity.stall_ms=1e6", "validity.lag_ms=1e6", "validity.client_cpu_fraction=2"]
CHECKS_OFF += ["validity.client_wait_fraction=1", "validity.client_wait_fraction_of_server=1"]
SLOWER = "engine.args.max_num_seqs=1"
RUNS, CANDIDATES_PER_START = 5, 5
REGRESSION = 3


def measure(directory: Path, *more: str) -> Path:
    """Measure ``RUNS`` runs into a directory that does not have them yet, and return it."""
    if len(list(directory.glob("*/result.json"))) < RUNS:
        rerun.measure_again([*POINT, *CHECKS_OFF, *more], directory, RUNS)
    return directory


def candidate(past: Path, number: int) -> Path:
    """The directory of candidate ``number`` of the same build, whose runs share a server start with others."""
    start = past / f"start{number // CANDIDATES_PER_START}"
    if not start.exists():
        rerun.measure_again([*POINT, *CHECKS_OFF], start, RUNS * CANDIDATES_PER_START)
        for i, file in enumerate(sorted(start.glob("*/result.json"), key=lambda file: file.stat().st_mtime)):
            part = start / f"part{i // RUNS}"
            part.mkdir(exist_ok=True)
            file.parent.rename(part / file.parent.name)
    return start / f"part{number % CANDIDATES_PER_START}"


def gate(base: Path, candidate: Path, history: Path, directory: Path) -> dict[str, Any]:
    """Run the gate and return its decision, which is stored in ``directory``."""
    file = directory / "gate.json"
    if not file.exists():
        words = ["gate", str(base), str(candidate), "--history", str(history), "--confirm"]
        words += ["--confirm-dir", str(directory / "confirm"), "--format", "json", "-o", str(file)]
        done = subprocess.run([sys.executable, "-m", "benchhydra", *words], check=False)
        print(f"exit code {done.returncode}", file=sys.stderr)
    decision: dict[str, Any] = json.loads(file.read_text())
    return decision


def describe(name: str, decision: dict[str, Any]) -> str:
    """One line on a gate's decision."""
    worse = ", ".join(f"{r['metric']} {r['ratio']:+.0%}" for r in decision["regressions"])
    return f"{name}: {decision['outcome']} {worse} {'; '.join(decision['reran'])}".rstrip()


def main() -> int:
    """Run the gates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--gates", type=int, default=20)
    args = parser.parse_args()
    past, wrong = args.directory / "same", 0
    for i in range(4):
        measure(past / f"past{i}")
    base = measure(past / "base")
    lowered = measure(args.directory / "lowered", SLOWER)
    decision = gate(base, lowered, past, args.directory / "gates/lowered")
    wrong += decision["exit_code"] != REGRESSION
    print(describe("lowered", decision), flush=True)
    for i in range(args.gates):
        decision = gate(base, candidate(past, i), past, args.directory / f"gates/{i:02d}")
        wrong += decision["exit_code"] != 0
        print(describe(f"same build, gate {i + 1}", decision), flush=True)
    print(f"{wrong} of {args.gates + 1} gates wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
