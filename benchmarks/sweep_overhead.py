"""The overhead of a sweep: 12 points on 4 real vLLM servers on CPU, and the wall time that is neither a measured
window nor a server's start.

    python benchmarks/sweep_overhead.py --launcher local --tracking mlflow --out overhead.jsonl

The sweep is ``-m qps=1,5,10 model=tiny,tiny_copy engine.args.max_num_seqs=64,128``. The second model is a copy of the
first; a config directory of this script's own makes it an option.

    window    duration_s of a point: from the start of its load to its last answer
    start     from the engine's fork to its first healthy answer, once for each server
    overhead  wall time - windows - starts: the program's own start and end, composing, warm-up requests, cache resets,
              prompts, result files, MLflow, stopping the servers

When groups run side by side, windows overlap and the difference means nothing: the overhead is then null.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchhydra.models import ensure_built
from benchhydra.progress import Progress

AXES = ("qps=1,5,10", "model=tiny,tiny_copy", "engine.args.max_num_seqs=64,128")
POINTS, SERVERS = 12, 4
LOAD = ("script=serving", "dataset.prompt_tokens=32", "dataset.output_tokens=16", "script.fail_on=never")
#: Launchers that run one group after another.
SEQUENTIAL = ("local", "joblib1")
LAUNCHERS = {
    "local": ("launcher=local",),
    "joblib1": ("launcher=joblib", "hydra.launcher.n_jobs=1"),
    "joblib2": ("launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("launcher=submitit_local",),
    "ray": ("launcher=ray",),
}


def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        conf = second_model(directory / "conf")
        report = measure(args, directory, conf)
        if args.keep:
            shutil.copytree(directory / "sweep", args.keep)
    text = json.dumps(report)
    print(text)
    if args.out:
        with args.out.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    if report["server_starts"] != SERVERS or report["statuses"] != {"ok": POINTS}:
        sys.exit(f"not {POINTS} points on {SERVERS} servers")


def second_model(conf: Path) -> Path:
    """A config directory whose option ``model=tiny_copy`` is a copy of the tiny model."""
    copy = conf / "tiny_copy_model"
    shutil.copytree(ensure_built("tiny", sys.executable, Progress()), copy)
    (conf / "model").mkdir()
    (conf / "model" / "tiny_copy.yaml").write_text(f"id: {copy}\nmax_model_len: 2048\n", encoding="utf-8")
    return conf


def measure(args: argparse.Namespace, directory: Path, conf: Path) -> dict[str, Any]:
    """Run the sweep, and return where its time went."""
    words = [sys.executable, "-m", "benchhydra", "--config-dir", str(conf), "-m", *AXES, *LOAD]
    words += [f"num_prompts={args.num_prompts}", f"tracking={args.tracking}", *LAUNCHERS[args.launcher]]
    words += [f"engine={args.engine}", f"hydra.sweep.dir={directory / 'sweep'}", *args.overrides]
    started_s = time.monotonic()
    code = subprocess.run(words, cwd=directory, env=os.environ | {"NO_COLOR": "1"}, check=False).returncode
    return account(directory / "sweep", time.monotonic() - started_s) | {
        "launcher": args.launcher,
        "tracking": args.tracking,
        "engine": args.engine,
        "exit_code": code,
    }


def account(sweep_dir: Path, wall_s: float) -> dict[str, Any]:
    """Windows, server starts and the rest of the wall time, in seconds."""
    sweep = json.loads((sweep_dir / "sweep.json").read_text(encoding="utf-8"))
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sweep_dir.glob("*/result.json")]
    windows_s = sum(result["metrics"]["duration_s"]["value"] for result in results)
    starts_s = [s for result in results if (s := result["metadata"].get("server_start_s")) is not None]
    overhead_s = wall_s - windows_s - sum(starts_s)
    return {
        "wall_s": round(wall_s, 2),
        "sweep_wall_s": round(sweep["wall_s"], 2),
        "windows_s": round(windows_s, 2),
        "server_start_s": [round(s, 2) for s in starts_s],
        "overhead_per_point_s": round(overhead_s / len(results), 3) if overhead_s > 0 else None,
        "server_starts": sweep["server_starts"],
        "statuses": dict(Counter(point["status"] for point in sweep["points"])),
        "verdicts": dict(Counter(result["verdict"] for result in results)),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local")
    parser.add_argument("--tracking", choices=("mlflow", "none"), default="mlflow")
    parser.add_argument("--engine", default="vllm", help="fake to try this script out")
    parser.add_argument("--num-prompts", type=int, default=10, help="of every point")
    parser.add_argument("--out", type=Path, help="append the figures to this file, as a line of JSON")
    parser.add_argument("--keep", type=Path, help="keep the sweep's directory here")
    parser.add_argument("overrides", nargs="*", help="further KEY=VALUE of the sweep")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    main()
