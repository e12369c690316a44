"""The verdict: every rule fires where it should and says nothing where it should not."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.facts import Facts, declared_facts
from benchhydra.records import NEVER, Anomaly, Phase, Records, Status
from benchhydra.result import Reason, Verdict
from benchhydra.validity import ValidityLimits, judge, rule, rules
from benchhydra.validity.answers import few_samples
from benchhydra.validity.overload import backlog, queues_late
from benchhydra.validity.window import rise, slow_start
from benchhydra.window import Window

registry.discover()  # rules read facts that other packages declare

MS = 1_000_000
RPS = 100.0


def rows(count: int = 200, *, ttft_ms: Any = 50.0, sent_late_ms: Any = 0.0, seed: int = 1, **columns: Any) -> Records:
    """A healthy run at 100 requests/s, Poisson, with spread of 5 % in latency; columns are put over it."""
    rng = np.random.default_rng(seed)
    scheduled = np.cumsum(rng.exponential(1e9 / RPS, count)).astype(np.int64)
    sent = scheduled + (np.zeros(count) + sent_late_ms * MS).astype(np.int64)
    first = sent + (ttft_ms * MS * rng.normal(1, 0.05, count)).astype(np.int64)
    done = first + 100 * MS
    ones = np.ones(count, dtype=np.int32)
    spans = Records.of_spans(sent.tolist(), done.tolist(), prompt_tokens=[128] * count, output_tokens=[64] * count)
    asked: dict[str, Any] = {"asked_prompt_tokens": 128 * ones, "asked_output_tokens": 64 * ones}
    times = {"scheduled_ns": scheduled, "first_byte_ns": first, "first_ns": first, "last_ns": done}
    return dataclasses.replace(spans, **asked | times | {name: value * ones for name, value in columns.items()})


def some(count: int, value: int, among: int = 200, otherwise: int = 0) -> Any:
    """A column with ``count`` times a value, spread over the run."""
    column = np.full(among, otherwise, dtype=np.int32)
    column[np.linspace(0, among - 1, count).astype(int)] = value
    return column


def pieces(which: range, spread_us: int = 0, **columns: Any) -> Records:
    """A run where the tokens of some answers came at the answer's end, all at once."""
    made = rows(**columns)
    first = made.first_ns.copy()
    if first[0] >= 0:
        first[which] = made.last_ns[which] - spread_us * 1000
    return dataclasses.replace(made, first_ns=first)


