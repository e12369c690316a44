"""The end of a sweep: write and print its summary and failures, and raise if any point or search failed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchhydra.config import BenchConfig
from benchhydra.errors import BenchhydraError
from benchhydra.points import Identity, Outcome
from benchhydra.render.sweep_summary import write_summary
from benchhydra.sweep.messages import (
    config_options,
    failure_lines,
    failure_summary,
    resume_command,
    say,
    search_error_lines,
)
from benchhydra.sweep.repeats import summarize_repeats
from benchhydra.sweep.standard_output import print_sweep
from benchhydra.sweep.study_result import StudyResult
from benchhydra.sweep.sweep_file import SweepFile
from benchhydra.tracking.mlflow import sweep_link
from benchhydra.tracking.outbox import Outbox
from benchhydra.verbosity import Verbosity, verbosity


class SweepFailed(BenchhydraError):
    """Points of the sweep did not end ok, or its search failed; all of them have been printed."""


def log_repeats(sweep_file: SweepFile, configs: Mapping[Identity, BenchConfig], outbox: Outbox) -> None:
    """Log the mean and interval of each repeated point on the tracker's runs of its repeats."""
    outcomes = sweep_file.ordered_outcomes()
    for entry in summarize_repeats(outcomes):
        point = entry["point_key"], entry["variant"]
        of_point = (config for identity, config in configs.items() if identity[:2] == point)
        config = next(of_point, next(iter(configs.values())))  # points that a search added log as the planned ones
        repeats = [Path(o.directory) for o in outcomes if o.identity[:2] == point and o.status == "ok"]
        outbox.log_repeats(config.tracking, entry, repeats)


def log_answers(sweep_file: SweepFile, config: BenchConfig, outbox: Outbox) -> None:
    """Log the answers of a search for a limit or an optimum, each with its points. config: of any point."""
    outcomes = [outcome for outcome in sweep_file.ordered_outcomes() if outcome.status == "ok"]
    for study in sweep_file.studies:
        points = [Path(outcome.directory) for outcome in outcomes if _is_behind(outcome, study)]
        if points:
            outbox.log_answer(config.tracking, sweep_file.sweep_id, study.to_json(), points)


def _is_behind(outcome: Outcome, study: StudyResult) -> bool:
    """Whether an answer is based on an outcome: on its probes, or on the points of its trials."""
    if study.answer is None:
        return False
    if study.answer.optimum is not None:
        own = {override.lstrip("+~") for override in outcome.overrides}
        return own.issuperset(override.lstrip("+~") for override in study.overrides)
    return (outcome.point_key, outcome.repeat) in {(probe.point_key, probe.repeat) for probe in study.answer.evidence}


def conclude_sweep(sweep_file: SweepFile, swept: Iterable[str]) -> None:
    """Write the summary; print it and the failures. Raises SweepFailed if a point or a search failed."""
    swept = tuple(swept)
    outcomes, studies = sweep_file.ordered_outcomes(), sweep_file.studies
    sweep = write_summary(sweep_file.directory)
    print_sweep(sweep, [point.directory for point in sweep_file.points])
    if verbosity() is Verbosity.TABLES:
        link = sweep_link(sweep_file.sweep_id, [Path(point.directory) for point in sweep_file.points])
        sys.stdout.write(f"mlflow: {link}  (benchhydra ui serves it)\n" if link else "")
    for line in failure_lines(outcomes, swept, config_options(sys.argv[1:])):
        say(line)
    for line in search_error_lines(studies, swept):
        say(line)
    problem = failure_summary(outcomes, studies)
    if problem:
        reason = f"{sweep_file.stopped}: " if sweep_file.stopped else ""
        failed = (o for o in outcomes if o.status not in ("ok", "skipped", "infeasible") and o.error)
        first = next((f": {outcome.error_summary}" for outcome in failed), "")
        raise SweepFailed(f"{reason}{problem}{first}", hint=f"to resume: {resume_command(sweep_file.directory)}")
