"""What a sweep says on the terminal: the plan before, the failures after."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchhydra.engines import ServerSpec
from benchhydra.result import single_point_overrides
from benchhydra.sweep import Identity, ServerGroup
from benchhydra.sweep.outcomes import BAD, Outcome, first_line
from benchhydra.sweep.plan.directories import point_label

LOG_LINES = 10
CONFIG_OPTIONS = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")


def plan_lines(
    groups: Sequence[ServerGroup], kept: int, history_s: Mapping[Identity, float], swept: Iterable[str]
) -> Iterator[str]:
    """The plan: counts, then each group with its server's command line and its points in order."""
    points = [point for group in groups for point in group.points]
    starts = sum(group.spec is not None and group.spec.kind != "attached" for group in groups)
    yield f"{count_of(len(points), 'point')}, {count_of(len(groups), 'group')}, {count_of(starts, 'server start')}"
    if kept:
        yield f"{count_of(kept, 'point')} skipped: a believable result is there"
    yield estimated_time([point.identity for point in points], history_s)
    swept = tuple(swept)
    for number, group in enumerate(groups, 1):
        yield f"group {number}: {server_line(group.spec)}"
        for point in group.points:
            yield f"  {point_label(point.overrides, swept)}"


def estimated_time(identities: Sequence[Identity], history_s: Mapping[Identity, float]) -> str:
    """The time that the points will take, from what the same ones took before."""
    by_point: dict[str, list[float]] = {}
    for identity, wall_s in history_s.items():
        by_point.setdefault(identity.point_key, []).append(wall_s)
    known = [sum(by_point[i.point_key]) / len(by_point[i.point_key]) for i in identities if i.point_key in by_point]
    if not known:
        return "estimated time: unknown, none of these points has been measured before"
    total = sum(known) + (len(identities) - len(known)) * sum(known) / len(known)
    return f"estimated time: {duration_text(total)} (from earlier results of {len(known)} of {len(identities)} points)"


def server_line(spec: ServerSpec | None) -> str:
    """How a server is started, as one would type it."""
    if spec is None:
        return "no server"
    if spec.kind == "attached":
        return f"attached to {spec.base_url}"
    return shlex.join(spec.argv)


def point_command(overrides: Sequence[str], options: Sequence[str] = ()) -> str:
    """The command line that runs one point alone."""
    return shlex.join(["benchhydra", *options, *single_point_overrides(overrides)])


def options_of(words: Sequence[str]) -> list[str]:
    """Of a command line's words, those that say where Hydra finds configs: a point's own overrides lack them."""
    found: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in CONFIG_OPTIONS:
            found += [word, following]
        elif word.startswith((*(f"{option}=" for option in CONFIG_OPTIONS), "hydra.searchpath=")):
            found.append(word)
    return found


def failure_lines(outcomes: Sequence[Outcome], swept: Sequence[str] = (), options: Sequence[str] = ()) -> Iterator[str]:
    """Every point that did not end well: what happened, the end of the server's log, how to run it alone."""
    for outcome in outcomes:
        if outcome.status not in BAD or outcome.status == "skipped":
            continue
        yield f"{outcome.status}: {point_label(outcome.overrides, swept)}"
        yield from (f"  {line}" for line in _reason(outcome))
        yield from (f"  | {line}" for line in (outcome.log_tail or "").splitlines()[-LOG_LINES:])
        if Path(outcome.directory).is_dir():
            yield f"  its files: {_relative(outcome.directory)}"
        yield f"  run it alone: {point_command(outcome.overrides, options)}"


def _reason(outcome: Outcome) -> list[str]:
    """The error; without the log lines that it quotes where the log's end follows."""
    if outcome.log_tail:
        return [first_line(outcome.error)]
    return (outcome.error or "no reason is known").splitlines()


def verdict_line(outcomes: Sequence[Outcome]) -> str | None:
    """Why the sweep exits non-zero, in one line; None where all went well."""
    bad: dict[str, int] = {}
    for outcome in outcomes:
        if outcome.status in BAD:
            bad[outcome.status] = bad.get(outcome.status, 0) + 1
    if not bad:
        return None
    return f"{', '.join(f'{number} {status}' for status, number in bad.items())} of {count_of(len(outcomes), 'point')}"


def count_of(number: int, noun: str) -> str:
    """``1 point``, ``2 points``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration_text(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _relative(directory: str) -> str:
    path, here = Path(directory), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else directory
