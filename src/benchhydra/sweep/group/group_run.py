"""The loop over a group's points: the planned ones in their order, then those that a search asks for."""

from __future__ import annotations

import gc
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchhydra import interruption
from benchhydra.points import Identity, Outcome, PlannedPoint
from benchhydra.render.point_report import result_line
from benchhydra.render.sweep_rows import SEARCH_KEYS
from benchhydra.search.cut import Cut
from benchhydra.similar_texts import template
from benchhydra.sweep.group.history import history_of, question_key
from benchhydra.sweep.group.job import GroupJob
from benchhydra.sweep.group.journal import Journal, read_journal
from benchhydra.sweep.group.limits import FailureCount
from benchhydra.sweep.group.point_runner import PointRunner
from benchhydra.sweep.group.search_points import SearchPointPlanner
from benchhydra.sweep.group.study import Study, run_studies, split_studies
from benchhydra.sweep.group.time_left import TimeLeft
from benchhydra.sweep.plan.point_names import point_label
from benchhydra.sweep.study_result import StudyResult


@dataclass(kw_only=True)
class GroupRun:
    """One group of a sweep, on one pool of servers."""

    job: GroupJob
    runner: PointRunner
    time_left: TimeLeft
    outcomes: dict[Identity, Outcome] = field(default_factory=dict)
    studies: tuple[StudyResult, ...] = ()
    shown_reasons: set[str] = field(init=False, default_factory=set)  # without their numbers
    earlier_starts: int = field(init=False)  # server starts of earlier attempts at this group that were killed

    def __post_init__(self) -> None:
        self.earlier_starts = read_journal(self.job.journal).server_starts

    def run(self) -> list[Outcome]:
        """Run every point and return the outcomes. An error is a point's outcome; only KeyboardInterrupt is raised."""
        pool, outbox = self.runner.pool, self.runner.outbox
        pool.on_start = self._on_start
        with closing(pool):
            try:
                for point in self.job.points:
                    self._run_point(point)
                if self.job.search is not None:
                    self._search(self.job.search)
            finally:
                outbox.begin()  # results are logged while the server stops
                self._write_journal()
        self._write_journal(finished=True)
        return list(self.outcomes.values())

    def _on_start(self) -> None:
        self._write_journal()
        self.runner.outbox.begin()

    def _run_point(self, point: PlannedPoint, study: Study | None = None) -> Outcome:
        """Reuse a point's earlier outcome, skip the point or measure it; add the outcome to the journal.

        study: the one that has asked for the point; None for a planned point.
        """
        interruption.reraise_swallowed()
        outcome = self.runner.earlier_outcome(point) or self._skipped(point) or self.runner.refusal(point)
        if outcome is None:
            outcome = self._measure(point, study)
        else:
            self.time_left.end(point.identity, None, None)
        outcome = replace(outcome, extra=study is not None)
        if not self.outcomes:
            _freeze_long_lived_objects()
        self.outcomes[point.identity] = outcome
        if outcome.status in ("failed", "invalid") and not self.job.is_trial:
            FailureCount(self.job.failures).add()
        self._write_journal()
        return outcome

    def _skipped(self, point: PlannedPoint) -> Outcome | None:
        """The outcome of a point that is not started because the sweep has reached a limit; None if it has not."""
        reason = self.job.limits.stop_reason(FailureCount(self.job.failures).read(), self.job.limits.now_s())
        return None if reason is None else Outcome.of_point(point, status="skipped", error=reason)

    def _measure(self, point: PlannedPoint, study: Study | None) -> Outcome:
        """Measure a point, and show its place in the sweep, the time left, and how it ended."""
        number, points = len(self.outcomes) + 1, self.job.sweep_points or len(self.job.points)
        place = f"point {self.job.points_before + number} of {points}"
        swept = self.job.swept
        if study is not None:
            swept = tuple(key for key in swept if key not in SEARCH_KEYS or not study.search.finds_limits)
            place = study.next_place() or f"extra point {number - len(self.job.points)}"
        label = point_label(point.overrides, swept)
        self.time_left.begin(point.identity)
        self.runner.progress.begin(place, label, self.time_left.words)
        outcome = self.runner.measure(point)
        self.runner.progress.say(f"{label}: {self._ending(outcome)}")
        was_measured = outcome.status in ("ok", "invalid")
        self.time_left.end(point.identity, outcome.wall_s if was_measured else None, self.runner.start_s)
        return outcome

    def _ending(self, outcome: Outcome) -> str:
        """A point's end, in a line: its error, or verdict, key metrics and the reasons that no earlier point had."""
        result = self.runner.result
        if result is None or outcome.status == "failed":
            return f"{outcome.status}: {outcome.error_summary}"
        reasons = [reason.text for reason in result.reasons if template(reason.text) not in self.shown_reasons]
        self.shown_reasons.update(map(template, reasons))
        return "; ".join([result_line(result), *reasons])

    def _write_journal(self, *, finished: bool = False) -> None:
        Journal(
            outcomes=tuple(self.outcomes.values()),
            studies=self.studies,
            server_starts=self.earlier_starts + self.runner.pool.starts,
            finished=finished,
        ).write(self.job.journal)

    def _search(self, name: str) -> None:
        """Measure the points that the search asks for, and store its answers."""
        if any(outcome.status == "skipped" for outcome in self.outcomes.values()):
            return
        compose = self.runner.compose
        search = compose(self.job.points[0].overrides)[0].search
        plan_point = SearchPointPlanner(job=self.job, compose=compose).plan
        studies = split_studies(search, name, plan_point, self.job.points, self.outcomes.values())
        for study in studies:
            study.cut = Cut.from_json(self.job.cut) if self.job.cut is not None else None
            study.is_trial = self.job.is_trial
        for study in studies if search.finds_limits and search.history else ():
            self._give_history(study)
        self.studies = run_studies(studies, self._search_outcome)

    def _give_history(self, study: Study) -> None:
        """Let a study begin with the earlier answers to its question."""
        _, resolved = self.runner.compose(study.points[0].overrides)
        study.question = question_key(study.name, resolved, study.search.varies)
        study.search.use_history(history_of(Path(self.job.sweep_dir), study.question))

    def _search_outcome(self, study: Study, point: PlannedPoint) -> Outcome:
        """The outcome of a point that a search asks for; two studies may request the same point."""
        return self.outcomes.get(point.identity) or self._run_point(point, study=study)


def _freeze_long_lived_objects() -> None:
    """Exclude what the first point has loaded from garbage collections: each takes 35 ms, and a point triggers two."""
    gc.collect()
    gc.freeze()
