"""The texts that a sweep prints: its plan, its first line, failures and commands."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchhydra.config import BenchConfig
from benchhydra.engines import ServerSpec
from benchhydra.escaping import printable_lines
from benchhydra.points import Identity, Outcome, override_key
from benchhydra.registry import option_name
from benchhydra.render.figures import count
from benchhydra.result import single_point_overrides
from benchhydra.run import load_s_of
from benchhydra.similar_texts import merged, template
from benchhydra.sweep.plan.estimate import estimate_line
from benchhydra.sweep.plan.point_names import point_label
from benchhydra.sweep.plan.sweep_plan import SweepPlan
from benchhydra.sweep.study_result import StudyResult

#: Last lines of a server's log that a failed point shows.
LOG_LINES = 10
CONFIG_OPTIONS = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")


def say(line: str) -> None:
    """Write a line to stderr, at once."""
    sys.stderr.write(f"{printable_lines(line)}\n")
    sys.stderr.flush()


def sweep_plan_lines(plan: SweepPlan, history: Mapping[Identity, float]) -> Iterator[str]:
    """The plan: counts, then each group with its server's command line and its points in order.

    history: wall time of earlier measurements, in seconds.
    """
    points = [point for group in plan.groups for point in group.points]
    yield f"{count(len(points), 'point')}, {count(len(plan.groups), 'group')}, {_server_starts(plan)}"
    if plan.kept_results:
        yield f"{count(len(plan.kept_results), 'point')} skipped: already measured, and not INVALID"
    if plan.search.adds_points:
        yield f"search={option_name(plan.search)} adds points while it runs; this plan does not include them"
    yield estimate_line([point.identity for point in points], history, loads_s(plan.configs))
    for group_number, group in enumerate(plan.groups, 1):
        yield f"group {group_number}: {server_line(group.spec)}"
        for point in group.points:
            yield f"  {point_label(point.overrides, plan.swept)}"


def loads_s(configs: Mapping[Identity, BenchConfig]) -> dict[Identity, float]:
    """The lengths of the loads in seconds, where they are known before."""
    lengths = ((identity, load_s_of(config)) for identity, config in configs.items())
    return {identity: load_s for identity, load_s in lengths if load_s is not None}


def server_line(spec: ServerSpec | None) -> str:
    """The command line that starts a server; for a group without a server of its own, or an attached one, a phrase."""
    if spec is None:
        return "each point starts its own engines"
    if spec.kind == "attached":
        return f"attached to {spec.base_url}"
    return shlex.join(spec.argv)


def begin_line(plan: SweepPlan) -> str:
    """The first line of a sweep: the number of points to measure, of servers, and of points measured earlier."""
    points = sum(len(group.points) for group in plan.groups)
    servers = sum(group.spec is not None for group in plan.groups)
    on_servers = f" on {count(servers, 'server')}" if servers else ""
    own_engines = f"; {_own_engines(plan)}" if _own_engines(plan) else ""
    earlier = f"; {len(plan.kept_results)} already measured by an earlier run" if plan.kept_results else ""
    return f"sweep: {count(points, 'point')}{on_servers}{own_engines}{earlier}"


def _server_starts(plan: SweepPlan) -> str:
    """The number of server starts: one a group unless the server is attached; and which points start engines."""
    starts = sum(group.spec is not None and group.spec.kind != "attached" for group in plan.groups)
    own_engines = _own_engines(plan)
    if not own_engines:
        return count(starts, "server start")
    return f"{count(starts, 'server start')}, {own_engines}" if starts else own_engines


def _own_engines(plan: SweepPlan) -> str:
    """The clause on the points whose script starts engines itself (script=startup); empty if there are none."""
    points = sum(len(group.points) for group in plan.groups if group.spec is None)
    if all(group.spec is None for group in plan.groups):
        return "each point starts its own engines" if points else ""
    return f"{points} of the points start their own engines" if points else ""


def resume_command(directory: Path) -> str:
    """The command line that resumes the sweep in ``directory``: that of this process, with ``sweep.resume``."""
    words = [word for word in sys.argv[1:] if not word.startswith("sweep.resume=")]
    return shlex.join(["benchhydra", *words, f"sweep.resume={directory}"])


def point_command(overrides: Sequence[str], options: Sequence[str] = ()) -> str:
    """The command line that measures one point by itself, without a sweep."""
    return shlex.join(["benchhydra", *options, *single_point_overrides(overrides)])


def config_options(words: Sequence[str]) -> list[str]:
    """The words of a command line that tell Hydra where configs are: the overrides of a point do not include them."""
    options: list[str] = []
    for word, next_word in zip(words, [*words[1:], ""], strict=True):
        if word in CONFIG_OPTIONS:
            options += [word, next_word]
        elif word.startswith((*(f"{option}=" for option in CONFIG_OPTIONS), "hydra.searchpath=")):
            options.append(word)
    return options


def search_error_lines(studies: Iterable[StudyResult], swept: Iterable[str]) -> Iterator[str]:
    """A line for each search that ended with an error."""
    yield from (f"failed: {_study_label(study, swept)}: {study.error}" for study in studies if study.error)


def _study_label(study: StudyResult, swept: Iterable[str]) -> str:
    """The name of a study: its search, and the overrides of swept keys that its points share."""
    keys = tuple(swept)
    return " ".join([f"search={study.search}", *(o for o in study.overrides if override_key(o) in keys)])


def failure_lines(outcomes: Iterable[Outcome], swept: Iterable[str], options: Sequence[str] = ()) -> Iterator[str]:
    """For each failed point: its error, the end of its server's log, its files, and the command that measures it.

    An error that several points share, but for numbers in it, is shown once, with the log of the first of them.
    """
    swept = tuple(swept)
    alike: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status not in ("ok", "skipped", "infeasible"):
            alike.setdefault((outcome.status, template(outcome.error_summary)), []).append(outcome)
    for (status, _), members in alike.items():
        if len(members) > 1:
            yield f"{count(len(members), 'point')} {status} alike: {merged([o.error_summary for o in members])}"
            yield from _log_lines(members[0])
        for outcome in members:
            yield f"{status}: {point_label(outcome.overrides, swept)}"
            if len(members) == 1:
                yield from (f"  {line}" for line in _error_lines(outcome))
                yield from _log_lines(outcome)
            if Path(outcome.directory).is_dir():
                yield f"  files: {_relative(outcome.directory)}"
            yield f"  to run this point by itself: {point_command(outcome.overrides, options)}"


def _log_lines(outcome: Outcome) -> Iterator[str]:
    yield from (f"  | {line}" for line in (outcome.log_tail or "").splitlines()[-LOG_LINES:])


def _error_lines(outcome: Outcome) -> list[str]:
    """The error; only its first line if the end of the log follows, which the other lines quote."""
    return [outcome.error_summary] if outcome.log_tail else (outcome.error or outcome.error_summary).splitlines()


def failure_summary(outcomes: Sequence[Outcome], studies: Iterable[StudyResult] = ()) -> str | None:
    """Why the sweep exits non-zero, in one line; None if no point and no search failed."""
    counts = Counter(outcome.status for outcome in outcomes if outcome.status not in ("ok", "infeasible"))
    parts = []
    if counts:
        statuses = ", ".join(f"{points} {status}" for status, points in counts.items())
        parts.append(f"{statuses} of {count(len(outcomes), 'point')}")
    failed_studies = sum(study.error is not None for study in studies)
    if failed_studies:
        parts.append(f"{failed_studies} failed search" if failed_studies == 1 else f"{failed_studies} failed searches")
    return "; ".join(parts) or None


def _relative(directory: str) -> str:
    path, here = Path(directory), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else directory
