"""How long ``benchhydra gate --against history`` takes with a history of 20,000 results.

``python benchmarks/history_size.py DIR [results]`` writes results to DIR: a real result of the fake engine, copied with
2 % noise into 100 points of 200 runs. Then it times the gate as a program: the first call writes the index, the next
ones read it. It does so for a point that has history, and for one that has none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.artifacts import INDEX_FILE, RESULT_FILE

POINTS, RUNS_A_SIDE, TIMES = 100, 5, 3
BENCHHYDRA = [sys.executable, "-m", "benchhydra"]
ONE_RUN = ["engine=fake", "model=llama2", "qps=100", "num_prompts=40", "dataset.output_tokens=8", "tracking=none"]


def template(directory: Path) -> dict[str, Any]:
    """A real result of the fake engine."""
    words = [*BENCHHYDRA, *ONE_RUN, "script.fail_on=never", f"hydra.run.dir={directory / 'template'}"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    result: dict[str, Any] = json.loads((directory / "template" / RESULT_FILE).read_text())
    return result | {"status": "ok", "verdict": "VALID", "reasons": []}


def write(directory: Path, result: dict[str, Any], number: int, point: int, rng: np.random.Generator) -> None:
    """Write a copy of a result, with noise, as run ``number`` of point ``point``."""
    factors = np.exp(rng.normal(0, 0.02, len(result["metrics"])))
    metrics = {
        key: metric | {"value": metric["value"] * float(factor)}
        for (key, metric), factor in zip(result["metrics"].items(), factors, strict=True)
    }
    copy = result | {"run_id": f"{number:032x}", "point_key": f"{point:016x}", "metrics": metrics}
    directory.mkdir(parents=True)
    (directory / RESULT_FILE).write_text(json.dumps(copy | {"epoch_time": result["epoch_time"] + number}))


def timed(*words: str) -> str:
    """The times of ``TIMES`` calls of the program, and its exit codes."""
    times, codes = [], set()
    for _ in range(TIMES):
        began = time.perf_counter()
        codes.add(subprocess.run([*BENCHHYDRA, *words], stdout=subprocess.DEVNULL, check=False).returncode)
        times.append(time.perf_counter() - began)
    return f"{', '.join(f'{t:.1f} s' for t in times)} (exit {', '.join(map(str, sorted(codes)))})"


def main(directory: Path, results: int) -> None:
    """Write the results, and time the gate."""
    rng = np.random.default_rng(1)
    result = template(directory)
    history = directory / "history"
    if not history.exists():
        for number in range(results):
            write(history / f"{number // 1000:03d}" / f"{number:05d}", result, number, number % POINTS, rng)
    (history / INDEX_FILE).unlink(missing_ok=True)
    for name, point in (("with_history", 3), ("new", POINTS)):
        for i in range(RUNS_A_SIDE):
            run = directory / name / str(i)
            if not run.exists():
                write(run, result, results + point * RUNS_A_SIDE + i, point, rng)
    gate = ("--history", str(history), "--no-confirm")
    print(f"{results} results, {POINTS} points")
    against = timed("gate", str(directory / "with_history"), "--against", "history", *gate)
    print(f"gate --against history, first without an index: {against}")
    sides = (str(directory / "new"), str(directory / "new"))
    print(f"gate of a point without history, noise from the other points: {timed('gate', *sides, *gate)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20_000)
