"""From the overrides of points to planned points: each one composed and checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchhydra.artifacts import RESULT_FILE
from benchhydra.config import BenchConfig, Sweep
from benchhydra.engines import ServerSpec
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.metrics import table
from benchhydra.sweep import Identity, PlannedPoint, ServerGroup, point_identity
from benchhydra.sweep.group.group_run import Compose, StopLimits
from benchhydra.sweep.plan.directories import directory_name
from benchhydra.sweep.plan.order import arrange_repeats, group_by_server
from benchhydra.sweep.plan.resume import FoundResult, read_json, result_identity

SpecOf = Callable[[BenchConfig], ServerSpec | None]
HISTORY_FILES = 2000


@dataclass(frozen=True, kw_only=True)
class CheckedPoints:
    """The points of a sweep, in the order of the arguments; ``sweep`` and ``seed`` are those of the first point."""

    points: tuple[PlannedPoint, ...]
    sweep: Sweep
    seed: int
    configs: dict[Identity, BenchConfig]


def check_points(
    points: Iterable[Sequence[str]], compose: Compose, spec_of: SpecOf, directory: Path, swept: Sequence[str] = ()
) -> CheckedPoints:
    """Compose and check every point, repeats included; ``swept``: keys that directories are named after first.

    Raises BenchhydraError, naming the first bad point.
    """
    planned: dict[Identity, PlannedPoint] = {}
    configs: dict[Identity, BenchConfig] = {}
    first: BenchConfig | None = None
    for overrides in points:
        config, point = _checked(overrides, compose, spec_of)
        first = first or config
        for repeated in _repeats(point, config, directory, swept):
            planned.setdefault(repeated.identity, repeated)
            configs.setdefault(repeated.identity, config)
    if first is None:
        raise ConfigError("the sweep has no points")
    return CheckedPoints(points=tuple(planned.values()), sweep=first.sweep, seed=first.seed, configs=configs)


def _checked(overrides: Sequence[str], compose: Compose, spec_of: SpecOf) -> tuple[BenchConfig, PlannedPoint]:
    config, resolved = compose(overrides)
    try:
        spec = spec_of(config)
    except BenchhydraError as error:
        raise type(error)(f"{error.message} (point: {' '.join(overrides)})", hint=error.hint) from error
    return config, PlannedPoint(overrides=tuple(overrides), directory="", identity=point_identity(resolved), spec=spec)


def _repeats(point: PlannedPoint, config: BenchConfig, directory: Path, swept: Sequence[str]) -> Iterator[PlannedPoint]:
    if config.repeats == 1 and config.sweep.ci is None:
        yield replace(point, directory=str(directory / directory_name(point.overrides, swept)))
        return
    for repeat in range(config.repeats):
        overrides = (*point.overrides, f"repeat={repeat}")
        place = str(directory / directory_name(overrides, swept))
        yield replace(point, overrides=overrides, directory=place, identity=point.identity._replace(repeat=repeat))


def ordered_groups(points: Iterable[PlannedPoint], order: str, seed: int) -> list[ServerGroup]:
    """Points grouped by server, each group in the order of ``sweep.order``."""
    return [replace(g, points=tuple(arrange_repeats(g.points, order, seed))) for g in group_by_server(points)]


def stop_limits(sweep: Sweep, now_s: float) -> StopLimits:
    """The limits that ``sweep.*`` keys set. Raises ConfigError for a ``sweep.ci`` that cannot be read."""
    metric, share = _interval(sweep.ci)
    deadline_s = None if sweep.max_time_s is None else now_s + sweep.max_time_s
    return StopLimits(
        fail_fast=sweep.fail_fast,
        max_failures=sweep.max_failures,
        deadline_s=deadline_s,
        max_time_s=sweep.max_time_s,
        ci_metric=metric,
        ci_share=share,
        max_repeats=sweep.max_repeats,
    )


def _interval(text: str | None) -> tuple[str | None, float]:
    if text is None:
        return None, 0.0
    metric, separator, percent = text.partition(":")
    try:
        share = float(percent.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not separator or not percent.endswith("%") or not 0 < share < 1:
        raise ConfigError(f"sweep.ci={text} is not METRIC:PERCENT", hint="sweep.ci=p99_ttft_ms:2%")
    known = table()
    if metric not in known:
        from difflib import get_close_matches

        near = get_close_matches(metric, known, n=3)
        raise ConfigError(f"sweep.ci: no such metric: {metric}", hint=" or ".join(near) or "docs/metrics.md lists all")
    return metric, share


def history_s(root: Path) -> dict[Identity, float]:
    """Wall times of the newest results anywhere below ``root``."""
    files = sorted(root.glob(f"**/{RESULT_FILE}"), key=lambda path: path.stat().st_mtime)[-HISTORY_FILES:]
    known = {}
    for path in files:
        data = read_json(path) or {}
        if data.get("status") == "ok" and "wall_s" in data:
            known[result_identity(data)] = float(data["wall_s"])
    return known


def relocated_points(points: Iterable[PlannedPoint], results: Iterable[FoundResult]) -> list[PlannedPoint]:
    """The points, each in the directory where a resumed sweep has its result already, whatever that result is."""
    places = {done.identity: str(done.directory) for done in results}
    return [replace(point, directory=places.get(point.identity, point.directory)) for point in points]
