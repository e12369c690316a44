"""What differs between two runs beside what was measured: machine, engine, commit, configuration, packages."""

from __future__ import annotations

from typing import Any

from benchhydra.analysis.runs import Run
from benchhydra.artifacts import RESULT_FILE, read_json
from benchhydra.result import flatten

ATTRIBUTES = ("machine", "engine_version", "commit")
#: Parts of a config that say nothing about what was measured.
NOT_SHOWN = ("description", "repeat", "repeats", "search", "sweep", "tracking")
LONGEST = 60


def config_differences(base: Run, candidate: Run) -> tuple[str, ...]:
    """What differs, a line each: ``engine version: 0.5 -> 0.6``.

    Configurations are compared where both runs lie in directories, otherwise only their point keys. Raises ResultError
    where a result cannot be read.
    """
    pairs = [(name.replace("_", " "), getattr(base, name), getattr(candidate, name)) for name in ATTRIBUTES]
    if base.directory is None or candidate.directory is None:
        pairs.append(("point key", base.point_key, candidate.point_key))
    else:
        left, right = _shown_keys(base), _shown_keys(candidate)
        pairs += [(key, left.get(key), right.get(key)) for key in sorted(left | right)]
    return tuple(f"{name}: {_text(a)} -> {_text(b)}" for name, a, b in pairs if a != b)


def _shown_keys(run: Run) -> dict[str, Any]:
    """Config keys and package versions of a run, by the names that they are shown with."""
    file = run.file(RESULT_FILE)
    result = read_json(file) if file else {}
    config = {key: v for key, v in flatten(result.get("config", {})).items() if key.split(".")[0] not in NOT_SHOWN}
    packages = result.get("environment", {}).get("packages", {})
    return config | {f"package {name}": version for name, version in packages.items()}


def _text(value: object) -> str:
    text = "-" if value in (None, "") else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
