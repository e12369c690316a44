"""Time to the capacity of one server: search=capacity, guidellm's sweep, aiperf's SLA search and plain bisection.

``python benchmarks/search_side_by_side.py --plan`` (4 minutes) simulates search=capacity and the methods with runs of
a fixed length. It compares them at equal errors: what does each need until the root mean square of its errors is that
of search=capacity? (A method that does not say how sure it is can have no precision but that of its answers.)

``python benchmarks/search_side_by_side.py --guidellm BIN --aiperf BIN`` then measures all of them on one server, which
is ``engine=fake`` on the last core; the clients have the first. The server counts requests, and the wall time is that
of the whole program. Both tools are installed into environments of their own (``uv pip install guidellm``, ``aiperf``);
a tool whose program is not named is left out.

The question is the same for all: the highest Poisson rate at which p90 TTFT stays below ``LIMIT_MS``. guidellm's sweep
measures rates between one request at a time and all at once, and the crossing is interpolated between them. aiperf
fits a monotone curve to adaptive runs (``--search-planner smooth-isotonic``) and ends at a bracket of 5 %. Before each
run it warms up for a second (its own default is a minute, with as many requests in flight as the rate's number).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import search_trials
from search_trials import Server, simulate

from benchhydra import registry
from benchhydra.search.capacity import Capacity

SERVER = Server(slots=4, ttft_ms=30.0, itl_ms=1.0, ttft_sigma=0.5, itl_sigma=0.0, tokens=2)
LIMIT_MS, PERCENT = 100.0, 90
#: Of the bracket at which bisection ends; of search=capacity, in the simulation and with the programs.
PRECISION, PRECISIONS = 0.05, (0.05, 0.1)
PROMPT_TOKENS = 8
#: aiperf's settings of how long it warms up, s: at least, before the first run at a rate, and before another one.
AIPERF_WARMUP = {
    f"AIPERF_SEARCH_PLANNER_{name}": "1"
    for name in ("DEFAULT_WARMUP_SECONDS", "FIRST_PROBE_WARMUP_FLOOR", "REPLICATE_WARMUP_FLOOR")
}
#: What the lengths of runs are tried from, and how many simulated searches decide.
LENGTHS = (300, 600, 1200, 2400, 4800, 9600, 19200)
TRIALS = 60
#: Between two runs, in a simulation: a client starts, warms up, and writes its results.
PAUSE_S = 2.0
#: guidellm's default number of strategies, two of which are "synchronous" and "throughput".
SWEEP_SIZE = 10
#: Where bisection and aiperf begin, as a fraction of the capacity: they double from there.
BEGIN = 1 / 8
CASE = "side by side"


class Simulated(NamedTuple):
    """One simulated search: the answer / the truth - 1, runs, requests, and the wall time with a pause a run."""

    error: float
    runs: int
    requests: int
    wall_s: float


def tail_ms(rate: float, count: int, rng: np.random.Generator) -> float:
    """The percentile of TTFT of a simulated run."""
    return float(np.percentile(simulate(SERVER, rate, count, rng).ttft_ms, PERCENT))


def bisect(measure: Callable[[float], float], begin_rps: float) -> tuple[float, int]:
    """(rate, number of runs): doubled until the limit is missed, then halved until the bracket is 5 % wide."""
    low, rate, runs = 0.0, begin_rps, 1
    while measure(rate) <= LIMIT_MS and runs < 30:
        low, rate, runs = rate, 2 * rate, runs + 1
    high = rate
    while (high - low) / high >= PRECISION and runs < 30:
        rate, runs = (low + high) / 2, runs + 1
        low, high = (rate, high) if measure(rate) <= LIMIT_MS else (low, rate)
    return (low + high) / 2, runs


def interpolate(rates: list[float], values_ms: list[float]) -> float:
    """The rate at which the values first cross the limit, on the line between neighbours; NaN without a crossing."""
    for (x, y), (next_x, next_y) in pairwise(zip(rates, values_ms, strict=True)):
        if y <= LIMIT_MS < next_y:
            return x + (next_x - x) * (LIMIT_MS - y) / (next_y - y)
    return math.nan


def swept_rates() -> list[float]:
    """The rates of guidellm's sweep: from one request at a time to all at once, in equal steps."""
    service_s = (SERVER.ttft_ms + SERVER.itl_ms * (SERVER.tokens - 1)) / 1e3
    return list(np.linspace(1 / service_s, SERVER.slots / service_s, SWEEP_SIZE))


def simulated_capacity(precision: float, truth: float, trial: int) -> Simulated:
    """search=capacity from a burst."""
    search = search_trials.search_once(CASE, truth, None, trial, Capacity(precision=precision))
    return Simulated(search.error, search.probes, search.requests, search.load_s + search.probes * PAUSE_S)


