"""Engine versions: a resumed sweep refuses to mix results of two versions, before anything is started.

Versions are compared per engine (kind, interpreter, address): a sweep that compares two builds has two engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchhydra.config import BenchConfig
from benchhydra.engines import versions as engine_versions
from benchhydra.engines.attach import Attach
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.points import Identity
from benchhydra.registry import option_name
from benchhydra.sweep.plan.resume import EarlierResult

Configs = Mapping[Identity, BenchConfig]


def engine_label(config: BenchConfig) -> str:
    """The name of an engine within a sweep: its kind, and its interpreter and address if they are set."""
    python = getattr(config.engine, "python", None)
    return " ".join([option_name(config.engine), *([python] if python else []), *_base_urls(config)])


def kept_versions(results: Iterable[EarlierResult], configs: Configs) -> dict[str, tuple[str, ...]]:
    """Engine label -> the sorted engine versions of its kept results."""
    by_engine: dict[str, set[str]] = {}
    for result in results:
        if result.engine_version:
            by_engine.setdefault(engine_label(configs[result.identity]), set()).add(result.engine_version)
    return {engine: tuple(sorted(versions)) for engine, versions in by_engine.items()}


def refuse_mixed_versions(
    earlier_versions: Mapping[str, tuple[str, ...]], to_measure: Iterable[Identity], configs: Configs
) -> None:
    """Raise ConfigError if an engine's earlier versions differ among each other, or from the version that runs now."""
    engines = {engine_label(configs[identity]): configs[identity] for identity in to_measure}
    for engine, versions in earlier_versions.items():
        current = _current_version(engines[engine]) if engine in engines else None
        all_versions = sorted({*versions, *([current] if current else [])})
        if len(all_versions) > 1:
            raise ConfigError(
                f"sweep.resume would mix results of versions {', '.join(all_versions)} of engine {engine}",
                hint="start a new sweep, or allow it with sweep.any_engine_version=true",
            )


def _base_urls(config: BenchConfig) -> tuple[str, ...]:
    """The addresses of an attached engine's servers; () of any other engine."""
    return config.engine.base_urls() if isinstance(config.engine, Attach) else ()


def _current_version(config: BenchConfig) -> str | None:
    """The version of the interpreter's engine or of the attached server; None if neither can be asked now."""
    try:
        return ", ".join(engine_versions(config.engine, _base_urls(config) or ("",))) or None
    except (BenchhydraError, OSError):
        return None
