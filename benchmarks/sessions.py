"""Conversations and recordings at full size: pacing, memory, prefix hits. Each part prints JSON.

python benchmarks/sessions.py pacing --server ./mockserver    # 200 sessions/s of 8 turns, beside a plain schedule
python benchmarks/sessions.py hits                            # 1,000 sessions of 8 turns on the fake engine
python benchmarks/sessions.py trace --server ./mockserver     # gaps of 10,000 rows; --path mooncake.jsonl, or made ones
python benchmarks/sessions.py blocks [--path mooncake.jsonl]  # their shared blocks, on the fake engine

``pacing`` sends with the load generator alone to the server in C (built as benchmarks/README.md says), pinned to a core
each if there are two. The others run whole points: ``trace`` (3 min) on the server in C, which keeps the first core to
itself; the point has the last one, on which a process of the lowest priority runs all the time. Linux wakes other
programs on idle cores, so they come to the server's core. Without it they came to the client's: most of the 4 to 9 late
ones of 10,000 sends met a daemon of the machine that took 1.5 ms in the kernel once a second (``sched_switch``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from compare import Server
from stalls import overlapping, witnessed_stalls

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.datasets.sessions import Sessions
from benchhydra.datasets.token_trace import TokenTrace
from benchhydra.datasets.tokenization import WordTokenizer
from benchhydra.fakeserver.prefix_cache import PrefixCache
from benchhydra.loadgen import LoadPlan, LoadResult, run_load
from benchhydra.loadgen.pacing import Seconds
from benchhydra.loads.poisson import Poisson
from benchhydra.loads.sessions import SessionLoad
from benchhydra.measure.session_requests import SessionLengths, SessionRequests
from benchhydra.progress import Progress
from benchhydra.records import Records

PORT = 8917
BLOCK_TOKENS = 16


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--server", default="./mockserver")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--rate", type=float, default=200.0, help="sessions/s of pacing")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--path", help="a Mooncake trace")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--speedup", type=float, default=20.0)
    parser.add_argument("--override", action="append", default=[], help="of the point of trace: probes.interval_s=1")
    parser.add_argument("--out", default="outputs/session-benchmarks")
    arguments = parser.parse_args()
    for line in PARTS[arguments.part](arguments):
        print(json.dumps(line), flush=True)


def pacing(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Compare the lateness of turns with that of plain schedules: at the times of the turns, and at a constant rate.

    Sessions come at a constant rate, so that turns have their highest rate when the first sessions end: about twice the
    mean. Only a schedule at the same times has the same answers to read meanwhile.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with _server(arguments.server, cores[0]):
        for _ in range(arguments.repeats):
            for history in ("real", "recorded"):
                result, line = _measured(f"sessions, {history} histories", _session_plan(arguments, history))
                yield line
            times_s = np.sort(result.records.scheduled_ns - result.records.scheduled_ns.min()) / 1e9
            yield _measured("schedule at the times of the turns", _schedule_plan(arguments, times_s))[1]
            yield _measured("schedule at their mean rate", _schedule_plan(arguments, _mean_rate_times_s(arguments)))[1]


@contextlib.contextmanager
def _server(program: str, core: int) -> Iterator[Server]:
    server = Server(program, PORT, str(core), 0)
    server.control(ttft=20, itl=2)
    try:
        yield server
    finally:
        server.stop()


def _endpoint() -> Endpoint:
    return Endpoint(base_url=f"http://127.0.0.1:{PORT}", api=Chat(), model="mock")


def _session_plan(arguments: argparse.Namespace, history: str) -> LoadPlan:
    dataset = Sessions(turns=arguments.turns, prompt_tokens=64, output_tokens=32, think_s=0.5, history=history)
    tokenizer, endpoint, options = WordTokenizer(), _endpoint(), RequestOptions()
    requests = SessionRequests(endpoint, options, tokenizer.chat, real_history=dataset.real_history)
    lengths = SessionLengths.of(tokenizer, endpoint.api, dataset, ignore_eos=True)
    for session in lengths.sessions(dataset, arguments.sessions, np.random.default_rng(1), None):
        requests.add(session, lambda tokens: tokens)
    turns, load = requests.turns(), SessionLoad(qps=arguments.rate)
    send_times_s = load.send_times_s(arguments.sessions, np.random.default_rng(2))[turns.session]
    pacing = load.pacing(send_times_s, turns)
    return LoadPlan(
        endpoint=endpoint, requests=requests, send_times_s=send_times_s, pacing=pacing, options=options, processes="1"
    )


def _schedule_plan(arguments: argparse.Namespace, send_times_s: Seconds) -> LoadPlan:
    """As many requests as the sessions have turns, with prompts of their mean length."""
    count, words = len(send_times_s), 64 + 96 * (arguments.turns - 1) // 2
    endpoint, options = _endpoint(), RequestOptions()
    requests = Requests(prompt_key="messages")
    request = encode_request(endpoint, Prompt("the " * words, words, 32), 32, options)
    for _ in range(count):
        requests.add(request, words, 32)
    return LoadPlan(endpoint=endpoint, requests=requests, send_times_s=send_times_s, options=options, processes="1")


def _mean_rate_times_s(arguments: argparse.Namespace) -> Seconds:
    count = arguments.sessions * arguments.turns
    session_s = arguments.turns * 0.082 + (arguments.turns - 1) * 0.5
    rate = count / (arguments.sessions / arguments.rate + session_s)
    return Poisson(qps=rate).send_times_s(count, np.random.default_rng(2))


def _measured(name: str, plan: LoadPlan) -> tuple[LoadResult, dict[str, Any]]:
    memory_mib, stop = list[float](), threading.Event()
    watcher = threading.Thread(target=_watch_memory, args=(memory_mib, stop))
    watcher.start()
    result = run_load(plan, Progress())
    stop.set()
    watcher.join()
    return result, {"load": name, "requests": len(plan.requests), **_lateness(result), **_growth(memory_mib)}


def _lateness(result: LoadResult) -> dict[str, Any]:
    records = result.records
    late_ms = (records.sent_ns - records.scheduled_ns) / 1e6
    seconds = (records.sent_ns.max() - records.sent_ns.min()) / 1e9
    return {
        "completed": int(records.completed.sum()),
        "requests_per_s": round(len(records) / seconds, 1),
        "late_mean_ms": round(float(late_ms.mean()), 4),
        "late_p25_ms": round(float(np.percentile(late_ms, 25)), 4),
        "late_median_ms": round(float(np.median(late_ms)), 4),
        "late_p99_ms": round(float(np.percentile(late_ms, 99)), 4),
        "client_cpu": result.facts.get("client_cpu_fraction"),
    }


def _watch_memory(memory_mib: list[float], stop: threading.Event) -> None:
    page_mib = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    while not stop.wait(0.5):
        memory_mib.append(int(Path("/proc/self/statm").read_text().split()[1]) * page_mib)


def _growth(memory_mib: list[float]) -> dict[str, float]:
    """Return the resident memory in the second half of the load, less that in its first quarter."""
    quarter = max(1, len(memory_mib) // 4)
    return {
        "memory_mib": round(max(memory_mib), 1),
        "memory_growth_mib": round(max(memory_mib[2 * quarter :]) - max(memory_mib[:quarter]), 2),
    }


def hits(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run sessions on the fake engine, and compare order, histories, think times and prefix hits with those by hand."""
    system, prompt, output = 48, 64, 32
    words = (
        *("dataset=sessions", "load=sessions", "qps=40", f"num_prompts={arguments.sessions}", "api=chat"),
        *(f"dataset.turns={arguments.turns}", f"dataset.system_tokens={system}", f"dataset.prompt_tokens={prompt}"),
        *(f"dataset.output_tokens={output}", "dataset.think_s=0.3", "engine.ttft_ms=5", "engine.itl_ms=0.5"),
    )
    point = _run(arguments, "hits", *words)
    records = Records.read(point / "records.parquet")
    order = np.argsort(records.labels["request"])
    parent, turn = records.labels["parent"][order], records.labels["turn"][order]
    later = parent >= 0
    prompts = system + prompt + turn * (prompt + output)
    shared = np.where(turn == 0, system, prompts - prompt - 1)
    by_hand = int((np.minimum(shared, prompts - 1) // BLOCK_TOKENS * BLOCK_TOKENS).sum()) - system
    after_s = (records.scheduled_ns[order][later] - records.done_ns[order][parent[later]]) / 1e9
    metadata = json.loads((point / "result.json").read_text())["metadata"]
    yield {
        "turns": len(records),
        "prompt_tokens_as_by_hand": bool((records.prompt_tokens[order] == prompts).all()),
        "in_order": bool((records.sent_ns[order][later] >= records.done_ns[order][parent[later]]).all()),
        "mean_think_s": round(float(after_s.mean()), 4),
        "hits": metadata["prefix_cache_hits"],
        "hits_by_hand": by_hand,
        "late_mean_ms": round(float((records.sent_ns - records.scheduled_ns).mean() / 1e6), 4),
    }


def trace(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Replay a Mooncake trace on the server in C, and compare gaps with the recording's: as sent, and as received.

    A request is received with its first byte. Those that are sent together are paired in the order of their arrival.
    Of the gaps that are over 1 ms off it says how many lie beside a send during whose delay no core stalled.
    """
    path, rows = _trace_rows(arguments)
    words = (
        *("engine=attach", f"engine.base_url=http://127.0.0.1:{PORT}", "model=custom", "model.id=mock"),
        *("model.tokenizer=word", *arguments.override, *_replay(path, rows, arguments)),
    )
    cores = sorted(os.sched_getaffinity(0))
    with witnessed_stalls() as stalls, _server(arguments.server, cores[0]) as server, _busy(cores[-1]):
        point = _run(arguments, "trace", *words, core=cores[-1])
        received_ns = np.sort(server.first_bytes())[-len(rows) :]  # the first ones are of the warm-up
    records = Records.read(point / "records.parquet")
    recorded_ns = np.array([row["timestamp"] for row in rows]) * 1e6 / arguments.speedup
    late_ms = (records.sent_ns - records.scheduled_ns) / 1e6
    yield {
        "rows": len(rows),
        "completed": int(records.completed.sum()),
        "seconds": round(float(recorded_ns[-1] / 1e9), 1),
        "speedup": arguments.speedup,
        "mean_prompt_tokens": round(float(records.asked_prompt_tokens.mean())),
        "longest_prompt_tokens": int(records.asked_prompt_tokens.max()),
        "late_mean_ms": round(float(late_ms.mean()), 4),
        "late_max_ms": round(float(late_ms.max()), 3),
        "stalls_above_1_ms": sum(end - begin > 1e6 for begin, end in stalls),
        "gaps_off_without_stall": _off_without_stall(records, recorded_ns, stalls),
        "gaps_sent": _gap_errors(records.sent_ns, recorded_ns, rows),
        "gaps_received": _gap_errors(received_ns, recorded_ns, rows),
        "verdict": json.loads((point / "result.json").read_text())["verdict"],
    }


@contextlib.contextmanager
def _busy(core: int) -> Iterator[None]:
    """Keep a core from being idle, with a process that any other program on it interrupts."""
    argv = ["taskset", "-c", str(core), "nice", "-n", "19", sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(argv) as process:
        try:
            yield
        finally:
            process.terminate()


def _off_without_stall(records: Records, recorded_ns: Any, stalls: list[tuple[int, int]]) -> int:
    """Return how many gaps are over 1 ms off though no core stalled between when their sends were due and made."""
    order = np.argsort(records.sent_ns, kind="stable")
    sent_ns, scheduled_ns = records.sent_ns[order], records.scheduled_ns[order]
    is_off = np.abs(np.diff(sent_ns) - np.diff(recorded_ns)) > 1e6
    has_stall = overlapping(stalls, scheduled_ns, sent_ns)
    return int((is_off & ~(has_stall[1:] | has_stall[:-1])).sum())


def _gap_errors(times_ns: Any, recorded_ns: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by how much gaps differ. worst: [row, difference, tokens of the prompt before it]."""
    differences_ms = (np.diff(np.sort(times_ns)) - np.diff(recorded_ns)) / 1e6
    errors_ms = np.abs(differences_ms)
    worst = np.argsort(-errors_ms)[:4].tolist()
    return {
        "error_mean_ms": round(float(errors_ms.mean()), 4),
        "error_p99_ms": round(float(np.percentile(errors_ms, 99)), 4),
        "error_p999_ms": round(float(np.percentile(errors_ms, 99.9)), 4),
        "error_max_ms": round(float(errors_ms.max()), 3),
        "above_1_ms": int((errors_ms > 1).sum()),
        "worst": [[row + 1, round(float(differences_ms[row]), 3), rows[row]["input_length"]] for row in worst],
    }


def blocks(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Replay a Mooncake trace on the fake engine, and compare prefix hits with the recording's."""
    path, rows = _trace_rows(arguments)
    words = (
        *("engine.ttft_ms=5", "engine.itl_ms=0", "engine.prefix_cache_blocks=100000000"),
        *_replay(path, rows, arguments),
    )
    point = _run(arguments, "blocks", *words)
    records = Records.read(point / "records.parquet")
    metadata = json.loads((point / "result.json").read_text())["metadata"]
    yield {
        "rows": len(rows),
        "hits": metadata["prefix_cache_hits"],  # requests that are sent together may arrive in another order
        "hits_in_recorded_order": _hits_in_order(path, len(rows)),
        "hits_by_hand": _hits_of(rows),
        "prompt_tokens_as_recorded": records.prompt_tokens.tolist() == [row["input_length"] for row in rows],
    }


def _trace_rows(arguments: argparse.Namespace) -> tuple[Path, list[dict[str, Any]]]:
    out = Path(arguments.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    path = Path(arguments.path or _made_trace(out / "mooncake.jsonl", arguments.rows))
    return path, [json.loads(line) for line in path.read_text().splitlines()[: arguments.rows]]


def _replay(path: Path, rows: list[dict[str, Any]], arguments: argparse.Namespace) -> tuple[str, ...]:
    return (
        *("dataset=mooncake", f"dataset.path={path}", "load=trace", f"load.speedup={arguments.speedup}"),
        *(f"num_prompts={len(rows)}", "dataset.output_tokens=4", "model.max_model_len=null"),
    )


def _made_trace(path: Path, count: int) -> Path:
    """Write rows of Mooncake's form: turns of conversations over a few shared documents, a mean gap of 300 ms.

    One in a hundred has a prompt of up to 100,000 tokens.
    """
    rng, rows, now_ms, block = np.random.default_rng(0), list[dict[str, Any]](), 0, 1000
    histories: list[list[int]] = []
    while len(rows) < count:
        now_ms += int(rng.exponential(300))
        if not histories or rng.random() < 0.4:
            own_blocks = int(rng.integers(150, 195) if rng.random() < 0.025 else rng.integers(1, 12))
            histories.append([int(rng.integers(20)), *range(block, block + own_blocks)])
            block += own_blocks
        history = histories[int(rng.integers(max(0, len(histories) - 50), len(histories)))]
        history += range(block, block + int(rng.integers(1, 3)))
        block += 3
        length = 512 * (len(history) - 1) + int(rng.integers(1, 513))
        rows.append({"timestamp": now_ms, "input_length": length, "output_length": 50, "hash_ids": [*history]})
        if len(history) > 40:
            histories.remove(history)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _hits_in_order(path: Path, count: int) -> int:
    """Tokens that a cache finds which sees the trace's prompts in their order."""
    cache = PrefixCache(max_blocks=10**9, block_tokens=BLOCK_TOKENS)
    dataset = TokenTrace(path=str(path), time_unit="ms")
    for prompt in dataset.sample(count, WordTokenizer(), np.random.default_rng(0), None):
        cache.look_up(prompt.text.split())
    return cache.hits


def _hits_of(rows: list[dict[str, Any]]) -> int:
    """Tokens in whole blocks of the fake engine that lie in recorded blocks that a row before began with, as by hand.

    A row's last recorded block may be shorter: it is shared as far as it goes.
    """
    known: dict[tuple[int, int], int] = {}  # (hash of the blocks before, block) -> tokens that a row has had of it
    hits = 0
    for row in rows:
        key, shared, intact, left = 0, 0, True, row["input_length"]
        for number in row["hash_ids"]:
            tokens = min(512, left)
            had = known.get((key, number), 0)
            shared += min(tokens, had) if intact else 0
            intact = intact and had == 512
            known[key, number] = max(had, tokens)
            key, left = hash((key, number)), left - tokens
        hits += min(shared // BLOCK_TOKENS, (row["input_length"] - 1) // BLOCK_TOKENS) * BLOCK_TOKENS
    return hits


def _run(arguments: argparse.Namespace, name: str, *words: str, core: int | None = None) -> Path:
    point = Path(arguments.out).resolve() / f"{name}-{int(time.time())}"
    argv = [] if core is None else ["taskset", "-c", str(core)]
    argv += [sys.executable, "-m", "benchhydra", "tracking=none", "script.fail_on=never"]
    argv += [] if any(word.startswith("engine=") for word in words) else ["engine=fake", "model=llama2"]
    subprocess.run([*argv, f"hydra.run.dir={point}", *words], check=True, stdout=sys.stderr)
    return point


PARTS = {"pacing": pacing, "hits": hits, "trace": trace, "blocks": blocks}

if __name__ == "__main__":
    main()
