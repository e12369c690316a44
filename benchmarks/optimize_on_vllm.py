"""``search=optimize`` on real vLLM on CPU: three flags, and a winner that an A/B test confirms, or none.

``python benchmarks/optimize_on_vllm.py DIR [KEY=VALUE ...]`` continues where an earlier call with the same DIR stopped.
16 requests are in flight. With fewer sequences at a time (``max_num_seqs``) each step of the engine is shorter, so that
the default is not the best for ``objective=mean_tpot_ms``; for ``objective=output_throughput`` it is. The checks of the
client are switched off, so that this also runs on a machine of two cores that other programs use: their noise is part
of the trial. The exit code is 1 if the answer has no confirmation.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SPACE = (
    "search.space={engine.args.max_num_seqs: [2,4,16], engine.args.max_num_batched_tokens: [256,1024,4096],"
    " engine.args.enable_prefix_caching: [true,false]}"
)
POINT = ["model=tiny", "load=concurrency", "load.max_in_flight=16", "num_prompts=64", "dataset.prompt_tokens=64"]
POINT += ["dataset.output_tokens=32", "tracking=none", "script.fail_on=never"]
CHECKS_OFF = ["validity.stall_ms=1e6", "validity.lag_ms=1e6", "validity.client_cpu_fraction=2"]
CHECKS_OFF += ["validity.client_wait_fraction=1", "validity.client_wait_fraction_of_server=1"]
CHECKS_OFF += ["validity.failed_fraction=0.2"]  # a model of random weights answers without text now and then
POINT += ["engine.args.distributed_executor_backend=uni"]  # one process less to start
SETTINGS = ["objective=mean_tpot_ms", "search.trials=8", "search.repeats=2", "search.confirm_pairs=10"]


def main() -> int:
    """Run the search, and print its answer."""
    directory = Path(sys.argv[1]).absolute()
    resume = [f"sweep.resume={directory}"] if (directory / "sweep.json").exists() else [f"hydra.sweep.dir={directory}"]
    words = ["search=optimize", SPACE, *SETTINGS, *POINT, *CHECKS_OFF, *resume, *sys.argv[2:]]
    code = subprocess.run([sys.executable, "-m", "benchhydra", *words], check=False).returncode
    optimum = json.loads((directory / "sweep.json").read_text())["answers"][0]["optimum"]
    print(json.dumps(optimum["confirmation"], indent=1))
    return code or int("text" not in optimum["confirmation"])


if __name__ == "__main__":
    sys.exit(main())
