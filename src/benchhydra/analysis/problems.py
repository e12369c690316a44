"""What was measured on both sides: problems that make a verdict on two sides wrong, whatever their figures say.

A missing point, metric or file counts as "same" in statistics, and so does a run compared with itself; failed requests
and shorter answers make a server look faster. Each is a ``Problem`` with an exit code of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchhydra.analysis.comparison import Basis, GateOutcome, MetricChange, PointChange, Problem
from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.pairing import differing_workload, usable_runs
from benchhydra.analysis.run_evidence import metric_change
from benchhydra.analysis.runs import MetricKind, Run, Runs, ScriptHighlights
from benchhydra.analysis.stats import fisher
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.result import Better, Verdict
from benchhydra.similar_texts import merge_similar

#: Rules about this machine and our client: what they find in one run of several is chance, not the server.
MACHINE_CHECKS = {
    "calibrated",
    "client_clocks",
    "client_cpu",
    "client_lag",
    "client_limits",
    "client_wait",
    "loop_stall",
    "lost_processes",
    "gpu_throttled",
    "machine_swapping",
    "other_cpu",
    "other_gpu",
    "other_gpu_memory",
    "rate",
}
LENGTHS = ("mean_input_tokens", "mean_output_tokens")
#: Times of a request that cannot be zero.
REQUEST_TIME = re.compile(r"(mean|median|p\d+)_(ttft|e2el)_ms")
#: More of anything a second than any cluster does.
LARGEST_RATE = 1e9
#: The fraction of the false-alarm budget for "the lengths differ", over all lengths of all points.
LENGTH_ALPHA_FRACTION = 0.1
#: Fewer SUSPECT runs than all are no chance below this p (Fisher's exact test).
SUSPECT_ALPHA = 0.05
#: So many items are listed in a sentence.
MOST_LISTED = 3


@dataclass(frozen=True)
class MetricRoles:
    """What the metrics of both sides are: kinds, and which ones of a script are main ones.

    patterns: of the main metrics (none: those of the thresholds file, or else the key metrics of the script's results).
    """

    kinds: Mapping[str, MetricKind]
    thresholds: Thresholds
    scripts: Mapping[str, ScriptHighlights] = field(default_factory=dict)
    patterns: Sequence[str] = ()

    @classmethod
    def of_sides(cls, base: Runs, candidate: Runs, thresholds: Thresholds) -> MetricRoles:
        """The roles of all metrics of two sources."""
        return cls(base.kinds | candidate.kinds, thresholds, base.scripts | candidate.scripts)

    def judges(self, metric: str) -> bool:
        """Whether a metric has a direction in which it is judged."""
        return metric in self.kinds and self.thresholds.judges(metric, self.kinds[metric].better)

    def is_main(self, script: str, metric: str) -> bool:
        """Whether the verdict depends on this metric."""
        patterns = self.patterns or self.thresholds.main
        is_main = self.thresholds.is_main(metric, patterns) if patterns else self._is_key(script, metric)
        return self.judges(metric) and is_main

    def is_required(self, script: str, metric: str) -> bool:
        """Whether a side without this metric, or with a zero in it, cannot be judged."""
        is_key = not self.patterns and self._is_key(script, metric)
        return self.judges(metric) and (is_key or self.thresholds.is_main(metric, self.patterns))

    def _is_key(self, script: str, metric: str) -> bool:
        return metric in self.scripts.get(script, ScriptHighlights()).key_metrics


def same_runs(base: Runs, candidate: Runs) -> Iterator[Problem]:
    """Runs that both sides hold: the same directory, a link to it, a copy in MLflow or an archive."""
    base_ids = {run.run_id for run in base.runs}
    shared = [run for run in candidate.runs if run.run_id in base_ids]
    if shared:
        text = f"{len(shared)} of {len(candidate.runs)} runs of the candidate are runs of the base too"
        yield Problem(
            outcome=GateOutcome.SAME_RUNS, text=f"{text} ({shared[0].run_id}): a run was compared with itself"
        )


def unpaired_points(
    only_base: Sequence[str], only_candidate: Sequence[str], paired: int, reason: str
) -> Iterator[Problem]:
    """Points that one side lacks; reason: why none has a partner."""
    if not paired and reason:
        yield Problem(outcome=GateOutcome.NOTHING_COMPARABLE, text=f"no point has a partner: {reason}")
    for labels, side in ((only_base, "base"), (only_candidate, "candidate")):
        if labels:
            outcome = GateOutcome.INCOMPLETE if paired else GateOutcome.NOTHING_COMPARABLE
            text = f"only the {side} has {len(labels)} of its {_count(len(labels) + paired, 'point')}: {listed(labels)}"
            yield Problem(outcome=outcome, text=text)


def unread_files(base: Runs, candidate: Runs) -> Iterator[Problem]:
    """Files of a side that were left out because they could not be read."""
    for runs, side in ((base, "base"), (candidate, "candidate")):
        if runs.faults:
            text = f"{_count(len(runs.faults), 'file')} of the {side} cannot be read: {runs.faults[0]}"
            yield Problem(outcome=GateOutcome.INCOMPLETE, text=text)


def with_workload_problem(point: PointChange) -> PointChange:
    """The point, with a problem if its sides have different workloads."""
    base, candidate = point.base[-1], point.candidate[-1]
    lines = differing_workload(base, candidate) if base.point_key != candidate.point_key else []
    if not lines:
        return point
    text = f"the workloads differ: {listed(lines)}"
    problem = Problem(outcome=GateOutcome.DIFFERENT_WORK, text=text, point=point.label)
    return replace(point, problems=(*point.problems, problem))


def point_problems(
    point: PointChange, roles: MetricRoles, noise_model: NoiseModel, points: int = 1
) -> tuple[Problem, ...]:
    """The problems of a point that was measured on both sides, one of ``points``."""
    checks = _PointChecks(point, roles, noise_model, points)
    return tuple(Problem(outcome=outcome, text=text, point=point.label) for outcome, text in checks.run())


@dataclass(frozen=True)
class _PointChecks:
    """The checks of one point: each yields outcomes with their words."""

    point: PointChange
    roles: MetricRoles
    noise_model: NoiseModel
    points: int

    @property
    def sides(self) -> dict[str, list[Run]]:
        """The usable runs of each side."""
        return {"base": usable_runs(self.point.base), "candidate": usable_runs(self.point.candidate)}

    def run(self) -> Iterator[tuple[GateOutcome, str]]:
        """All of them."""
        yield from self._invalid_runs()
        if not all(self.sides.values()):
            return
        yield from self._impossible_values()
        yield from self._failed_requests()
        yield from self._wrong_answers()
        yield from self._lengths()
        yield from self._missing_metrics()
        yield from self._suspect_side()

    def _invalid_runs(self) -> Iterator[tuple[GateOutcome, str]]:
        """No usable run on a side; or runs of the candidate that the server spoiled."""
        sides = self.sides
        if not sides["candidate"]:
            yield GateOutcome.INVALID, f"the candidate has no usable run: {_reasons(self.point.candidate)}"
        elif not sides["base"]:
            yield GateOutcome.INCOMPLETE, f"the base has no usable run: {_reasons(self.point.base)}"
        else:
            spoiled = [run for run in self.point.candidate if _spoiled_by_server(run)]
            if spoiled:
                text = f"{len(spoiled)} of {len(self.point.candidate)} runs of the candidate cannot be used"
                yield GateOutcome.INVALID, f"{text}: {_reasons(spoiled)}"

    def _impossible_values(self) -> Iterator[tuple[GateOutcome, str]]:
        for side, runs in self.sides.items():
            texts = impossible_values(runs, self.roles)
            if texts:
                yield GateOutcome.IMPOSSIBLE, f"impossible values in the {side}: {listed(texts)}"

    def _failed_requests(self) -> Iterator[tuple[GateOutcome, str]]:
        """Failed requests have no latencies, and a server that answers half of them has half the load."""
        (base_failed, base_all), (failed, every) = (_requests(runs) for runs in self.sides.values())
        more_often = fisher.p_value(failed, every, base_failed, base_all) < self.roles.thresholds.alpha
        if (failed and not base_failed) or more_often:
            text = f"{failed} of {every} requests failed in the candidate, {base_failed} of {base_all} in the base"
            yield GateOutcome.FAILURES, text

    def _wrong_answers(self) -> Iterator[tuple[GateOutcome, str]]:
        """A server that answers rightly less often does less work: its speed is no gain."""
        (base_wrong, base_all), (wrong, every) = (_wrong_answers(runs) for runs in self.sides.values())
        if not (base_all and every) or wrong / every <= base_wrong / base_all:
            return
        if fisher.p_value(wrong, every, base_wrong, base_all) < self.roles.thresholds.alpha:
            text = f"{every - wrong} of {every} answers are right in the candidate"
            yield GateOutcome.SUSPECT, f"{text}, {base_all - base_wrong} of {base_all} in the base (output check)"

    def _lengths(self) -> Iterator[tuple[GateOutcome, str]]:
        """Longer prompts and answers take longer, whatever the build."""
        roles, (base, candidate) = self.roles, self.sides.values()
        for key in LENGTHS:
            if not (_has_finite(key, base) and _has_finite(key, candidate)):
                continue
            change = metric_change(key, base, candidate, roles.kinds[key], roles.thresholds, self.noise_model)
            if self._differs(change):
                text = f"{key} differs: {change.base:.5g} in the base, {change.candidate:.5g} in the candidate"
                yield GateOutcome.DIFFERENT_WORK, text

    def _differs(self, change: MetricChange) -> bool:
        """Whether a length differs beyond noise; where the noise is unknown, by more than matters."""
        if min(change.base, change.candidate) <= 0:
            return change.base != change.candidate
        beyond = abs(math.log(change.candidate / change.base)) > math.log1p(change.smallest)
        if change.basis is Basis.NONE or change.p_worse is None or change.p_better is None:
            return beyond
        limit = LENGTH_ALPHA_FRACTION * self.roles.thresholds.alpha / (len(LENGTHS) * self.points)
        return beyond and 2 * min(change.p_worse, change.p_better) < limit

    def _missing_metrics(self) -> Iterator[tuple[GateOutcome, str]]:
        """Main metrics that all runs of one side have, and not all of the other."""
        sides = self.sides
        for side, other in (("candidate", "base"), ("base", "candidate")):
            missing = [
                f"{key} (in {_runs_with(key, sides[side])} of {len(sides[side])} runs)"
                for key in sides[other][0].metrics
                if self.roles.is_required(sides[other][0].script, key)
                and _runs_with(key, sides[other]) == len(sides[other])
                and _runs_with(key, sides[side]) < len(sides[side])
            ]
            if missing:
                yield GateOutcome.METRIC_MISSING, f"main metrics are missing in the {side}: {listed(missing)}"

    def _suspect_side(self) -> Iterator[tuple[GateOutcome, str]]:
        """What no run of one side is SUSPECT for, and all of the other, or so many that it is no chance."""
        sides = self.sides
        for side, other in (("candidate", "base"), ("base", "candidate")):
            elsewhere = {check for run in sides[other] for check in run.checks}
            for check in dict.fromkeys(check for run in sides[side] for check in run.checks):
                runs = [run for run in sides[side] if check in run.checks and run.verdict is Verdict.SUSPECT]
                p = fisher.p_value(len(runs), len(sides[side]), 0, len(sides[other]))
                systematic = len(runs) == len(sides[side]) or p < SUSPECT_ALPHA
                if check not in MACHINE_CHECKS | elsewhere and systematic:
                    text = runs[0].reasons[runs[0].checks.index(check)]
                    counts = f"{len(runs)} of {len(sides[side])} runs of the {side}, and none of the {other}"
                    yield GateOutcome.SUSPECT, f"{counts}, are SUSPECT: {text}"


def impossible_values(runs: Sequence[Run], roles: MetricRoles) -> list[str]:
    """A text for each metric with values that nothing can have, in runs of one point."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for key, value in run.metrics.items():
            if _is_impossible(run.script, key, value, roles):
                values.setdefault(key, []).append(value)
    return [f"{key} is {of_runs[0]:g} in {len(of_runs)} of {len(runs)} runs" for key, of_runs in values.items()]


def _is_impossible(script: str, key: str, value: float, roles: MetricRoles) -> bool:
    kind = roles.kinds[key]
    if not math.isfinite(value) or (kind.unit.endswith("/s") and value > LARGEST_RATE):
        return True
    if value < 0:
        return kind.better is not Better.OBSERVATION
    return value == 0 and (roles.is_required(script, key) or REQUEST_TIME.fullmatch(key) is not None)


def _spoiled_by_server(run: Run) -> bool:
    """Whether a run is unusable for a reason that is not our client's or the machine's; interruptions are ours."""
    if run.status == "interrupted" or usable_runs([run]):
        return False
    return not run.invalid_checks or any(check not in MACHINE_CHECKS for check in run.invalid_checks)


def _requests(runs: Sequence[Run]) -> tuple[int, int]:
    """(failed, all) requests of runs."""
    failed, completed = (
        sum(int(_finite(run.metrics.get(key, 0.0))) for run in runs) for key in ("failed", "completed")
    )
    return failed, failed + completed


def _wrong_answers(runs: Sequence[Run]) -> tuple[int, int]:
    """(wrong, checked) answers of runs with an output check."""
    checked = [int(_finite(run.metrics.get("output_checked", 0.0))) for run in runs]
    right = [_finite(run.metrics.get("output_correct_fraction", 0.0)) for run in runs]
    wrong = sum(count - round(count * fraction) for count, fraction in zip(checked, right, strict=True))
    return wrong, sum(checked)


def _finite(value: float) -> float:
    return value if math.isfinite(value) and value > 0 else 0.0


def _has_finite(metric: str, runs: Sequence[Run]) -> bool:
    values = [run.metrics[metric] for run in runs if metric in run.metrics]
    return bool(values) and all(map(math.isfinite, values))


def _runs_with(metric: str, runs: Sequence[Run]) -> int:
    return sum(metric in run.metrics for run in runs)


def _reasons(runs: Sequence[Run]) -> str:
    texts = {text for run in runs for text in run.reasons or (_status_text(run),) if not usable_runs([run])}
    return listed(merge_similar(sorted(texts)))


def _status_text(run: Run) -> str:
    """Why a run without reasons cannot be used."""
    if run.status != "ok":
        return f"run {run.status}"
    return "run without output" if run.metrics else "run without metrics"


def listed(texts: Sequence[str]) -> str:
    """The texts in a sentence: the first ones, and how many more there are."""
    more = len(texts) - MOST_LISTED
    return ", ".join(texts[:MOST_LISTED]) + (f", and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
