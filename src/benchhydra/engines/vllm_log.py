"""Reads phases, times and sizes of a start from vLLM's log: the wording of versions 0.6 to 0.32, V0 and V1."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

from benchhydra.engines.starts import StartPhases

NUMBER = r"([\d,]+(?:\.\d+)?)"
#: Field of StartPhases -> wordings, the preferred one first.
FIGURES = {
    "model_load_s": (rf"Model loading took \S+ Gi?B(?: memory)? and {NUMBER} seconds",),
    "weights_s": (rf"Loading weights took {NUMBER} seconds",),
    "engine_init_s": (rf"init engine \(profile, create kv cache, warmup model\) took {NUMBER} s",),
    "compilation_s": (
        rf"init engine \(.*\(compilation: {NUMBER} s",  # the sum of the model, its encoder and a draft model
        rf"torch\.compile (?:and initial profiling\S* run (?:together )?)?(?:takes|took) {NUMBER} s in total",
    ),
    "graph_capture_s": (rf"\bGraph capturing finished in {NUMBER} secs",),
    "model_memory_gib": (rf"Model loading took {NUMBER} Gi?B", rf"Loading model weights took {NUMBER} Gi?B"),
    "kv_cache_memory_gib": (
        rf"Available KV cache memory: {NUMBER} GiB",
        rf"memory reserved for KV Cache is {NUMBER}GiB",
        rf"Explicitly set \({NUMBER}/\S+ GiB for KV cache",
    ),
    "graph_memory_gib": (rf"\bGraph capturing finished in \d+ secs, took {NUMBER} GiB",),
    "kv_cache_tokens": (rf"KV cache size: {NUMBER} tokens",),
}
#: ``(EngineCore pid=13856) INFO 11-26 06:50:07 [core.py:133] ...``; local time, truncated to whole seconds.
STAMP = re.compile(r"\b(?:DEBUG|INFO|WARNING|ERROR) (\d\d-\d\d \d\d:\d\d:\d\d)")
CUT_S = 0.5
LOADING = re.compile(r"Starting to load model")
#: What vLLM does after it has written such a line. (Strings: compiling them would take 2 ms of every start.)
PHASES = (
    (r"vLLM API server version|non-default args", "reading the model's configuration"),
    (r"Resolved architecture|Using max model len", "starting the engine's process"),
    (r"Initializing a V\d LLM engine", "starting the engine's workers"),
    (r"\.safetensors: +\d+%|Fetching \d+ files", "downloading weights"),
    (LOADING.pattern, "loading weights"),
    (r"Loading .*shards: .*\| (?P<done>\d+)/(?P<total>\d+)", "loading weights, {done} of {total} files"),
    (r"Loading (?:model )?weights took|Model loading took", "profiling memory"),
    (r"Dynamo bytecode transform|Compiling a graph", "compiling"),
    (r"torch\.compile (?:and .*)?(?:takes|took)", "profiling memory"),
    (r"KV cache memory|KV cache size|for KV [Cc]ache", "allocating the KV cache"),
    (r"Capturing (?:CUDA|cudagraph|the model for CUDA)", "capturing CUDA graphs"),
    (r"Graph capturing finished", "warming up"),
    (r"init engine \(", "starting the HTTP server"),
)


def start_phase(lines: Sequence[str]) -> str:
    """Return what a vLLM that starts is doing, in words: the phase of the last line of its log that tells."""
    for line in reversed(lines):
        for pattern, phase in PHASES:
            match = re.search(pattern, line)
            if match:
                return phase.format(**match.groupdict())
    return "importing vLLM"


def start_phases(log: str, started_s: float, ready_s: float) -> StartPhases:
    """Return the phases of one start: figures from the log's text, imports and setup from its time stamps (to 1 s).

    started_s, ready_s: when the process was started and when it was ready, in seconds since the epoch.
    """
    first_s, loading_s = _since_start(log, started_s, ready_s)
    figures = {field: _largest(wordings, log) for field, wordings in FIGURES.items()}
    return StartPhases(imports_s=first_s, setup_s=loading_s, **figures)


def _largest(wordings: tuple[str, ...], log: str) -> float | None:
    """Return the largest value of the first wording that occurs: each worker logs a line, the slowest counts."""
    for wording in wordings:
        values = [float(text.replace(",", "")) for text in re.findall(wording, log)]
        if values:
            return max(values)
    return None


def _since_start(log: str, started_s: float, ready_s: float) -> tuple[float | None, float | None]:
    """Return seconds from the start to the first line with a time, and to the start of loading; None if not logged."""
    first_s = loading_s = None
    for line, age_s in _ages(log, started_s):
        if not 0 <= age_s <= ready_s - started_s + 1:
            continue  # the engine logs in another time zone
        if first_s is None:
            first_s = age_s
        if loading_s is None and LOADING.search(line):
            loading_s = age_s
    return first_s, loading_s


def _ages(log: str, started_s: float) -> Iterator[tuple[str, float]]:
    """Yield each line with a time stamp, and its age in s after the start (the middle of the stamped second)."""
    year = time.localtime(started_s).tm_year
    for line in log.splitlines():
        stamp = STAMP.search(line)
        if stamp is None:
            continue
        for candidate in (year, year + 1):  # stamps have no year, and a start may last over New Year
            try:
                written_s = time.mktime(time.strptime(f"{candidate}-{stamp[1]}", "%Y-%m-%d %H:%M:%S")) + CUT_S
            except ValueError:  # 29 February of another year
                continue
            if written_s >= started_s - 1:
                yield line, max(0.0, written_s - started_s)
                break