def simulated_bisection(count: int, truth: float, trial: int) -> Simulated:
    """Bisection with runs of ``count`` requests, from an eighth to a quarter of the truth."""
    rng, rates = np.random.default_rng([trial, count]), []

    def measure(rate: float) -> float:
        rates.append(rate)
        return tail_ms(rate, count, rng)

    answer, runs = bisect(measure, truth * BEGIN * math.exp(rng.uniform(0, math.log(2))))
    return Simulated(answer / truth - 1, runs, count * runs, sum(count / rate + PAUSE_S for rate in rates))


def simulated_sweep(count: int, truth: float, trial: int) -> Simulated:
    """A sweep with runs of ``count`` requests, and the crossing between two neighbours."""
    rng, rates = np.random.default_rng([trial, count]), swept_rates()
    answer = interpolate(rates, [tail_ms(rate, count, rng) for rate in rates])
    wall_s = sum(count / rate + PAUSE_S for rate in rates)
    return Simulated(answer / truth - 1, len(rates), count * len(rates), wall_s)


class Summary(NamedTuple):
    """Searches of one method: medians, and the error as root mean square and as 95th percentile."""

    runs: float
    requests: float
    wall_s: float
    rms: float
    p95: float

    @classmethod
    def of(cls, searches: Sequence[Simulated]) -> Summary:
        """Sum searches up; an answer that is missing counts as wrong by 100 %."""
        columns = np.array(searches)
        errors = np.abs(np.nan_to_num(columns[:, 0], nan=1.0))
        rms, p95 = math.sqrt(float((errors**2).mean())), float(np.percentile(errors, 95))
        return cls(*(float(each) for each in np.median(columns[:, 1:], axis=0)), rms, p95)

    def __str__(self) -> str:
        return f"{self.runs:.0f} | {self.requests:,.0f} | {self.wall_s:.0f} | {self.rms:.1%} | {self.p95:.1%}"


def at_error(summaries: Sequence[Summary], rms: float) -> tuple[float, float] | None:
    """(requests, wall time) with which a method with runs of fixed length has this error, between two lengths.

    Those of the shortest runs if their error is no larger; None if it is larger with the longest runs, too.
    """
    if summaries[0].rms <= rms:
        return summaries[0].requests, summaries[0].wall_s
    for less, more in pairwise(summaries):
        if less.rms >= rms > more.rms:
            part = math.log(less.rms / rms) / math.log(less.rms / more.rms)
            return tuple(a ** (1 - part) * b**part for a, b in zip(less[1:3], more[1:3], strict=True))  # type: ignore[return-value]
    return None


def plan() -> None:
    """Print the truth, a row for each method and length of its runs, and what each needs for our errors."""
    search_trials.CASES[CASE] = (SERVER, {f"p{PERCENT}_ttft_ms": LIMIT_MS})
    registry.discover()
    truth = search_trials.truth_of(CASE)
    print(f"truth: {truth:.2f} requests/s\n")
    print("| method | runs | requests | wall time, s | rms error | 95 % of errors below |")
    print("|---|--:|--:|--:|--:|--:|")
    ours = {}
    for precision in PRECISIONS:
        ours[precision] = Summary.of([simulated_capacity(precision, truth, trial) for trial in range(TRIALS)])
        print(f"| `search=capacity`, `search.precision={precision:g}` | {ours[precision]} |", flush=True)
    others: dict[str, list[Summary]] = {}
    for name, method in (("bisection", simulated_bisection), ("sweep and interpolation", simulated_sweep)):
        for count in LENGTHS:
            summary = Summary.of([method(count, truth, trial) for trial in range(TRIALS)])
            others.setdefault(name, []).append(summary)
            print(f"| {name}, {count:,} requests a run | {summary} |", flush=True)
    for precision, own in ours.items():
        for name, summaries in others.items():
            print(f"\n{name} at the rms error of search.precision={precision:g}, {own.rms:.1%}: ", end="")
            needed = at_error(summaries, own.rms)
            ratios = "not reached" if needed is None else f"{needed[0]:,.0f} requests, {needed[1]:.0f} s"
            print(
                ratios
                + (
                    ""
                    if needed is None
                    else f": {needed[0] / own.requests:.1f} and {needed[1] / own.wall_s:.1f} times ours"
                )
            )


@dataclass(kw_only=True)
class Measured:
    """One tool's search: its answer, the requests that the server counted, and the wall time of its programs."""

    tool: str
    answer_rps: float
    runs: int
    requests: int
    wall_s: float