def chunked(size: int, step_ms: float, *, first_alone: bool = False, count: int = 200, others: int = 0) -> Records:
    """A run of streams of 64 chunks, of which ``count`` arrive ``size`` at a time and others one at a time."""
    made = rows(count + others, ttft_ms=150.0)
    order = np.arange(64) + (size - 1 if first_alone else 0)
    bursty = np.diff(np.minimum(order // size * size + size, 64 + size) * step_ms)
    gaps_ms = np.concatenate((np.tile(bursty, count), np.full(others * 63, step_ms)))
    offsets = np.arange(count + others + 1, dtype=np.int64) * 63
    return dataclasses.replace(made, gaps_ns=(gaps_ms * MS).astype(np.float32), gap_offsets=offsets)


def moved(**offsets_ms: int) -> Records:
    """A run in which one time of one row is wrong."""
    made = rows()
    columns = {name: getattr(made, name).copy() for name in offsets_ms}
    for name, offset_ms in offsets_ms.items():
        columns[name][7] = made.sent_ns[7] + offset_ms * MS
    return dataclasses.replace(made, **columns)


def decoding(load: float, count: int = 40, tokens: int = 64) -> Records:
    """A run at 100 requests/s on an engine that decodes all requests at once, in steps of a time per stream."""
    sent_s, step_s = np.arange(count) / RPS, load / RPS / tokens
    times_s: list[list[float]] = [[] for _ in range(count)]
    now_s, following, active = 0.0, 0, [0]
    while active or following < count:
        while following < count and sent_s[following] <= now_s:
            following += 1
        active = [row for row in range(following) if len(times_s[row]) < tokens]
        now_s = now_s + step_s * max(1, len(active)) if active else float(sent_s[min(following, count - 1)])
        for row in active:
            times_s[row].append(now_s)
    arrivals_ns = (np.array(times_s) * 1e9).astype(np.int64)
    made = rows(count, scheduled_ns=(sent_s * 1e9).astype(np.int64), sent_ns=(sent_s * 1e9).astype(np.int64))
    first, last = arrivals_ns[:, 0], arrivals_ns[:, -1]
    times: dict[str, Any] = {"first_byte_ns": first, "first_ns": first, "last_ns": last, "done_ns": last}
    gaps_ns = np.diff(arrivals_ns, axis=1).ravel().astype(np.float32)
    offsets = np.arange(count + 1, dtype=np.int64) * (tokens - 1)
    return dataclasses.replace(made, **times, gaps_ns=gaps_ns, gap_offsets=offsets)


def labelled(name: str, values: Any) -> Records:
    """A healthy run whose rows have a label."""
    return dataclasses.replace(rows(), labels={name: values})


def failing(status: Status, text: str) -> Records:
    """A run in which 30 of 200 requests failed with a text."""
    made = rows(status=some(30, int(status)), error=some(30, 0, otherwise=NEVER))
    return dataclasses.replace(made, errors=(text,))


def facts(**values: Any) -> Facts:
    healthy: dict[str, Any] = {
        "offered_rps": RPS,
        "stationary": True,
        "ignore_eos": True,
        "client_cpu_fraction": 0.2,
        "client_lag_p99_ms": 0.3,
        "client_wait_fraction": 0.1,
        "client_loop_stall_p99_ms": 0.3,
        "other_cpu_fraction": 0.02,
        "prefix_cache_queries": 1000.0,
        "prefix_cache_hits": 0.0,
        "preemptions": 0.0,
        "cache_reset": True,
        "calibrated_rps": 800.0,
    }
    return Facts(healthy | values)


def verdict(records: Records, known: Facts) -> tuple[Verdict, list[str], tuple[Reason, ...]]:
    worst, reasons = judge(Window.of(records, facts=known), ValidityLimits())
    return worst, [reason.check for reason in reasons], reasons


def reasoned(chunks: Any, tokens: Any) -> Records:
    """A run of streams of 64 chunks, so many of which are reasoning, and so many tokens of it by usage."""
    ones = np.ones(200, dtype=np.int32)
    labels = {"reasoning_chunks": chunks * ones, "reasoning_tokens": tokens * ones}
    return dataclasses.replace(chunked(1, 5.0), labels=labels)


def with_images(tokens: Any) -> Records:
    """A run whose prompts have two images of so many tokens each."""
    made = rows(prompt_tokens=128 + 2 * tokens)
    return dataclasses.replace(made, labels={"images": np.full(200, 2, dtype=np.int32)})


IMAGES = {"media": "image", "equal_images": True}
#: A chat whose template adds 20 tokens to prompts of 108.
TEXTS_OF_A_CHAT = {"template_tokens": 20, "lengths_of_texts": True}
#: rule, severity, rows that break it, facts that break it, what its sentence says
FIRES: list[tuple[str, Verdict, Records, dict[str, Any], tuple[str, ...]]] = [
    ("completed", Verdict.INVALID, rows(status=int(Status.REFUSED)), {}, ("none of 200", "completed")),
    ("completed", Verdict.INVALID, rows(phase=int(Phase.WARMUP)), {}, ("measured window",)),
    ("completed", Verdict.SUSPECT, rows(9), {}, ("only 9", "10")),
    (
        "failed_fraction",
        Verdict.INVALID,
        rows(status=some(4, Status.RESET)),
        {},
        ("4 of 200", "2.0 %", "1.0 %", "4 reset"),
    ),
    ("interrupted", Verdict.SUSPECT, rows(), {"interrupted": True}, ("interrupted", "200 completed")),
    (
        "server_not_empty",
        Verdict.SUSPECT,
        rows(),
        {"server_drained": False, "server_drain_s": 60.4},
        ("still worked on the point before", "60 s"),
    ),
    ("tokens", Verdict.INVALID, rows(output_tokens=0, status=int(Status.SHORT)), {}, ("no token",)),
    ("tokens", Verdict.SUSPECT, rows(output_tokens=NEVER), {}, ("200 of 200", "usage", "absent")),
    ("tokens", Verdict.SUSPECT, rows(output_tokens=some(3, NEVER, otherwise=64)), {}, ("3 of 200", "incomplete")),
    ("output_check", Verdict.SUSPECT, labelled("correct", some(50, 0, otherwise=1)), {}, ("150 of 200", "75.0 %")),
    ("retried", Verdict.SUSPECT, labelled("tries", some(3, 2, otherwise=1)), {}, ("3 of 200", "1.5 %")),
    (
        "equal_items",
        Verdict.SUSPECT,
        rows(anomalies=some(1, Anomaly.EQUAL_ITEMS)),
        {},
        ("1 of 200", "two equal vectors"),
    ),
    ("unsorted", Verdict.SUSPECT, rows(anomalies=some(1, Anomaly.UNSORTED)), {}, ("1 of 200", "order of their scores")),
    (
        "structured_output",
        Verdict.SUSPECT,
        rows(anomalies=some(5, Anomaly.INVALID_OUTPUT)),
        {},
        ("5 of 200", "2.5 %, limit 2.0 %", "dataset.output_tokens"),
    ),
    ("tool_calls", Verdict.SUSPECT, rows(anomalies=some(5, Anomaly.WRONG_TOOL_CALL)), {}, ("5 of 200", "required")),
    ("reasoning", Verdict.SUSPECT, reasoned(0, 0), {}, ("none of 200", "reasoning parser")),
    ("reasoning", Verdict.SUSPECT, reasoned(64, 64), {}, ("all 200", "before the answer")),
    ("reasoning", Verdict.SUSPECT, reasoned(32, some(5, 16, otherwise=32)), {}, ("5 of 200", "2.5 %", "fewer tokens")),
    ("image_tokens", Verdict.SUSPECT, with_images(0), IMAGES, ("0.0 tokens for an image",)),
    ("image_tokens", Verdict.SUSPECT, with_images(some(80, 0, otherwise=64)), IMAGES, ("from 0 to 64 tokens",)),
    ("short", Verdict.SUSPECT, rows(status=some(5, Status.SHORT)), {}, ("5 of 200", "2.5 %", "1.0 %")),
    ("long", Verdict.SUSPECT, rows(output_tokens=some(5, 80, otherwise=64)), {}, ("5 of 200", "80.0", "64.0", "2.5 %")),
    (
        "long",
        Verdict.SUSPECT,
        dataclasses.replace(chunked(1, 5.0), asked_output_tokens=np.full(200, 8, np.int32)),
        {},
        ("200 of 200", "64.0 tokens instead of 8.0", "api.token_limit"),
    ),
    (
        "chunks",
        Verdict.SUSPECT,
        dataclasses.replace(chunked(1, 5.0), output_tokens=some(5, 32, otherwise=64)),
        {},
        ("5 of 200", "64.0 chunks, 32.0 tokens", "2.5 %, limit 1.0 %", "reasoning"),
    ),
    ("usage", Verdict.SUSPECT, rows(anomalies=some(3, Anomaly.TOTAL_DIFFERS)), {}, ("3 of 200", "1.5 %", "reasoning")),
    (
        "several_choices",
        Verdict.INVALID,
        rows(anomalies=some(1, Anomaly.SEVERAL_CHOICES)),
        {},
        ("1 of 200", "TPOT and ITL are wrong", "script.body.n=1"),
    ),
    (
        "several_choices",
        Verdict.SUSPECT,
        rows(anomalies=int(Anomaly.SEVERAL_CHOICES), first_ns=NEVER, output_tokens=256),
        {},
        ("200 of 200", "all choices together"),
    ),
    ("blank", Verdict.INVALID, rows(anomalies=int(Anomaly.BLANK), output_tokens=1), {}, ("none of 200 answers",)),
    ("blank", Verdict.INVALID, rows(anomalies=some(30, Anomaly.BLANK)), {}, ("30 of 200", "15.0 %, limit 10.0 %")),
    (
        "blank",
        Verdict.SUSPECT,
        rows(anomalies=some(5, Anomaly.BLANK)),
        {},
        ("5 of 200", "2.5 %, limit 1.0 %", "prompts"),
    ),
    ("repeated", Verdict.SUSPECT, rows(anomalies=some(1, Anomaly.REPEATED)), {}, ("1 of 200", "not counted")),
    (
        "impossible",
        Verdict.INVALID,
        rows(anomalies=some(1, Anomaly.IMPOSSIBLE_USAGE)),
        {},
        ("1 of 200", "impossible token counts"),
    ),
    ("impossible", Verdict.INVALID, rows(output_tokens=10**9), {}, ("200 of 200", "output tokens", "limit 1e+06")),
    ("impossible", Verdict.INVALID, rows(prompt_tokens=10**9), {}, ("200 of 200", "prompt tokens", "limit 1e+08")),
    ("one_piece", Verdict.SUSPECT, pieces(range(150)), {}, ("150 of 200", "75 %", "50 %", "buffering")),
    ("one_piece", Verdict.SUSPECT, pieces(range(200), spread_us=200), {}, ("200 of 200",)),
    (
        "bursts",
        Verdict.SUSPECT,
        chunked(8, 5.0),
        {},
        ("200 of 200", "about 8 chunks every 40 ms", "50 %", "TTFT is too"),
    ),
    ("bursts", Verdict.SUSPECT, chunked(2, 5.0), {}, ("about 2 chunks every 10 ms",)),
    (
        "buffering",
        Verdict.SUSPECT,
        chunked(8, 5.0, count=90, others=110),
        {},
        ("90 of 200 streams began with several chunks", "TTFT has a mean of", "about 13", "proxy"),
    ),
    ("bursts", Verdict.SUSPECT, chunked(32, 5.0, first_alone=True), {}, ("ITL is not the server's",)),
    ("prompt_tokens", Verdict.SUSPECT, rows(prompt_tokens=140), {}, ("140.0", "128.0", "9.4 %", "5.0 %")),
    ("prompt_tokens", Verdict.SUSPECT, rows(prompt_tokens=140), {}, ("12 for every request", "chat template")),
    ("rate", Verdict.INVALID, rows(sent_late_ms=np.linspace(0, 500, 200)), {}, ("offered", "95 %", "keep up")),
    ("client_lag", Verdict.INVALID, rows(), {"client_lag_p99_ms": 6.0}, ("6.0 ms", "5.0 ms", "10.0 ms between")),
    ("loop_stall", Verdict.INVALID, rows(), {"client_loop_stall_p99_ms": 12.0}, ("12.0 ms", "limit 5.0 ms")),
    ("client_cpu", Verdict.INVALID, rows(), {"client_cpu_fraction": 0.97}, ("97 %", "90 %")),
    ("client_wait", Verdict.INVALID, rows(), {"client_wait_fraction": 0.8}, ("only 20 %", "limit 40 %", "its server")),
    (
        "client_wait",
        Verdict.INVALID,
        rows(ttft_ms=1000),
        {"client_wait_fraction": 0.8, "client_wait_ms": 11.0},
        ("only 20 %", "its server"),
    ),
    (
        "client_wait",
        Verdict.INVALID,
        rows(),
        {"client_wait_fraction": 0.3, "other_cpu_fraction": None},
        ("only 70 %", "limit 80 %", "stop other jobs"),
    ),
    (
        "client_limits",
        Verdict.INVALID,
        failing(Status.CLIENT_LIMIT, "EMFILE (Too many open files): a limit of this machine"),
        {},
        ("30 of 200", "not of the server", "file descriptors (ulimit -n"),
    ),
    (
        "client_limits",
        Verdict.INVALID,
        failing(Status.CLIENT_LIMIT, "EADDRNOTAVAIL (Cannot assign requested address)"),
        {},
        ("local ports", "ip_local_port_range"),
    ),
    (
        "failed_fraction",
        Verdict.INVALID,
        failing(Status.HTTP_5XX, "HTTP 500: CUDA out of memory"),
        {},
        ("30 of 200", "30 http_5xx; most often: HTTP 500: CUDA out of memory"),
    ),
    ("client_clocks", Verdict.SUSPECT, rows(), {"clock_uncertainty_ms": 1.25}, ("1.25 ms", "limit 1 ms")),
    (
        "lost_processes",
        Verdict.INVALID,
        rows(),
        {"lost_client_processes": ("killed by 9",)},
        ("1 client", "killed by 9"),
    ),
    ("calibrated", Verdict.SUSPECT, rows(), {"calibrated_rps": 50.0}, ("100", "50", "calibrate")),
    ("prefix_cache", Verdict.SUSPECT, rows(), {"prefix_cache_hits": 200.0}, ("20.0 %", "5.0 %")),
    ("cache_reset", Verdict.SUSPECT, rows(), {"cache_reset": False}, ("did not confirm",)),
    ("mixed_versions", Verdict.SUSPECT, rows(), {"mixed_versions": ["0.1", "0.2"]}, ("different versions: 0.1, 0.2",)),
    ("preemptions", Verdict.SUSPECT, rows(), {"preemptions": 8.0}, ("8 times", "4.0 %", "1.0 %")),
    ("server_restarted", Verdict.SUSPECT, rows(), {"server_restarted": True}, ("was restarted",)),
    ("other_cpu", Verdict.SUSPECT, rows(), {"other_cpu_fraction": 0.3}, ("30 %", "10 %")),
    ("other_gpu", Verdict.SUSPECT, rows(), {"other_gpu_pids": (7, 9)}, ("7, 9",)),
    ("window_figures", Verdict.INVALID, moved(first_ns=-60), {}, ("1 of 200", "impossible times")),
    ("window_figures", Verdict.INVALID, moved(done_ns=-60), {}, ("1 of 200",)),
    ("window_figures", Verdict.INVALID, rows(output_tokens=2_000_000), {}, ("output tokens/s", "limit 1e+08")),
    ("stationary", Verdict.INVALID, rows(ttft_ms=np.linspace(50, 1000, 200)), {}, ("TTFT kept rising", "95 %")),
    ("stationary", Verdict.SUSPECT, rows(ttft_ms=np.linspace(50, 110, 200)), {}, ("TTFT kept rising", "50 %")),
    ("overloaded", Verdict.INVALID, rows(ttft_ms=np.linspace(50, 1000, 200)), {}, ("overloaded", "limit 95 %")),
    ("overloaded", Verdict.INVALID, rows(20, ttft_ms=np.linspace(50, 400, 20)), {}, ("TTFT rose", "of 100 requests/s")),
    (
        "overloaded",
        Verdict.INVALID,
        rows(20, ttft_ms=np.where(np.arange(20) < 16, 20, 200)),
        {},
        ("TTFT rose from",),
    ),
    (
        "overloaded",
        Verdict.INVALID,
        decoding(2.0),
        {},
        ("about 49", "of 100 requests/s", "between chunks"),
    ),
    ("warmup", Verdict.SUSPECT, rows(ttft_ms=np.where(np.arange(200) < 4, 400, 50)), {}, ("first 3", "TTFT")),
    ("warmup", Verdict.SUSPECT, rows(ttft_ms=np.where(np.arange(200) < 1, 900, 50)), {}, ("first 3", "TTFT")),
]

#: rows and facts near to those above that must leave the verdict VALID
VALID: list[tuple[Records, dict[str, Any]]] = [
    (rows(), {}),
    (rows(10), {}),
    (reasoned(32, 32), {}),
    (reasoned(32, 0), {}),  # usage does not count reasoning
    (with_images(64), IMAGES),
    (rows(status=some(2, Status.RESET)), {}),
    (rows(status=some(150, Status.SHORT), output_tokens=some(150, 1, otherwise=64)), {"ignore_eos": False}),
    (rows(output_tokens=some(2, 80, otherwise=64)), {}),
    (rows(output_tokens=256, asked_output_tokens=0), {}),
    (labelled("correct", some(39, 0, otherwise=1)), {}),
    (labelled("correct", some(150, NEVER, otherwise=1)), {}),
    (labelled("tries", some(2, 2, otherwise=1)), {}),
    (rows(status=some(20, Status.USER_CANCELLED), first_ns=NEVER), {"server_generation_tokens": 180 * 64.0 + 400}),
    (rows(anomalies=some(2, Anomaly.TOTAL_DIFFERS)), {}),
    (rows(anomalies=some(2, Anomaly.BLANK)), {}),
    (rows(anomalies=some(60, Anomaly.BLANK), output_tokens=1, asked_output_tokens=1), {}),
    (dataclasses.replace(chunked(1, 5.0), output_tokens=some(2, 32, otherwise=64)), {}),
    (rows(status=some(2, Status.EMPTY), anomalies=some(2, Anomaly.SEVERAL_CHOICES | Anomaly.IMPOSSIBLE_USAGE)), {}),
    (pieces(range(90)), {}),
    (pieces(range(200), output_tokens=4), {}),
    (pieces(range(200), first_ns=NEVER), {}),  # not streamed
    (chunked(1, 5.0), {}),
    (chunked(4, 5.0, first_alone=True), {}),  # speculative decoding with a chunk a token: the first token comes alone
    (chunked(8, 0.1), {}),  # shorter than what would change TTFT
    (chunked(8, 5.0), {"client_loop_stall_p99_ms": 12.0, "offered_rps": 5.0}),  # gathered by the client itself
    (chunked(8, 5.0, count=1, others=199), {}),  # too few for p99
    (chunked(8, 5.0, count=90, others=110), {"client_loop_stall_p99_ms": 12.0, "offered_rps": 5.0}),
    (rows(prompt_tokens=129), {}),
    (rows(prompt_tokens=128), TEXTS_OF_A_CHAT),
    (rows(prompt_tokens=108), TEXTS_OF_A_CHAT),  # the server does not count the template
    (rows(sent_late_ms=np.linspace(0, 50, 200)), {}),
    (rows(sent_late_ms=np.linspace(0, 500, 200)), {"offered_rps": None, "stationary": False}),
    (rows(), {"client_lag_p99_ms": 4.9}),
    (rows(), {"client_wait_fraction": 0.5}),  # its server's doing
    (rows(), {"client_wait_fraction": 0.9, "client_wait_ms": 0.15}),
    (rows(ttft_ms=1000), {"client_wait_fraction": 0.9, "client_wait_ms": 9.5}),
    (rows(), {"client_wait_fraction": 0.2, "other_cpu_fraction": None}),
    (rows(), {"clock_uncertainty_ms": 1.0}),
    (rows(ttft_ms=1000), {"client_lag_p99_ms": 50.0, "client_loop_stall_p99_ms": 50.0}),
    (rows(), {"client_lag_p99_ms": 9.0, "offered_rps": 5.0}),
    (rows(), {"prefix_cache_hits": 900.0, "prefix_cache_intended": True}),
    (rows(), {"prefix_cache_queries": 0.0}),
    (rows(), {"preemptions": 2.0}),
    (rows(), {"calibrated_rps": RPS}),
    (rows(ttft_ms=np.linspace(50, 1000, 200)), {"stationary": False}),
    (rows(ttft_ms=np.linspace(50, 65, 200)), {}),
    (rows(20, ttft_ms=np.linspace(50, 55, 20)), {}),
    (rows(20, ttft_ms=np.linspace(50, 400, 20)), {"stationary": False}),
    (decoding(0.9), {}),
    (decoding(0.1), {}),
    (rows(20, ttft_ms=30_000.0), {}),  # answers far longer than the time of sending
    (rows(ttft_ms=np.minimum(np.linspace(20, 150, 200), 60)), {}),  # it rises, and then is steady
    (rows(ttft_ms=np.where(np.arange(200) % 50 == 30, 900, 50)), {}),  # slow requests in the middle
]


@pytest.mark.parametrize(
    ("name", "severity", "records", "known", "says"), FIRES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_rule_fires(
    name: str, severity: Verdict, records: Records, known: dict[str, Any], says: tuple[str, ...]
) -> None:
    worst, _, reasons = verdict(records, facts(**known))
    mine = [reason for reason in reasons if reason.check == name]
    assert [reason.severity for reason in mine] == [severity]
    assert all(part in mine[0].text for part in says), mine[0].text
    assert worst >= severity if severity is Verdict.VALID else worst in (severity, Verdict.INVALID)


@pytest.mark.parametrize(("records", "known"), VALID)
def test_no_rule_fires(records: Records, known: dict[str, Any]) -> None:
    assert verdict(records, facts(**known))[::2] == (Verdict.VALID, ())


#: Rules that read series -> the file with their tests.
TESTED_ELSEWHERE = {
    "acceptance": "test_server_view.py",
    "broken_sessions": "scripts/test_session_runs.py",
    "goes_on": "test_mixed_loads.py",
    "gpu_throttled": "test_energy.py",
    "machine_swapping": "test_energy.py",
    "kv_cache_full": "test_server_view.py",
    "other_gpu_memory": "test_energy.py",
    "sessions_overloaded": "scripts/test_session_runs.py",
    "swapping": "test_server_view.py",
    "witnesses": "test_server_view.py",
}


def test_every_rule_is_tested() -> None:
    assert {case[0] for case in FIRES} | TESTED_ELSEWHERE.keys() == set(rules())
    for name, file in TESTED_ELSEWHERE.items():
        assert f'["{name}"]' in (Path(__file__).parent / file).read_text(encoding="utf-8")


def test_every_rule_and_limit_is_in_the_document() -> None:
    document = (Path(__file__).parents[1] / "docs" / "validity.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", document, re.MULTILINE)) == set(rules())
    limits = {field.name for field in dataclasses.fields(ValidityLimits)}
    assert limits <= set(re.findall(r"`(\w+)`", document))


def test_every_fact_that_a_rule_reads_is_declared() -> None:
    read: set[str] = set()
    for module in {declared.__module__ for declared in rules().values()}:
        source = Path(sys.modules[module].__file__ or "").read_text(encoding="utf-8")
        read |= set(re.findall(r'facts\["(\w+)"\]', source))
    assert {"client_cpu_fraction", "cache_reset", "prefix_cache_hits"} <= read
    assert read <= set(declared_facts())


def test_a_server_may_leave_out_the_template_only_if_lengths_are_those_of_the_texts() -> None:
    assert verdict(rows(prompt_tokens=108), facts(template_tokens=20))[1] == ["prompt_tokens"]
    assert verdict(rows(prompt_tokens=90), facts(**TEXTS_OF_A_CHAT))[1] == ["prompt_tokens"]


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two rules are called completed"):
        rule("completed")(lambda evidence: ())


def test_a_healthy_run_breaks_only_the_rule_that_is_broken() -> None:
    for name, severity, _, known, _ in FIRES:
        if known and known is not IMAGES:  # that prompts have images breaks nothing
            assert verdict(rows(), facts(**known))[:2] == (severity, [name])


def test_unknown_facts_give_no_reasons() -> None:
    assert verdict(rows(), Facts())[::2] == (Verdict.VALID, ())


def test_scripts_without_tokens_and_schedules_are_not_judged_by_them() -> None:
    sent = list(range(0, 5 * MS, MS))
    spans = Records.of_spans(sent, [at + (500 if at else 90_000) * 1000 for at in sent])
    assert verdict(spans, Facts())[::2] == (Verdict.VALID, ())
    batch = Records.of_spans([0] * 4, [9 * MS] * 4, prompt_tokens=[8] * 4, output_tokens=[4] * 4)
    batch = dataclasses.replace(batch, asked_output_tokens=np.full(4, 4, np.int32))
    assert verdict(batch, Facts())[::2] == (Verdict.VALID, ())
    assert few_samples(spans) == few_samples(batch) == ()


def test_answers_of_an_api_that_generates_nothing_need_no_output_tokens() -> None:
    embeddings: dict[str, Any] = {"asked_output_tokens": 0, "output_tokens": NEVER, "first_ns": NEVER}
    assert verdict(rows(**embeddings), facts())[::2] == (Verdict.VALID, ())
    assert verdict(rows(9, **embeddings), facts())[:2] == (Verdict.SUSPECT, ["completed"])


def test_offline_answers_without_tokens_are_invalid() -> None:
    batch = Records.of_spans([0] * 4, [9 * MS] * 4, prompt_tokens=[8] * 4, output_tokens=[0] * 4)
    batch = dataclasses.replace(batch, asked_output_tokens=np.full(4, 4, np.int32))
    assert verdict(batch, Facts())[:2] == (Verdict.INVALID, ["tokens"])


def test_a_run_without_rows_is_invalid() -> None:
    assert verdict(Records.of_spans([], []), facts())[:2] == (Verdict.INVALID, ["completed"])


def test_all_failed_is_invalid_and_says_why() -> None:
    failed = dataclasses.replace(
        rows(status=int(Status.REFUSED), error=0, sent_ns=NEVER, first_ns=NEVER), errors=("nobody listens",)
    )
    worst, names, reasons = verdict(failed, facts())
    assert worst is Verdict.INVALID
    assert set(names) == {"completed", "failed_fraction"}
    assert "nobody listens" in " ".join(reason.text for reason in reasons)


def test_the_worst_reasons_come_first() -> None:
    broken = facts(cache_reset=False, client_cpu_fraction=1.0, other_cpu_fraction=0.5, client_loop_stall_p99_ms=80.0)
    worst, _, reasons = verdict(rows(), broken)
    severities = [reason.severity for reason in reasons]
    assert worst is Verdict.INVALID
    assert severities == [Verdict.INVALID, Verdict.INVALID, Verdict.SUSPECT, Verdict.SUSPECT]


def test_cancelled_requests_are_no_failures() -> None:
    names = verdict(rows(status=some(50, Status.CANCELLED)), facts(interrupted=True))[1]
    assert names == ["interrupted"]


def test_lateness_caused_by_max_in_flight_is_named_as_such() -> None:
    known = facts(max_in_flight=4)
    worst, names, reasons = verdict(rows(sent_late_ms=np.linspace(0, 2000, 200)), known)
    assert (worst, names) == (Verdict.INVALID, ["rate"])
    assert "max_in_flight=4" in reasons[0].text


def test_limits_are_respected() -> None:
    window = Window.of(rows(status=some(20, Status.RESET)), facts=facts())
    assert judge(window, ValidityLimits(failed_fraction=0.2))[0] is Verdict.VALID


def test_few_samples_are_a_warning() -> None:
    assert few_samples(rows(100)) == ()
    assert few_samples(rows(40)) == ("only 40 requests: p99 is unreliable, use at least 1,000",)
    assert few_samples(rows(100), [25.0]) == ()
    assert few_samples(rows(100), [99.9]) == ("only 100 requests: p99.9 is unreliable, use at least 10,000",)


Arrivals = Callable[[np.random.Generator, int, int], tuple[Any, Any]]


def infinite_servers(rng: np.random.Generator, trials: int, n: int) -> tuple[Any, Any]:
    """Poisson arrivals, latencies of a heavy tail."""
    return np.cumsum(rng.exponential(0.02, (trials, n)), axis=1), 50 * np.exp(rng.normal(0, 0.8, (trials, n)))


def one_server(rng: np.random.Generator, trials: int, n: int, load: float = 0.6) -> tuple[Any, Any]:
    """A queue: Lindley's recursion, M/M/1, warm (the first 500 are left out where the queue is stable)."""
    skip = 500 if load < 1 else 0
    gaps = rng.exponential(1.0, (n + skip, trials))
    work = rng.exponential(load, (n + skip, trials))
    latency = np.zeros_like(gaps)
    waited = np.zeros(trials)
    for i in range(n + skip):
        waited = np.maximum(0, waited - gaps[i])
        latency[i] = waited = waited + work[i]
    return np.cumsum(gaps[skip:], axis=0).T, 1000 * latency[skip:].T


@pytest.mark.parametrize("n", [40, 100, 400, 2000])
@pytest.mark.parametrize("arrivals", [infinite_servers, one_server])
def test_a_steady_window_is_rarely_called_rising(arrivals: Arrivals, n: int) -> None:
    at_s, latency_ms = arrivals(np.random.default_rng(n), 2000, n)
    assert rise(at_s, latency_ms).significant(ValidityLimits().rise_fraction).mean() < 0.01


@pytest.mark.parametrize("n", [10, 20, 40, 400])
@pytest.mark.parametrize("arrivals", [infinite_servers, one_server])
def test_a_steady_server_is_rarely_called_overloaded(arrivals: Arrivals, n: int) -> None:
    at_s, latency_ms = arrivals(np.random.default_rng(n), 2000, n)
    called = backlog(at_s, latency_ms, 0.95, waits=True).grows | queues_late(at_s, latency_ms)
    assert called.mean() < 0.01


@pytest.mark.parametrize(("load", "n", "least"), [(5.0, 20, 0.95), (3.0, 20, 0.85), (2.0, 40, 0.85), (1.5, 400, 0.95)])
def test_an_overloaded_server_is_detected_in_short_runs(load: float, n: int, least: float) -> None:
    at_s, latency_ms = one_server(np.random.default_rng(n), 1000, n, load)
    queue = backlog(at_s, latency_ms, 0.95, waits=True)
    assert queue.grows.mean() > least
    assert np.median(queue.finished_fraction) == pytest.approx(1 / load, rel=0.15)


@pytest.mark.parametrize("n", [40, 100, 400, 2000])
@pytest.mark.parametrize("arrivals", [infinite_servers, one_server])
def test_a_steady_window_is_rarely_called_cold(arrivals: Arrivals, n: int) -> None:
    _, latency_ms = arrivals(np.random.default_rng(n), 2000, n)
    assert slow_start(latency_ms, ValidityLimits().slow_start_ratio).mean() < 0.01


@pytest.mark.parametrize(("load", "n"), [(2.0, 100), (1.5, 400), (1.2, 2000)])
def test_a_growing_queue_is_detected(load: float, n: int) -> None:
    at_s, latency_ms = one_server(np.random.default_rng(n), 500, n, load)
    rises = rise(at_s, latency_ms)
    assert rises.significant(ValidityLimits().rise_fraction).mean() > 0.9
    assert np.median(rises.slope) / 1e3 == pytest.approx(load - 1, rel=0.2)
