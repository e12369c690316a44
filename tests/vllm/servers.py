"""vLLM servers that all tests share: one for each set of engine arguments, because a start takes half a minute.

They run on the last core, which leaves the first one to clients; on a machine with one core they share it.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import psutil
from tests.planted_causes import server_of

from benchhydra.servers import Lease
from benchhydra.servers.pool import ServerPool

CORES = sorted(os.sched_getaffinity(0))
#: So many servers run at most: each takes 2.6 GiB.
MOST_SERVERS = 4
LONGEST = 2048

#: On CPU vLLM runs its model in a process below the engine's, whose start is a third of the CPU time of a whole start.
#: With these variables the engine's process runs it, on as many threads. A server that drafts needs the process:
#: without it the threads that draft share the core of the model, and long answers take ten times as long.
NO_WORKER_PROCESS = ("++engine.env.VLLM_ENABLE_V1_MULTIPROCESSING='0'", "++engine.env.OMP_NUM_THREADS='1'")

#: The engine arguments of servers that several modules use. Without a prefix cache a prompt always costs the same.
PLAIN: dict[str, Any] = {"enable_prefix_caching": False}
TWO_SLOTS: dict[str, Any] = {"max_num_seqs": 2}
#: Room for 640 tokens.
SMALL_CACHE: dict[str, Any] = {
    "num_gpu_blocks_override": 20,
    "block_size": 32,
    "max_model_len": 512,
    "enable_prefix_caching": False,
}
DRAFTING: dict[str, Any] = {
    "speculative_config": {
        "method": "ngram",
        "num_speculative_tokens": 3,
        "prompt_lookup_max": 3,
        "prompt_lookup_min": 1,
    }
}


def words(**args: Any) -> tuple[str, ...]:
    """The overrides of a point of the tiny model on the server with these engine arguments."""
    arguments = {"max_model_len": LONGEST, **args}
    return (
        *("engine=vllm", "gpus=cpu", "model=tiny"),
        *(f"++engine.args.{name}={_hydra_value(value)}" for name, value in sorted(arguments.items())),
        f"++engine.env.VLLM_CPU_OMP_THREADS_BIND='{CORES[-1]}'",
        *(() if "speculative_config" in arguments else NO_WORKER_PROCESS),
    )


def _hydra_value(value: Any) -> str:
    """A value as Hydra's grammar reads it: keys of mappings without quotes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_hydra_value(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


class VllmServers:
    """The running servers, by their arguments. The one used longest ago is stopped where too many would run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pools: dict[tuple[str, ...], ServerPool] = {}

    def pool(self, **args: Any) -> ServerPool:
        """A pool that holds the server with these engine arguments: points composed of ``words(**args)`` run on it."""
        self.lease(**args)
        return self._pools[words(**args)]

    def url(self, **args: Any) -> str:
        """The base URL of the server with these engine arguments, with empty caches."""
        return self.lease(**args).base_url

    def lease(self, **args: Any) -> Lease:
        """The server with these engine arguments, with empty caches. It starts if it does not run."""
        overrides = words(**args)
        pool = self._pools.pop(overrides, None) or self._new_pool()
        self._pools[overrides] = pool  # as the one that was used last
        with server_of(pool, *overrides) as lease:
            if lease.fresh:
                pin(lease)
        return lease

    def close(self) -> None:
        """Stop all servers."""
        while self._pools:
            self._pools.popitem()[1].close()

    def _new_pool(self) -> ServerPool:
        while len(self._pools) >= MOST_SERVERS:
            self._pools.pop(next(iter(self._pools))).close()
        return ServerPool(self._directory)


def pin(lease: Lease) -> None:
    """Let all threads of the server's processes run on the last core only."""
    assert lease.pid is not None
    root = psutil.Process(lease.pid)
    for process in (root, *root.children(recursive=True)):
        for thread in process.threads():
            with contextlib.suppress(OSError):  # it has ended
                os.sched_setaffinity(thread.id, {CORES[-1]})
