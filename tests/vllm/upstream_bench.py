"""Runs ``vllm bench`` once for each line of standard input, a JSON list of its arguments, and answers with a line.

One process for all runs: importing vLLM takes longer than a run.
"""

from __future__ import annotations

import contextlib
import json
import sys

from vllm.entrypoints.cli.main import main

for line in sys.stdin:
    sys.argv = ["vllm", "bench", *json.loads(line)]
    with contextlib.redirect_stdout(sys.stderr):
        main()
    sys.stdout.write("done\n")
    sys.stdout.flush()
