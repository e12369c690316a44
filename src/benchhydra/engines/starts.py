"""Types for an engine's start: what it caches between starts, and how long its phases took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class StartCaches:
    """What makes a start faster than the first one on a machine.

    variables: environment variables that set the directories of compile caches. files: the model's files, which stay in
    the kernel's page cache after they were read; None if they are not on this machine.
    """

    variables: tuple[str, ...] = ()
    files: tuple[Path, ...] | None = ()


@dataclass(frozen=True, kw_only=True)
class StartPhases:
    """Times and sizes from the log of one start; None: not in the log. The value is that of the slowest worker.

    The phases in order: setup, model load, engine initialisation, and the rest until the server answers. The other
    times are parts of these.
    """

    imports_s: float | None = None  # start of the process to its first log line
    setup_s: float | None = None  # start of the process to the start of loading: imports, config, worker processes
    model_load_s: float | None = None  # building the model, its weights included
    weights_s: float | None = None  # in model_load_s: reading the weights
    engine_init_s: float | None = None  # profiling, KV cache, compilation, graph capture, warm-up
    compilation_s: float | None = None  # in engine_init_s
    graph_capture_s: float | None = None  # in engine_init_s
    model_memory_gib: float | None = None  # for each worker
    kv_cache_memory_gib: float | None = None  # for each worker
    graph_memory_gib: float | None = None  # for each worker
    kv_cache_tokens: float | None = None  # of the whole engine
