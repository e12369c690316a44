"""llama.cpp's server for tests: the small model of ``model=smollm2``, one thread, so that it shares a core politely.

ggml's threads spin while they wait for each other: two of them are many times slower than one on a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchhydra import models
from benchhydra.engines.llamacpp import LlamaCpp
from benchhydra.progress import Progress
from benchhydra.servers import Lease
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Gpus, Model, Sparsity, Target

MODEL = Model(id="smollm2", build="smollm2", max_model_len=1024)


def engine(**args: Any) -> LlamaCpp:
    """The engine with one thread and two slots, whose caches can be emptied, and further flags of llama-server."""
    return LlamaCpp(slots=2, args={"threads": 1, "cache_ram": 0} | args)


def target(engine: LlamaCpp) -> Target:
    """The small model, built on first use."""
    return models.ensure(
        engine.target(MODEL, Sparsity(), Gpus(device="cpu", count=0)), engine.interpreter(), Progress()
    )


@contextmanager
def leased(directory: Path, **args: Any) -> Iterator[Lease]:
    """A running server, stopped at the end of the block."""
    program = engine(**args)
    pool = ServerPool(directory)
    try:
        with pool.lease(
            program.server(target(program)), Progress(), ready_timeout_s=60.0, stop_timeout_s=10.0, headers={}
        ) as lease:
            yield lease
    finally:
        pool.close()
