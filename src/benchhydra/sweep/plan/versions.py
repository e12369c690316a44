"""Engine versions: a resumed sweep must not mix results of two of them, and says so before anything starts.

Versions are compared engine by engine (kind, interpreter, address): a sweep over two builds has two, on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchhydra.config import BenchConfig
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.registry import option_name
from benchhydra.sweep import Identity
from benchhydra.sweep.plan.resume import FoundResult

Configs = Mapping[Identity, BenchConfig]


def engine_of(config: BenchConfig) -> str:
    """What tells engines of a sweep apart, in words."""
    parts = [getattr(config.engine, name, None) for name in ("python", "base_url")]
    return " ".join([option_name(config.engine), *(part for part in parts if part)])


def kept_versions(kept: Iterable[FoundResult], configs: Configs) -> dict[str, tuple[str, ...]]:
    """The engine versions of kept results, by engine."""
    found: dict[str, set[str]] = {}
    for done in kept:
        if done.engine_version:
            found.setdefault(engine_of(configs[done.identity]), set()).add(done.engine_version)
    return {engine: tuple(sorted(versions)) for engine, versions in found.items()}


def refuse_others(kept: Mapping[str, tuple[str, ...]], todo: Iterable[Identity], configs: Configs) -> None:
    """Raise ConfigError where kept results are of several versions of an engine, or of another one than runs now."""
    engines = {engine_of(configs[identity]): configs[identity] for identity in todo}
    for engine, versions in kept.items():
        now = _version(engines[engine]) if engine in engines else None
        mixed = sorted({*versions, *([now] if now else [])})
        if len(mixed) > 1:
            raise ConfigError(
                f"sweep.resume would mix results of versions {', '.join(mixed)} of engine {engine}",
                hint="start a new sweep, or allow it with sweep.any_engine_version=true",
            )


def _version(config: BenchConfig) -> str | None:
    """The version that would run, from the interpreter or the attached server; None where it does not tell yet."""
    try:
        return config.engine.version(getattr(config.engine, "base_url", None) or "")
    except (BenchhydraError, OSError):
        return None
