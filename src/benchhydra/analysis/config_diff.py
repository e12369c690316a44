"""What differs between two runs beside what was measured: machine, engine, commit, configuration, packages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from benchhydra.analysis.definition_diff import definition_differences, engine_of
from benchhydra.analysis.runs import Run
from benchhydra.artifacts import RESULT_FILE, read_json
from benchhydra.errors import ResultError
from benchhydra.redaction import excerpt
from benchhydra.renamed_keys import new_name
from benchhydra.result import ENGINE_NAME, flatten

#: The name of a setting, and its value on both sides; None: that side lacks it.
Pair = tuple[str, Any, Any]
ATTRIBUTES = ("machine", "engine_version", "commit")
#: Root keys that say nothing about what was measured.
NOT_SHOWN = ("description", "probes", "repeat", "repeats", "search", "sweep", "tracking")
#: Keys without defaults: where one stands in a result, the user has set it.
SET_BY_USERS = ("engine.args.", "engine.env.")
LONGEST = 60


class Differences(NamedTuple):
    """What differs between two runs, a line each. settings: ``engine version: 0.5 -> 0.6``; definitions: sentences."""

    settings: tuple[str, ...]
    definitions: tuple[str, ...] = ()


def config_differences(base: Run, candidate: Run) -> Differences:
    """Return what differs, and where the definitions of two engines do.

    Configurations are compared where both runs lie in directories, otherwise only their point keys. Where a result
    cannot be read, this is the only line.
    """
    attributes = [(name.replace("_", " "), getattr(base, name), getattr(candidate, name)) for name in ATTRIBUTES]
    if base.directory is None or candidate.directory is None:
        return Differences(_lines([*attributes, ("point key", base.point_key, candidate.point_key)]))
    try:
        results = _read_result(base), _read_result(candidate)
    except ResultError as error:
        return Differences((f"configurations are not compared: {error.message}",))
    pairs = [*attributes, *_setting_pairs(*results)]
    if engine_of(results[0]) != engine_of(results[1]):
        pairs = _between_engines(pairs, results, (base.engine_version, candidate.engine_version))
    return Differences(_lines(pairs), definition_differences(*results))


def _lines(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(f"{name}: {_text(a)} -> {_text(b)}" for name, a, b in pairs if a != b)


def _between_engines(
    pairs: Iterable[Pair], results: tuple[dict[str, Any], dict[str, Any]], versions: tuple[str | None, str | None]
) -> list[Pair]:
    """Return the engines with their versions as one pair, then the others.

    A key that only one of the engines has is left out unless the user has set it.
    """
    base, candidate = (
        " ".join(filter(None, (engine_of(result), version))) for result, version in zip(results, versions, strict=True)
    )
    typed = " ".join(word for result in results for word in _typed(result))

    def is_of_one_engine(name: str, a: Any, b: Any) -> bool:
        is_set = name.startswith(SET_BY_USERS) or f"{name}=" in typed
        return _root(name) == "engine" and None in (a, b) and not is_set

    others = [pair for pair in pairs if pair[0] not in ("engine version", ENGINE_NAME) and not is_of_one_engine(*pair)]
    return [("engine", base, candidate), *others]


def _typed(result: dict[str, Any]) -> list[str]:
    """Return the overrides of a result's point, as the user typed them."""
    words = _object(result, "metadata").get("overrides")
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _read_result(run: Run) -> dict[str, Any]:
    file = run.file(RESULT_FILE)
    return read_json(file) if file else {}


def _setting_pairs(base: dict[str, Any], candidate: dict[str, Any]) -> list[Pair]:
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