class FakeServer:
    """``engine=fake`` on the last core of this machine."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        flags = {"ttft-ms": SERVER.ttft_ms, "itl-ms": SERVER.itl_ms, "ttft-sigma": SERVER.ttft_sigma}
        flags |= {"max-concurrency": SERVER.slots, "model": "mock", "host": "127.0.0.1", "port": port}
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        argv = [sys.executable, "-P", "-m", "benchhydra.fakeserver", *words]
        self._process = subprocess.Popen([*pinned(max(os.sched_getaffinity(0))), *argv], stdout=subprocess.DEVNULL)

    def requests(self) -> int:
        """The number of requests so far."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=10) as answer:
            return int(json.load(answer)["requests"])

    def wait(self) -> None:
        """Wait until it answers."""
        for _ in range(100):
            try:
                self.requests()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise SystemExit("the server does not answer")

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()


def pinned(core: int) -> list[str]:
    """The words before a command that runs on one core."""
    return ["taskset", "-c", str(core)]


class Client:
    """Runs programs on the first core, in one directory."""

    def __init__(self, server: FakeServer, directory: Path, tokenizer: Path) -> None:
        self.server, self.directory, self.tokenizer = server, directory, tokenizer

    def run(self, name: str, words: list[str], **env: str) -> None:
        """Run a program and keep what it prints. Raises SystemExit if it fails."""
        log = self.directory / f"{name}.log"
        env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **env}
        with log.open("ab") as out:
            command = [*pinned(min(os.sched_getaffinity(0))), *words]
            code = subprocess.run(command, stdout=out, stderr=out, cwd=self.directory, env=env, check=False).returncode
        if code and name != "aiperf":  # which ends with 1 because one run a rate has no confidence interval
            raise SystemExit(f"{name} ended with {code}: see {log}")

    def measured(self, tool: str, search: Callable[[], tuple[float, int]]) -> Measured:
        """Run a search, (answer, number of runs), and count its requests and its time."""
        requests, started_s = self.server.requests(), time.monotonic()
        answer_rps, runs = search()
        wall_s = time.monotonic() - started_s
        return Measured(
            tool=tool, answer_rps=answer_rps, runs=runs, requests=self.server.requests() - requests, wall_s=wall_s
        )

    def benchhydra(self, *words: str) -> list[str]:
        """The command line of benchhydra on the server."""
        return [
            *(
                sys.executable,
                "-m",
                "benchhydra",
                "script=serving",
                "engine=attach",
                f"engine.base_url={self.server.url}",
            ),
            *("model=custom", "model.id=mock", f"model.tokenizer={self.tokenizer}", "tracking=none"),
            *("dataset=synthetic", f"dataset.prompt_tokens={PROMPT_TOKENS}", f"dataset.output_tokens={SERVER.tokens}"),
            *("script.warmup_requests=8", "load=poisson", "script.fail_on=never", *words),
        ]


def search_capacity(client: Client) -> tuple[float, int]:
    """search=capacity from a burst, without a history."""
    directory = client.directory / "capacity"
    slo = f"slo.p{PERCENT}_ttft_ms={LIMIT_MS:g}"
    words = client.benchhydra("-m", "search=capacity", slo, f"search.precision={PRECISION}", "search.history=false")
    client.run("capacity", [*words, f"hydra.sweep.dir={directory}"])
    sweep = json.loads((directory / "sweep.json").read_text())
    return float(sweep["answers"][0]["value"]), len(sweep["points"])


def plain_bisection(client: Client, count: int, begin_rps: float) -> tuple[float, int]:
    """A run of benchhydra for each step, all of the same length."""

    def measure(rate: float) -> float:
        directory = client.directory / f"bisection-{rate:.4f}"
        words = client.benchhydra(f"qps={rate:.4f}", f"num_prompts={count}", f"hydra.run.dir={directory}")
        client.run("bisection", words)
        result = json.loads((directory / "result.json").read_text())
        return float(result["metrics"][f"p{PERCENT}_ttft_ms"]["value"])

    return bisect(measure, begin_rps)


def guidellm_sweep(client: Client, program: str, count: int) -> tuple[float, int]:
    """guidellm's sweep over Poisson rates, and the crossing between two neighbours."""
    report = client.directory / "guidellm.json"
    data = f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={SERVER.tokens}"
    backend = f"kind=openai_http,target={client.server.url},model=mock,request_format=/v1/completions"
    profile = f"kind=sweep,sweep_size={SWEEP_SIZE},strategy_type=poisson"
    words = [program, "run", "--backend", backend, "--profile", profile, "--data", data]
    words += ["--constraint", f"kind=max_requests,count={count}", "--output", f"kind=json,path={report}"]
    words += ["--tokenizer", f"kind=hf_auto,model={client.tokenizer}", "--disable-console-interactive"]
    client.run("guidellm", words, HF_HUB_OFFLINE="1")
    benchmarks = json.loads(report.read_text())["benchmarks"]
    rows = []
    for benchmark in benchmarks[2:]:  # after synchronous and throughput
        metrics = benchmark["metrics"]
        rate = metrics["requests_per_second"]["successful"]["mean"]
        rows.append((rate, metrics["time_to_first_token_ms"]["successful"]["percentiles"][f"p{PERCENT}"]))
    rows.sort()
    return interpolate([rate for rate, _ in rows], [value for _, value in rows]), len(benchmarks)


