"""Whether the answer of search=capacity repeats on real vLLM (CPU), and whether it tells two configurations apart.

``python benchmarks/search_on_vllm.py`` (about 20 minutes on two idle cores) runs ``--searches`` searches of one
configuration, each on a server of its own and without a history, then one of each other one of ``--seqs``. It prints
the answers, whether they lie within each other's intervals, and whether the intervals of the configurations are apart.
It exits with 1 if not. ``--loose`` switches the checks of the client off, for a machine that other programs use.

A step of the model takes at least ``--step-ms``, as on a GPU, and begins at least 1.25 times that after the one before
it: a core of a shared machine is a tenth faster or slower from one minute to the next, and so is a server whose steps
take all of it. With 4 tokens in 4 steps of 20 ms, four at a time are 39 requests a second. ``--step-ms 0`` leaves vLLM
as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from slow_steps import write_interpreter
from tokenizers import Tokenizer

from benchhydra import models
from benchhydra.progress import Progress

WORDS = (
    *("-m", "script=serving", "engine=vllm", "model=tiny", "gpus=cpu", "tracking=none", "search=capacity"),
    f"++engine.env.VLLM_CPU_OMP_THREADS_BIND='{max(os.sched_getaffinity(0))}'",  # the client has the other cores
    *("dataset=synthetic", "dataset.prompt_tokens=32", "dataset.output_tokens=4", "search.history=false"),
    *("search.max_probe_s=240", "engine.args.distributed_executor_backend=uni"),
)
#: The words that answers are made of.
WORDS_ALLOWED = 64
CHECKS_OFF = (
    *("validity.stall_ms=1e6", "validity.lag_ms=1e6", "validity.client_cpu_fraction=2"),
    *("validity.client_wait_fraction=1", "validity.client_wait_fraction_of_server=1"),
)


def word_tokens() -> str:
    """An override by which answers consist of words: random weights also choose tokens without text, and no TTFT."""
    tokenizer = Tokenizer.from_file(str(models.ensure_built("tiny", sys.executable, Progress()) / "tokenizer.json"))
    tokens = ((number, tokenizer.id_to_token(number) or "") for number in range(tokenizer.get_vocab_size()))
    words = [number for number, token in tokens if token[:1] == "Ġ" and token[1:].isalpha()]
    return f"+script.body.allowed_token_ids={words[:WORDS_ALLOWED]}"


def search(directory: Path, words: Sequence[str]) -> list[dict[str, Any]]:
    """The answers of one sweep; an answer without a value has its error."""
    command = [sys.executable, "-m", "benchhydra", *WORDS, *words, f"hydra.sweep.dir={directory}"]
    with directory.with_suffix(".log").open("ab") as log:
        subprocess.run(command, stdout=log, stderr=log, check=False)
    sweep = directory / "sweep.json"
    answers: list[dict[str, Any]] = json.loads(sweep.read_text())["answers"] if sweep.exists() else []
    return answers or [{"error": f"no answer: see {directory.with_suffix('.log')}"}]


def line(name: str, answer: dict[str, Any]) -> str:
    """An answer in a line."""
    if "value" not in answer:
        return f"{name}: {answer.get('error')}"
    requests = sum(probe.get("requests") or 0 for probe in answer.get("evidence", ()))
    interval = f"{answer.get('low') or 0:.2f} to {answer.get('high') or 0:.2f}"
    return (
        f"{name}: {answer['value']:.2f} {answer['unit']} ({interval}), {answer['probes']} probes, {requests} requests"
    )


def within_each_other(answers: Sequence[dict[str, Any]]) -> int:
    """The number of ordered pairs in which an answer lies within the other's interval."""
    pairs = [pair for first in combinations(answers, 2) for pair in (first, first[::-1])]
    return sum(one["low"] <= other["value"] <= one["high"] for one, other in pairs)


def are_apart(first: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two answers have intervals that do not overlap; an answer without one is not told apart."""
    ends = first.get("low"), first.get("high"), other.get("low"), other.get("high")
    if None in ends:
        return False
    return bool(other["low"] > first["high"] or other["high"] < first["low"])


def main() -> None:
    """Run the searches and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with vLLM")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument(
        "--seqs", default="4,5", help="max_num_seqs of the two configurations; the first is searched often"
    )
    parser.add_argument("--slo", default="slo.p90_ttft_ms=150")
    parser.add_argument("--step-ms", type=float, default=20.0)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--loose", action="store_true", help="no checks of the client")
    parser.add_argument("words", nargs="*", help="further overrides: search.precision=0.05")
    args = parser.parse_intermixed_args()
    directory = (args.directory or Path(tempfile.mkdtemp(prefix="search-on-vllm-"))).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    first, *others = args.seqs.split(",")
    python = write_interpreter(directory / "python", least_ms=args.step_ms, python=args.python)
    words = [args.slo, word_tokens(), f"engine.python={python}", *(CHECKS_OFF if args.loose else ()), *args.words]
    found: list[dict[str, Any]] = []
    for number in range(args.searches):
        found += search(directory / f"repeat-{number}", [*words, f"engine.args.max_num_seqs={first}"])
        print(line(f"max_num_seqs={first}, search {number + 1}", found[-1]), flush=True)
    apart = True
    for seqs in others:
        (other,) = search(directory / f"seqs-{seqs}", [*words, f"engine.args.max_num_seqs={seqs}"])
        print(line(f"max_num_seqs={seqs}", other), flush=True)
        is_apart = are_apart(found[0], other)
        apart &= is_apart
        ratio = other.get("value", math.nan) / found[0].get("value", math.nan)
        print(f"ratio {ratio:.3f}: {'told apart' if is_apart else 'not told apart'}")
    usable = [answer for answer in found if answer.get("low") is not None and answer.get("high") is not None]
    pairs = len(usable) * (len(usable) - 1)
    inside = within_each_other(usable)
    print(f"{inside} of {pairs} answers lie within another search's interval; files: {directory}")
    sys.exit(not (apart and len(usable) == args.searches and inside == pairs))


if __name__ == "__main__":
    main()
