"""The output directory of a single run: one of its own, or the one that the user typed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.conf import HydraConf

from benchhydra.artifacts import RESULT_FILE, read_json
from benchhydra.errors import ConfigError, ResultError
from benchhydra.output_directory import PathLock, claim_run_directory

#: A directory that is typed with one of these is used as it is; all others may get a number.
TYPED_KEYS = ("hydra.run.dir=", "hydra.sweep.dir=", "hydra.sweep.subdir=")


@contextmanager
def run_directory(hydra: HydraConf) -> Iterator[Path]:
    """Yield the directory of a run, given Hydra's own config. Nothing that was measured is overwritten.

    A directory that Hydra has named gets a number if another run has it. Raises ConfigError if a typed directory holds
    the result of a measurement, or if another process writes into it.
    """
    directory = Path(hydra.runtime.output_dir)
    if not any(str(override).startswith(TYPED_KEYS) for override in hydra.overrides.hydra):
        yield claim_run_directory(directory)
        return
    with PathLock(directory) as lock:
        if not lock.acquire():
            raise ConfigError(f"another run writes into {directory}", hint="hydra.run.dir=DIR selects another")
        if _measured(directory / RESULT_FILE):
            raise ConfigError(f"{directory} already holds a result", hint="hydra.run.dir=DIR selects another directory")
        yield directory


def _measured(file: Path) -> bool:
    """Whether a result file holds figures, or cannot be read; the result of a failed run holds none."""
    if not file.exists():
        return False
    try:
        return read_json(file).get("status") != "failed"
    except ResultError:
        return True
