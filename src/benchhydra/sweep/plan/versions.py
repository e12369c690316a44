"""Engine versions: a resumed sweep must not mix results of two of them, and says so before anything is started.

Versions are compared engine by engine (kind, interpreter, address): a sweep over two builds has two, on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchhydra.config import BenchConfig
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.points import Identity
from benchhydra.registry import option_name
from benchhydra.sweep.plan.resume import EarlierResult

Configs = Mapping[Identity, BenchConfig]


def engine_label(config: BenchConfig) -> str:
    """What tells the engines of a sweep apart, in words: kind, interpreter, address."""
    parts = [getattr(config.engine, name, None) for name in ("python", "base_url")]
    return " ".join([option_name(config.engine), *(part for part in parts if part)])


def kept_versions(results: Iterable[EarlierResult], configs: Configs) -> dict[str, tuple[str, ...]]:
    """The engine versions of kept results, by engine."""
    by_engine: dict[str, set[str]] = {}
    for result in results:
        if result.engine_version:
            by_engine.setdefault(engine_label(configs[result.identity]), set()).add(result.engine_version)
    return {engine: tuple(sorted(versions)) for engine, versions in by_engine.items()}


def refuse_mixed_versions(kept: Mapping[str, tuple[str, ...]], todo: Iterable[Identity], configs: Configs) -> None:
    """Raise ConfigError where kept results are of several versions of an engine, or of another one than runs now."""
    engines = {engine_label(configs[identity]): configs[identity] for identity in todo}
    for engine, versions in kept.items():
        now = _version(engines[engine]) if engine in engines else None
        mixed = sorted({*versions, *([now] if now else [])})
        if len(mixed) > 1:
            raise ConfigError(
                f"sweep.resume would mix results of versions {', '.join(mixed)} of engine {engine}",
                hint="start a new sweep, or allow it with sweep.any_engine_version=true",
            )


def _version(config: BenchConfig) -> str | None:
    """The version that would run, from the interpreter or the attached server; None where it cannot be asked yet."""
    try:
        return config.engine.version(getattr(config.engine, "base_url", None) or "")
    except (BenchhydraError, OSError):
        return None
