"""``benchhydra bisect`` on real vLLM on CPU: a line of builds, one of which makes every step of the engine slower.

``python benchmarks/bisect_on_vllm.py DIR [--builds 4] [--first-bad 3] [--slowdown-ms 3] [WORD ...]`` continues where an
earlier call with the same DIR stopped. WORD is a further argument of ``benchhydra bisect``. A build is a wrapper of
this interpreter. From the first bad one on it has a module ``sitecustomize`` on its path that adds a sleep to each step
of vLLM's model. Build 1 cannot be run, so that it is skipped. The exit code is 1 if another build is found.

The default line (good, broken, good, slow) has one build to test: good is tested against bad (5 pairs at least), build
2 against both (4 rounds at least), and 2 against 3 (5 pairs), which is 32 starts of a server.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from slow_steps import write_interpreter

METRIC = "mean_tpot_ms"
POINT = [
    "model=tiny",
    "qps=8",
    "num_prompts=32",
    "dataset.prompt_tokens=32",
    "dataset.output_tokens=32",
    "tracking=none",
]
POINT += ["engine.args.distributed_executor_backend=uni"]  # one process less to start
CHECKS_OFF = ["validity.stall_ms=1e6", "validity.lag_ms=1e6", "validity.client_cpu_fraction=2"]
CHECKS_OFF += ["validity.client_wait_fraction=1", "validity.client_wait_fraction_of_server=1"]
CHECKS_OFF += ["validity.failed_fraction=0.2"]  # a model of random weights answers without text now and then


def make_builds(directory: Path, builds: int, first_bad: int, slowdown_ms: float) -> list[Path]:
    """Wrappers of this interpreter, and one program that is no interpreter; returns them in their order."""
    directory.mkdir(parents=True, exist_ok=True)
    programs = []
    for number in range(builds):
        program = directory / f"build-{number}"
        write_interpreter(program, added_ms=slowdown_ms if number >= first_bad else 0.0)
        if number == 1:
            program.write_text("#!/bin/sh\necho this build is broken >&2\nexit 3\n")
        programs.append(program)
    return programs


def main() -> int:
    """Bisect, and compare the answer with the build that was made slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--builds", type=int, default=4)
    parser.add_argument("--first-bad", type=int, default=3)
    parser.add_argument("--slowdown-ms", type=float, default=3.0)
    args, words_of_user = parser.parse_known_args()
    programs = make_builds(args.directory.absolute(), args.builds, args.first_bad, args.slowdown_ms)
    output = args.directory / "bisect"
    words = [f"--good=engine.python={programs[0]}", f"--bad=engine.python={programs[-1]}"]
    words += [f"--pythons={','.join(map(str, programs[1:-1]))}", f"--metric={METRIC}", f"--output={output}"]
    if (output / "bisect.json").exists():
        words, more = ["--resume", str(output)], list[str]()
    else:
        more = [*POINT, *CHECKS_OFF, *words_of_user]
    subprocess.run([sys.executable, "-m", "benchhydra", "bisect", *words, *more], check=False)
    answer = json.loads((output / "bisect.json").read_text())
    return int(answer.get("first_bad") != str(programs[args.first_bad]))


if __name__ == "__main__":
    sys.exit(main())
