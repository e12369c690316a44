"""Gates on a real vLLM on CPU: the same build against itself, and against a setting lowered until it hurts.

``python benchmarks/gate_on_vllm.py DIR [--gates 20]`` goes on where an earlier call ended. Every gate has 5 runs a
side, the other runs of the same build as history, and confirmation by re-runs. Base and candidate are on different
server starts; five candidates share one, and every round of re-runs has its own. A line a gate; exit code 1 where a
gate of the same build alarms, or a lowered one does not.

The client's own checks are off, so that a machine with two cores that other programs use too can run it: its noise is
part of the trial.
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
OFF = ["validity.stall_ms=1e6", "validity.lag_ms=1e6", "validity.client_cpu_fraction=2"]
OFF += ["validity.client_wait_fraction=1", "validity.client_wait_fraction_of_server=1"]
LOWERED = "engine.args.max_num_seqs=1"
RUNS, A_START = 5, 5
REGRESSION = 3


def measured(directory: Path, *more: str) -> Path:
    """The directory of ``RUNS`` runs, measured where they are not there yet."""
    if len(list(directory.glob("*/result.json"))) < RUNS:
        rerun.measure_again([*POINT, *OFF, *more], directory, RUNS)
    return directory


def candidate(past: Path, number: int) -> Path:
    """Candidate ``number`` of the same build: five runs in turn of a server start of several."""
    start = past / f"start{number // A_START}"
    if not start.exists():
        rerun.measure_again([*POINT, *OFF], start, RUNS * A_START)
        for i, file in enumerate(sorted(start.glob("*/result.json"), key=lambda file: file.stat().st_mtime)):
            part = start / f"part{i // RUNS}"
            part.mkdir(exist_ok=True)
            file.parent.rename(part / file.parent.name)
    return start / f"part{number % A_START}"


def gate(base: Path, candidate: Path, history: Path, place: Path) -> dict[str, Any]:
    """The decision as JSON, kept in ``place``."""
    file = place / "gate.json"
    if not file.exists():
        words = ["gate", str(base), str(candidate), "--history", str(history), "--confirm-dir", str(place / "confirm")]
        done = subprocess.run(
            [sys.executable, "-m", "benchhydra", *words, "--confirm", "--format", "json", "-o", str(file)], check=False
        )
        print(f"exit code {done.returncode}", file=sys.stderr)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def told(name: str, decision: dict[str, Any]) -> str:
    """A line about a gate."""
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
        measured(past / f"past{i}")
    base = measured(past / "base")
    lowered = measured(args.directory / "lowered", LOWERED)
    decision = gate(base, lowered, past, args.directory / "gates/lowered")
    wrong += decision["exit_code"] != REGRESSION
    print(told("lowered", decision), flush=True)
    for i in range(args.gates):
        decision = gate(base, candidate(past, i), past, args.directory / f"gates/{i:02d}")
        wrong += decision["exit_code"] != 0
        print(told(f"same build, gate {i + 1}", decision), flush=True)
    print(f"{wrong} of {args.gates + 1} gates wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
