"""Claims on GPUs: a file lock for each, so that two benchmarks of one user never share a GPU by accident."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchhydra import environment
from benchhydra.environment import Gpu
from benchhydra.errors import GpuUnavailable

#: Drivers keep some memory: it counts as released at the level before the engine's start plus this much.
SLACK_MIB = 512
RELEASE_S = 30.0


@contextmanager
def claim(count: int) -> Iterator[tuple[int, ...]]:
    """Hold ``count`` GPUs (by NVML index, the idle ones first) until the end of the block. Raises GpuUnavailable."""
    candidates = sorted(environment.gpus(), key=lambda gpu: (len(gpu.pids), gpu.index))
    with ExitStack() as locks:
        claimed: list[int] = []
        for gpu in candidates:
            if len(claimed) < count and _try(gpu, locks):
                claimed.append(gpu.index)
        if len(claimed) < count:
            raise _unavailable(count, candidates, claimed)
        yield tuple(sorted(claimed))


def wait_released(indices: tuple[int, ...], before_mib: dict[int, int]) -> bool:
    """Wait until each GPU's used memory is back at ``before_mib``. Returns False after ``RELEASE_S`` without that."""
    deadline = time.monotonic() + RELEASE_S
    while True:
        used = used_mib(indices)
        if all(used.get(index, 0) <= before_mib.get(index, 0) + SLACK_MIB for index in indices):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.25)


def used_mib(indices: tuple[int, ...]) -> dict[int, int]:
    """Return memory in use in MiB, by GPU index."""
    return {gpu.index: gpu.used_mib for gpu in environment.gpus() if gpu.index in indices}


def lock_dir() -> Path:
    """Return this user's directory of lock files; create it if needed."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "benchhydra" if base else Path(tempfile.gettempdir()) / f"benchhydra-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _try(gpu: Gpu, locks: ExitStack) -> bool:
    """Claim one GPU until the stack is closed; return False if another benchmark holds it."""
    from filelock import FileLock, Timeout  # start-up time: 7 ms, only with GPUs

    lock = FileLock(lock_dir() / f"{gpu.uuid}.lock", timeout=0, thread_local=False)
    try:
        locks.enter_context(lock)
    except Timeout:
        return False
    note = _note(gpu)
    note.write_text(str(os.getpid()))
    locks.callback(note.unlink, missing_ok=True)
    return True


def _note(gpu: Gpu) -> Path:
    return lock_dir() / f"{gpu.uuid}.holder"


def _unavailable(count: int, gpus: list[Gpu], claimed: list[int]) -> GpuUnavailable:
    if len(gpus) < count:
        return GpuUnavailable(f"{count} GPUs requested, but only {len(gpus)} available", hint="gpus=auto, or gpus=cpu")
    holders = [f"GPU {gpu.index} by {_holder(gpu)}" for gpu in gpus if gpu.index not in claimed]
    text = f"{count} GPUs requested, but only {len(claimed)} of {len(gpus)} are free; in use: {', '.join(holders)}"
    return GpuUnavailable(text, hint="wait for the other benchmark, or request fewer: gpus=single")


def _holder(gpu: Gpu) -> str:
    with contextlib.suppress(OSError):
        return f"process {_note(gpu).read_text()}"
    return "another benchmark"
