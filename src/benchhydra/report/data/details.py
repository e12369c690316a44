"""What ``result.json`` says beyond its metrics: configuration, environment, warnings, and where the run is tracked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchhydra.analysis.runs import Run
from benchhydra.artifacts import RECORDS_FILE, RESULT_FILE, decode_json
from benchhydra.errors import ResultError
from benchhydra.redaction import excerpt, redact
from benchhydra.result import NOT_IDENTITY, FailureText, flatten
from benchhydra.tracking.links import read_links

#: Longer texts (a log's tail, a huge config value) are cut.
LONGEST = 4000


class _GroupFigure(msgspec.Struct):
    """A metric of a group of requests, as ``result.json`` has it."""

    value: float


class _ResultFile(msgspec.Struct):
    """The fields shown. Decoded by msgspec, not by ``artifacts.read_json``: a report reads every result of a tree."""

    config: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    warnings: list[str] = []
    failures: dict[str, int] = {}
    failure_texts: list[FailureText] = []
    groups: dict[str, dict[str, dict[str, _GroupFigure]]] = {}
    repeat: int = 0
    wall_s: float | None = None
    error: str | None = None
    log_tail: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunDetails:
    """A run's texts. ``facts`` are flat: ``config.qps``, ``environment.host.name``; values are as JSON has them.

    groups: figures of groups of requests by label (replica, adapter), name of the group and metric.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    failures: dict[str, int] = field(default_factory=dict)
    failure_texts: tuple[str, ...] = ()
    groups: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    repeat: int = 0
    wall_s: float | None = None
    error: str = ""
    log_tail: str = ""
    mlflow: str = ""
    records: Path | None = None
    fault: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The flat configuration."""
        prefix = "config."
        return {key.removeprefix(prefix): value for key, value in self.facts.items() if key.startswith(prefix)}


_decoder = msgspec.json.Decoder(_ResultFile)


def file_slug(text: str) -> str:
    """A file name for a key or an id that came from a file: it cannot climb out of the report."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_details(run: Run) -> RunDetails:
    """The details of a run that lies in a directory; empty for one that does not.

    Of a result whose details cannot be read, ``fault`` is the reason, which is shown as a warning.
    """
    if run.directory is None:
        return RunDetails()
    try:
        return _read_details(run.directory)
    except ResultError as error:
        return RunDetails(warnings=(error.message,), fault=error.message)


def _read_details(directory: Path) -> RunDetails:
    file, records = directory / RESULT_FILE, directory / RECORDS_FILE
    result = decode_json(file, _decoder)
    parts = {"config": result.config, "environment": result.environment, "metadata": result.metadata}
    return RunDetails(
        facts={key: _shown_value(value) for key, value in flatten(parts).items()},
        warnings=tuple(result.warnings),
        failures=result.failures,
        failure_texts=tuple(map(str, result.failure_texts)),
        groups={
            label: {
                redact(name): {key: figure.value for key, figure in figures.items()} for name, figures in of.items()
            }
            for label, of in result.groups.items()
        },
        repeat=result.repeat,
        wall_s=result.wall_s,
        error=redact(result.error or ""),
        log_tail=redact(result.log_tail or "")[-LONGEST:],
        mlflow=web_link(read_links(directory).get("link", "")),
        records=records if records.is_file() else None,
    )


def _shown_value(value: Any) -> Any:
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST else f"{excerpt(text, LONGEST)}…"


def web_link(address: str) -> str:
    """An address that may stand in a link: http or https, or nothing."""
    return address if address.startswith(("http://", "https://")) else ""


def common_items(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The items that all mappings have, with the same value."""
    if not mappings:
        return {}
    first, *rest = mappings
    common = dict(first)
    for other in rest:
        common = {key: value for key, value in common.items() if key in other and other[key] == value}
    return common


def identifies_point(key: str) -> bool:
    """Whether a flat config key identifies a point."""
    return not any(key == name or key.startswith(f"{name}.") for name in NOT_IDENTITY)


def distinguishing_keys(configs: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> list[str]:
    """Flat config keys that differ between configs; of keys that vary together only the first, shortest name first."""
    common = common_items(configs)
    keys = dict.fromkeys(key for config in configs for key in config if key not in common)
    varying = [key for key in keys if identifies_point(key) and key not in without]
    key_of_partition: dict[tuple[int, ...], str] = {}
    for key in sorted(varying, key=lambda name: (name.count("."), len(name))):
        key_of_partition.setdefault(_partition([config.get(key) for config in configs]), key)
    return list(key_of_partition.values())


def _partition(values: Sequence[Any]) -> tuple[int, ...]:
    """Which values are equal, whatever they are: ``(a, b, a)`` -> ``(0, 1, 0)``."""
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(repr(value), len(numbers)) for value in values)
