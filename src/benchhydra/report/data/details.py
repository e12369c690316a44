"""What ``result.json`` says beyond its metrics: configuration, environment, warnings, and where the run is tracked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchhydra.analysis.runs import Run
from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import ResultError
from benchhydra.result import NOT_IDENTITY, flatten
from benchhydra.tracking.mlflow import read_links

RECORDS_FILE = "records.parquet"
#: Longer texts (a log's tail, a huge config value) are cut.
LONGEST = 4000


class _ResultFile(msgspec.Struct):
    config: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    warnings: list[str] = []
    failures: dict[str, int] = {}
    repeat: int = 0
    wall_s: float | None = None
    error: str | None = None
    log_tail: str | None = None


@dataclass(frozen=True, kw_only=True)
class Detail:
    """A run's texts. ``facts`` are flat: ``config.qps``, ``environment.host.name``; values are as JSON has them."""

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    failures: dict[str, int] = field(default_factory=dict)
    repeat: int = 0
    wall_s: float | None = None
    error: str = ""
    log_tail: str = ""
    mlflow: str = ""
    records: Path | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The flat configuration."""
        start = "config."
        return {key.removeprefix(start): value for key, value in self.facts.items() if key.startswith(start)}


_decoder = msgspec.json.Decoder(_ResultFile)


def file_slug(text: str) -> str:
    """A file name for a key or an id that came from a file: it cannot climb out of the report."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def detail(run: Run) -> Detail:
    """The details of a run that lies in a directory; empty for one that does not. Raises ResultError."""
    if run.directory is None:
        return Detail()
    file = run.directory / RESULT_FILE
    try:
        told = _decoder.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise ResultError(f"cannot read {file}: {error}") from error
    parts = {"config": told.config, "environment": told.environment, "metadata": told.metadata}
    records = run.directory / RECORDS_FILE
    return Detail(
        facts={key: _shown(value) for key, value in flatten(parts).items()},
        warnings=tuple(told.warnings),
        failures=told.failures,
        repeat=told.repeat,
        wall_s=told.wall_s,
        error=told.error or "",
        log_tail=(told.log_tail or "")[-LONGEST:],
        mlflow=web_link(read_links(run.directory).get("link", "")),
        records=records if records.is_file() else None,
    )


def _shown(value: Any) -> Any:
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def web_link(address: str) -> str:
    """An address that may stand in a link: http or https, or nothing."""
    return address if address.startswith(("http://", "https://")) else ""


def in_common(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entries that all have, with the same value."""
    if not facts:
        return {}
    first, *rest = facts
    kept = dict(first)
    for other in rest:
        kept = {key: value for key, value in kept.items() if key in other and other[key] == value}
    return kept


def names_point(key: str) -> bool:
    """Whether a flat config key identifies a point."""
    return not any(key == name or key.startswith(f"{name}.") for name in NOT_IDENTITY)


def telling_apart(configs: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> list[str]:
    """Flat config keys that differ between configs; of keys that vary together only the first, shortest name first."""
    common = in_common(configs)
    keys = dict.fromkeys(key for config in configs for key in config if key not in common)
    varying = [key for key in keys if names_point(key) and key not in without]
    kept: dict[tuple[int, ...], str] = {}
    for key in sorted(varying, key=lambda name: (name.count("."), len(name))):
        kept.setdefault(_partition([config.get(key) for config in configs]), key)
    return list(kept.values())


def _partition(values: Sequence[Any]) -> tuple[int, ...]:
    """Which values are equal, whatever they are: ``(a, b, a)`` -> ``(0, 1, 0)``."""
    seen: dict[str, int] = {}
    return tuple(seen.setdefault(repr(value), len(seen)) for value in values)
