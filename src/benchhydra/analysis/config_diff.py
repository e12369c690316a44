"""What two runs did not have in common: machine, engine, commit, configuration, packages. A reader's first question."""

from __future__ import annotations

from typing import Any

import msgspec

from benchhydra.analysis.runs import Run
from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import ResultError
from benchhydra.result import flatten

NAMES = ("machine", "engine_version", "commit")
#: Parts of a config that say nothing about what was measured.
NOT_SHOWN = ("description", "repeat", "repeats", "sweep", "tracking")
LONGEST = 60


class _ComparedKeys(msgspec.Struct):
    config: dict[str, Any] = {}
    environment: dict[str, Any] = {}


def config_differences(base: Run, candidate: Run) -> tuple[str, ...]:
    """What differs, a line each: ``engine version: 0.5 -> 0.6``. Configs only where both lie in directories."""
    both = [(name.replace("_", " "), getattr(base, name), getattr(candidate, name)) for name in NAMES]
    if base.directory is None or candidate.directory is None:
        both.append(("point key", base.point_key, candidate.point_key))
    else:
        left, right = _flat(base), _flat(candidate)
        both += [(key, left.get(key), right.get(key)) for key in sorted(left | right)]
    return tuple(f"{name}: {_text(a)} -> {_text(b)}" for name, a, b in both if a != b)


def _flat(run: Run) -> dict[str, Any]:
    """Config keys and package versions of a run, by the names that they are shown with."""
    file = run.directory / RESULT_FILE if run.directory else None
    try:
        told = msgspec.json.decode(file.read_bytes(), type=_ComparedKeys) if file else _ComparedKeys()
    except (OSError, msgspec.DecodeError) as error:
        raise ResultError(f"cannot read {file}: {error}") from error
    config = {key: value for key, value in flatten(told.config).items() if key.split(".")[0] not in NOT_SHOWN}
    packages = told.environment.get("packages", {})
    return config | {f"package {name}": version for name, version in packages.items()}


def _text(value: object) -> str:
    text = "-" if value in (None, "") else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
