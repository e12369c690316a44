"""How often the verdict is right: quiet runs must be VALID and overloaded ones INVALID, 20 times out of 20.

``python benchmarks/verdict_trials.py``, on a machine with nothing else running. Each run is a process of its own, with
the fake engine. Kinds of runs:

quiet        a low rate
shared core  all processes pinned to one core, beside busy loops
queue        a rate of three times what the server can handle
flood        a rate that one client process cannot send

It prints one line per run with the verdict and its reasons, and a count for each kind.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BASE = ("model=llama2", "script=serving", "engine=fake", "tracking=none", "script.fail_on=never")
KINDS: dict[str, tuple[str, set[str], tuple[str, ...]]] = {  # verdict, checks of which one must object, overrides
    "quiet": ("VALID", set(), ("qps=50", "num_prompts=150")),
    "shared core": ("INVALID", {"client_wait", "client_lag", "loop_stall"}, ("qps=50", "num_prompts=150")),
    "queue": ("INVALID", {"overloaded", "stationary"}, ("qps=20", "num_prompts=100", "engine.max_concurrency=4")),
    "flood": (
        "INVALID",
        {"rate", "client_lag"},
        ("qps=20000", "num_prompts=10000", "load.processes=1", "dataset.output_tokens=8"),
    ),
}


@contextmanager
def busy_loops(core: int, count: int) -> Iterator[None]:
    """Run processes that use a core without pause."""
    code = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    loops = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run(overrides: tuple[str, ...], core: int | None) -> dict[str, Any]:
    """The result of one run, with all its processes pinned to ``core``."""
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    with tempfile.TemporaryDirectory() as directory:
        command = [*pinned, sys.executable, "-m", "benchhydra", *BASE, *overrides, f"hydra.run.dir={directory}/run"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            result: dict[str, Any] = json.loads(Path(directory, "run", "result.json").read_text(encoding="utf-8"))
        except OSError:
            raise SystemExit(done.stdout + done.stderr) from None
    return result


def trial(kind: str, loops: int) -> dict[str, Any]:
    """The result of one run of a kind."""
    overrides = KINDS[kind][2]
    if kind != "shared core":
        return run(overrides, None)
    core = max(os.sched_getaffinity(0))
    with busy_loops(core, loops):
        return run(overrides, core)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--loops", type=int, default=1, help="busy loops on the shared core")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    options = parser.parse_args()
    right: Counter[str] = Counter()
    for kind in options.kinds:
        checks: Counter[str] = Counter()
        for i in range(options.trials):
            result = trial(kind, options.loops)
            objecting = {reason["check"] for reason in result["reasons"]}
            verdict, expected, _ = KINDS[kind]
            right[kind] += result["verdict"] == verdict and (not expected or bool(expected & objecting))
            checks.update(objecting)
            texts = "; ".join(reason["text"] for reason in result["reasons"])
            print(f"{kind} {i + 1}: {result['verdict']} {texts or 'no check objects'}", flush=True)
        print(f"{kind}: {right[kind]} of {options.trials} {KINDS[kind][0]}; checks {dict(checks)}", flush=True)


if __name__ == "__main__":
    main()