def aiperf_search(client: Client, program: str, count: int, begin_rps: float) -> tuple[float, int]:
    """aiperf's adaptive search over the request rate, by a monotone fit, which takes whole rates only."""
    out = client.directory / "aiperf"
    words = [program, "profile", "-m", "mock", "--url", client.server.url, "--endpoint-type", "completions"]
    words += ["--streaming", "--tokenizer", str(client.tokenizer), "--use-server-token-count", "--ui", "none"]
    words += ["--isl", str(PROMPT_TOKENS), "--osl", str(SERVER.tokens), "--extra-inputs", "ignore_eos:true"]
    words += ["--request-rate", f"{begin_rps:g}", "--request-rate-mode", "poisson", "--request-count", str(count)]
    words += ["--search-space", f"phases.profiling.rate:{begin_rps:.0f},{begin_rps * 64:.0f}:int"]
    words += ["--search-planner", "smooth-isotonic", "--search-max-iterations", "30"]
    words += ["--search-metric", "output_token_throughput", "--search-direction", "maximize"]
    words += ["--search-sla", f"time_to_first_token:p{PERCENT}:le:{LIMIT_MS:g}"]
    words += ["--no-gpu-telemetry", "--no-server-metrics", "--artifact-dir", str(out), "--random-seed", "1"]
    client.run("aiperf", words, **AIPERF_WARMUP)
    (history,) = out.rglob("search_history.json")
    document = json.loads(history.read_text())
    boundary = document["boundary_summary"]
    low, high = boundary["feasible_max"], boundary["infeasible_min"]
    return (_number(low) + _number(high)) / 2, len(document["iterations"])


def _number(bound: dict[str, Any] | None) -> float:
    """A bound of aiperf's bracket; NaN if it has found none."""
    return math.nan if bound is None else float(bound["value"])


@contextmanager
def serving(port: int) -> Iterator[FakeServer]:
    """The server, ready."""
    server = FakeServer(port)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def measure(args: argparse.Namespace, directory: Path) -> Iterator[Measured]:
    """Each tool's search, in turn."""
    begin_rps = args.begin
    with serving(args.port) as server:
        client = Client(server, directory, args.tokenizer)
        yield client.measured("search=capacity", lambda: search_capacity(client))
        if args.bisection:
            yield client.measured("plain bisection", lambda: plain_bisection(client, args.bisection, begin_rps))
        if args.guidellm:
            yield client.measured("guidellm sweep", lambda: guidellm_sweep(client, args.guidellm, args.sweep))
        if args.aiperf:
            yield client.measured("aiperf", lambda: aiperf_search(client, args.aiperf, args.sweep, begin_rps))


def table(rows: list[Measured]) -> str:
    """The rows as Markdown, with each tool's requests and time as multiples of the first one's."""
    ours = rows[0]
    lines = [
        "| tool | answer, requests/s | runs | requests | wall time, s | x requests | x time |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        ratios = f"{row.requests / ours.requests:.1f} | {row.wall_s / ours.wall_s:.1f}"
        lines.append(
            f"| {row.tool} | {row.answer_rps:.2f} | {row.runs} | {row.requests:,} | {row.wall_s:.0f} | {ratios} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the plan, or run the tools and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="only simulate")
    parser.add_argument("--guidellm", help="its program")
    parser.add_argument("--aiperf", help="its program")
    parser.add_argument("--tokenizer", type=Path, default=Path.home() / ".cache/benchhydra/models/tiny-v1")
    parser.add_argument("--bisection", type=int, default=2400, help="requests of a run of bisection; 0 leaves it out")
    parser.add_argument("--sweep", type=int, default=2400, help="requests of a run of guidellm and aiperf")
    parser.add_argument("--begin", type=float, default=14.0, help="first rate of bisection and aiperf, requests/s")
    parser.add_argument("--port", type=int, default=8497)
    parser.add_argument("--directory", type=Path, default=None, help="for logs and results")
    args = parser.parse_args()
    if args.plan:
        plan()
        return
    directory = args.directory or Path(tempfile.mkdtemp(prefix="side-by-side-"))
    directory.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in measure(args, directory):
        rows.append(row)
        print(f"{row.tool}: {row.answer_rps:.2f} requests/s, {row.requests:,} requests, {row.wall_s:.0f} s", flush=True)
    print(table(rows))
    print(f"logs: {directory}")


if __name__ == "__main__":
    main()
