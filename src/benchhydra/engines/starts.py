"""What an engine can say about its own start: what it caches between starts, and how long its phases took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class StartCaches:
    """What makes a start faster than the first one on a machine.

    variables: environment variables that name the directories of compile caches. files: the model's files, which the
    kernel keeps in its page cache after they were read once; None where they are not on this machine.
    """

    variables: tuple[str, ...] = ()
    files: tuple[Path, ...] | None = ()


@dataclass(frozen=True, kw_only=True)
class StartPhases:
    """What the log of one start says; None: nothing. Of several workers the slowest counts.

    The phases follow one another: setup, model load, engine initialisation, and what is left until the server answers.
    The others lie inside them.
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
