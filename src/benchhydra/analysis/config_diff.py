"""What differs between two runs beside what was measured: machine, engine, commit, configuration, packages."""

from __future__ import annotations

from typing import Any

from benchhydra.analysis.definition_diff import definition_differences, engine_of
from benchhydra.analysis.runs import Run
from benchhydra.artifacts import RESULT_FILE, read_json
from benchhydra.errors import ResultError
from benchhydra.redaction import excerpt
from benchhydra.renamed_keys import new_name
from benchhydra.result import ENGINE_NAME, flatten

ATTRIBUTES = ("machine", "engine_version", "commit")
#: Root keys that say nothing about what was measured.
NOT_SHOWN = ("description", "probes", "repeat", "repeats", "search", "sweep", "tracking")
LONGEST = 60


def config_differences(base: Run, candidate: Run) -> tuple[str, ...]:
    """What differs, a line each: ``engine version: 0.5 -> 0.6``; first, where definitions differ between two engines.

    Configurations are compared where both runs lie in directories, otherwise only their point keys. Where a result
    cannot be read, this is the only line.
    """
    definitions: tuple[str, ...] = ()
    pairs = [(name.replace("_", " "), getattr(base, name), getattr(candidate, name)) for name in ATTRIBUTES]
    if base.directory is None or candidate.directory is None:
        pairs.append(("point key", base.point_key, candidate.point_key))
    else:
        try:
            results = _read_result(base), _read_result(candidate)
        except ResultError as error:
            return (f"configurations are not compared: {error.message}",)
        pairs += _setting_pairs(*results)
        definitions = definition_differences(*results)
    return (*definitions, *(f"{name}: {_text(a)} -> {_text(b)}" for name, a, b in pairs if a != b))


def _read_result(run: Run) -> dict[str, Any]:
    file = run.file(RESULT_FILE)
    return read_json(file) if file else {}


def _setting_pairs(base: dict[str, Any], candidate: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Config keys and package versions with both values, None where a side lacks one.

    A root key that a side lacks altogether is left out: versions of benchhydra before it had another schema.
    """
    left, right = _config(base), _config(candidate)
    roots = {_root(key) for key in left} & {_root(key) for key in right} - {*NOT_SHOWN}
    keys = [key for key in sorted(left | right) if _root(key) in roots]
    old, new = (_object(_object(result, "environment"), "packages") for result in (base, candidate))
    pairs = [(key, left.get(key), right.get(key)) for key in keys]
    return pairs + [(f"package {name}", old.get(name), new.get(name)) for name in sorted(old | new)]


def _config(result: dict[str, Any]) -> dict[str, Any]:
    """The flat config under today's names of its keys, without empty values."""
    flat = {new_name(key) or key: value for key, value in flatten(_object(result, "config")).items() if value != {}}
    if "api" in flat:  # a text in version 0.1, an option of a group today
        flat["api.name"] = flat.pop("api")
    engine = engine_of(result)
    flat |= {ENGINE_NAME: engine} if engine else {}
    return flat


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _root(key: str) -> str:
    return key.partition(".")[0]


def _text(value: object) -> str:
    text = "-" if value in (None, "") else str(value)
    return text if len(text) <= LONGEST else f"{excerpt(text, LONGEST - 1)}…"
