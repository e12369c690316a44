"""The end of an optimization: the best configuration against the default, alternating, until the gain is sure.

The best of many trials looks better than it is. So both are measured anew, as by ``benchhydra ab``: pairs of server
starts in random order, and an interval that holds after every pair. For a capacity each start searches it anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchhydra.analysis import rerun
from benchhydra.analysis.ab import AbBudget, AbTest
from benchhydra.analysis.comparison import ChangeVerdict, MetricChange
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.analysis.thresholds import read_thresholds
from benchhydra.artifacts import SWEEP_FILE, read_json_or_none
from benchhydra.errors import BenchhydraError
from benchhydra.render.figures import interval, percent
from benchhydra.result import Better
from benchhydra.search.optimize import Optimize
from benchhydra.search.trials import CAPACITY, Trial
from benchhydra.sweep.messages import point_command, server_line
from benchhydra.sweep.plan.check import Compose, SpecOf
from benchhydra.sweep.study_result import StudyResult
from benchhydra.sweep.trials.trial_points import composable, setting_overrides
from benchhydra.sweep.trials.trial_run import StudyEnd

CONFIRM_DIR = "confirm"


@dataclass(kw_only=True)
class Confirmation:
    """Tests the answer of one study. directory: for the runs of both sides; those that are there are used again.

    hydra_overrides: those of the sweep, such as launcher settings. server_of: the server that a config needs.
    """

    search: Optimize
    compose: Compose
    server_of: SpecOf
    directory: Path
    hydra_overrides: Sequence[str]
    say: Callable[[str], None]

    def confirmed(self, end: StudyEnd) -> StudyResult:
        """The study's result with the winner's command lines, and with what the test says of it.

        An error of the test does not end the sweep: it is then the text of the confirmation.
        """
        best, answer = end.optimization.best(), end.result.answer
        if best is None or answer is None:
            return end.result
        overrides = (*end.default, *setting_overrides(best.settings))
        config, _ = self.compose(composable(overrides))
        optimum = {
            **(answer.optimum or {}),
            "command": point_command(overrides),
            "server": server_line(self.server_of(config)),
            "confirmation": self._confirmation(end, best, overrides),
        }
        return replace(end.result, answer=replace(answer, optimum=optimum, note=optimum["confirmation"]["text"]))

    def _confirmation(self, end: StudyEnd, best: Trial, overrides: Sequence[str]) -> dict[str, Any]:
        if best.number == 0:
            return {"text": "nothing that was tried beats the default", "verdict": "default"}
        if not self.search.confirm_pairs:
            return {"text": "not tested against the default: search.confirm_pairs=0", "verdict": "untested"}
        default = end.optimization.trials[0]
        if default.status not in ("ok", "cut"):
            text = f"not tested against the default, which is {default.status}: {default.reason}"
            return {"text": text, "verdict": "untested"}
        self.say("the best configuration against the default, alternating:")
        test = self._test({"a": list(end.default), "b": list(overrides)})
        try:
            test.run()
        except BenchhydraError as error:
            return {"text": f"the test against the default failed: {error.message}", "verdict": "failed"}
        return _as_json(test, self.search.objective_names()[0])

    def _test(self, sides: Mapping[str, list[str]]) -> AbTest:
        return AbTest(
            visit=lambda side, number: self._visit(sides[side], self.directory / side / f"{number:03d}", number),
            budget=AbBudget(max_pairs=self.search.confirm_pairs, wall_s=self.search.confirm_s),
            thresholds=read_thresholds(),
            main_patterns=self.search.objective_names(),
            seed=self.search.seed,
            decide_all=True,
            say=self.say,
        )

    def _visit(self, overrides: list[str], directory: Path, number: int) -> Runs:
        """The runs of one server start; those of an earlier run of the sweep if it has finished them."""
        if not (read_json_or_none(directory / SWEEP_FILE) or {}).get("finished"):
            shutil.rmtree(directory, ignore_errors=True)
            own = self.search.trial_overrides() if CAPACITY in self.search.objective_names() else []
            words = [*overrides, *own, *self._hydra_words(), f"seed={self.search.seed * 1000 + number + 1}"]
            rerun.measure_again(words, directory, 1, directory.with_suffix(".log"))
        runs = read_runs(str(directory))
        return _with_capacity(runs, directory) if CAPACITY in self.search.objective_names() else runs

    def _hydra_words(self) -> list[str]:
        left_out = ("hydra.sweep.", "hydra.run.", "hydra.mode")
        return [word for word in self.hydra_overrides if not word.startswith(left_out)]


def _with_capacity(runs: Runs, directory: Path) -> Runs:
    """The runs of a search for the capacity as one run, whose metric is the answer.

    None if it has no answer, or only a bound: "at least 40" is no figure to compare.
    """
    answers = (read_json_or_none(directory / SWEEP_FILE) or {}).get("answers") or [{}]
    value = answers[0].get("value")
    usable = [run for run in runs.runs if run.usable]
    if not isinstance(value, int | float) or answers[0].get("bound") or not usable:
        return _only(runs, [])
    last = usable[-1]
    last.metrics = {**last.metrics, CAPACITY: float(value)}
    runs.kinds[CAPACITY] = MetricKind("requests/s", Better.BIGGER)
    return _only(runs, [last])


def _only(runs: Runs, chosen: Sequence[Run]) -> Runs:
    """The same source with only these runs."""
    return Runs(list(chosen), runs.kinds, runs.faults, runs.scripts)


def _as_json(test: AbTest, objective: str) -> dict[str, Any]:
    """What the test says of the first objective, in words and figures."""
    change = next((change for change in test.main() if change.metric == objective), None)
    if change is None:
        return {"text": f"the test against the default has no figure: {test.stopped}", "verdict": "failed"}
    figures = {"ratio": change.ratio, "low": change.low, "high": change.high, "level": change.level}
    measured = {name: value for name, value in figures.items() if value is not None}
    return {"text": _text(change, test), "verdict": str(change.change), "pairs": test.pairs, **measured}


def _text(change: MetricChange, test: AbTest) -> str:
    ends = interval(change.low, change.high)
    level = f", {100 * change.level:g} %" if change.level is not None and ends else ""
    figures = f"{change.metric} {percent(change.ratio)}" + (f" ({ends}{level})" if ends else "")
    pairs = f"{test.pairs} pairs"
    if change.change is ChangeVerdict.BETTER:
        return f"surely better than the default: {figures}, {pairs}"
    if change.change is ChangeVerdict.SAME:
        return f"nothing beats the default: {figures} is no difference that matters, {pairs}"
    return f"nothing surely beats the default: {figures} is {change.change.words} after {pairs} ({test.stopped})"
