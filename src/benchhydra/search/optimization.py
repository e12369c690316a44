"""One optimization: its trials so far, what a new one must beat, and the answer at the end. It measures nothing.

The interval of a trial comes from the noise of single measurements, which all trials share: the spread of repeats
within trials, pooled. So a trial that was stopped after one measurement has an interval too.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchhydra.points import Outcome
from benchhydra.search.answer import Answer
from benchhydra.search.cut import Cut, measured_values
from benchhydra.search.probe_faults import has_client_fault, is_beyond_limit
from benchhydra.search.proposals import Proposer, Space
from benchhydra.search.trials import CAPACITY, DISTURBED, Estimate, Objective, Trial

#: Metrics that are ratios to the limits of ``slo``: above 1 is missed.
LIMIT_RATIO = "slo_ratio_"
OUT_OF_MEMORY = ("out of memory", "outofmemory", "no available memory for the cache blocks")


@dataclass(kw_only=True)
class Optimization:
    """The trials of one study. ``ask`` and ``add`` in a fixed order give the same proposals and the same answer."""

    objectives: Sequence[Objective]
    space: Space
    seed: int = 0
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._proposer = Proposer(space=self.space, objectives=self.objectives, seed=self.seed)

    def ask(self) -> dict[str, Any] | None:
        """The settings of a trial to run; None if the whole space was tried."""
        return self._proposer.ask()

    def add(self, trial: Trial, settings: Mapping[str, Any] | None = None) -> None:
        """Add a trial that has ended. settings: those in the space that the default is known to have."""
        self.trials.append(trial)
        self._proposer.tell(trial if settings is None else replace(trial, settings=settings))

    @property
    def noise(self) -> list[tuple[float | None, int]]:
        """(standard deviation of the log of a measurement, degrees of freedom) of each objective."""
        return [self._noise(position) for position in range(len(self.objectives))]

    def cut(self) -> Cut | None:
        """What a new trial must be able to beat; None if nothing stops one: so it is for the first.

        A capacity beside another objective has no bound: what a trial loses in one it may win in the other.
        """
        names = tuple(objective.name for objective in self.objectives)
        rivals = tuple(rival for trial in self._feasible() if (rival := self._worst_values(trial)))
        if not rivals or (CAPACITY in names and len(names) > 1):
            return None
        noise, freedom = max(self.noise, key=lambda of_objective: of_objective[0] or 0.0)
        return Cut(
            names=names,
            signs=tuple(objective.sign for objective in self.objectives),
            rivals=rivals,
            noise=noise,
            freedom=freedom,
        )

    def best(self) -> Trial | None:
        """The best feasible trial by the first objective; None if there is none."""
        feasible = self._feasible()
        return max(feasible, key=self._rank, default=None)

    def ranked(self) -> list[Trial]:
        """All trials with their final intervals: feasible ones first, the best first."""
        trials = [self._with_intervals(trial) for trial in self.trials]
        order = {"ok": 0, "cut": 1}
        return sorted(
            trials,
            key=lambda trial: (order.get(trial.status, 2), -self._rank(trial) if trial.estimates else math.inf),
        )

    def front(self) -> list[Trial]:
        """The feasible trials that no other is better than in one objective and as good in all others."""
        feasible = self._feasible()
        return [trial for trial in feasible if not any(self._dominates(other, trial) for other in feasible)]

    def answer(self) -> Answer | None:
        """The best trial as the answer, without confirmation; None if no trial is feasible."""
        best = self.best()
        if best is None:
            return None
        first, estimate = self.objectives[0], self._with_intervals(best).estimates[0]
        is_lower_bound = estimate.low is not None and estimate.high is None  # a capacity that no load exceeded
        return Answer(
            bound="at least" if is_lower_bound else "",
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            unit=first.unit,
            name=f"best {first.name}",
            probes=sum(trial.points for trial in self.trials),
            optimum=self._optimum(best),
        )

    def _optimum(self, best: Trial) -> dict[str, Any]:
        front = {trial.number for trial in self.front()}
        return {
            "objectives": [
                {"name": objective.name, "unit": objective.unit, "better": str(objective.better)}
                for objective in self.objectives
            ],
            "trials": [
                {key: value for key, value in trial.to_json().items() if key not in ("values", "violation")}
                | {"front": len(self.objectives) > 1 and trial.number in front}
                for trial in self.ranked()
            ],
            "space": {key: list(values) for key, values in self.space.values.items()},
            "best": best.number,
            "importance": self._proposer.importance(),
            "effects": self._effects(),
        }

    def _effects(self) -> dict[str, dict[str, float]]:
        """Key -> setting -> the mean of the first objective over the trials with it."""
        effects: dict[str, dict[str, float]] = {}
        for key, values in self.space.values.items():
            for value in values:
                measured = [
                    trial.estimates[0].value
                    for trial in self.trials
                    if trial.estimates and trial.settings.get(key, _MISSING) == value
                ]
                if measured:
                    effects.setdefault(key, {})[str(value)] = statistics.fmean(measured)
        return effects

    def _feasible(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.status == "ok"]

    def _rank(self, trial: Trial) -> float:
        return self.objectives[0].sign * trial.estimates[0].value

    def _dominates(self, a: Trial, b: Trial) -> bool:
        pairs = zip(self.objectives, a.estimates, b.estimates, strict=True)
        gains = [objective.sign * (of_a.value - of_b.value) for objective, of_a, of_b in pairs]
        return min(gains) >= 0 and max(gains) > 0

    def _noise(self, position: int) -> tuple[float | None, int]:
        groups = [trial.values[position] for trial in self.trials if trial.values]
        logs = [[math.log(value) for value in values] for values in groups if len(values) > 1 and min(values) > 0]
        freedom = sum(len(values) - 1 for values in logs)
        if not freedom:
            return None, 0
        squares = sum(statistics.variance(values) * (len(values) - 1) for values in logs)
        return math.sqrt(squares / freedom), freedom

    def _with_intervals(self, trial: Trial) -> Trial:
        """The trial with the 95 % intervals that follow from the noise of all trials."""
        if not trial.values:
            return trial
        pairs = zip(self.objectives, trial.values, trial.estimates, self.noise, strict=True)
        return replace(trial, estimates=tuple(_interval(o, values, e, *noise) for o, values, e, noise in pairs))

    def _worst_values(self, trial: Trial) -> tuple[float, ...]:
        """The worse end of each interval; empty if one is unknown."""
        estimates = self._with_intervals(trial).estimates
        pairs = zip(self.objectives, estimates, strict=True)
        ends = [estimate.low if objective.sign > 0 else estimate.high for objective, estimate in pairs]
        return () if None in ends else tuple(end for end in ends if end is not None)


_MISSING = object()


def _interval(
    objective: Objective, values: Sequence[float], estimate: Estimate, noise: float | None, freedom: int
) -> Estimate:
    if objective.name == CAPACITY or noise is None or not values or min(values) <= 0:
        return estimate
    from scipy.stats import t  # start-up time: importing it takes 0.4 s

    reach = float(t.ppf(0.975, freedom)) * noise / math.sqrt(len(values))
    return Estimate(value=estimate.value, low=estimate.value * math.exp(-reach), high=estimate.value * math.exp(reach))


def trial_of(
    number: int,
    settings: Mapping[str, Any],
    objectives: Sequence[Objective],
    outcomes: Sequence[Outcome],
    answer: Answer | None,
    *,
    error: str = "",
    cut: str = "",
) -> Trial:
    """The trial that ended with these outcomes. answer, error: of its search. cut: why it was stopped early."""
    trial = Trial(number=number, settings=settings, status="ok", points=len(outcomes))
    if outcomes:
        trial = replace(trial, directory=outcomes[0].directory)
    estimates, values = _estimates(objectives, outcomes, answer)
    if estimates is None:
        if cut:  # of a search that has no answer yet
            return replace(trial, status="cut", reason=cut)
        note = answer.note if answer is not None else ""
        status = DISTURBED if _was_disturbed(outcomes) else "infeasible"
        return replace(trial, status=status, reason=_why_unmeasured(outcomes, error or note))
    trial = replace(trial, estimates=estimates, values=values)
    missed = {} if CAPACITY in (objective.name for objective in objectives) else _missed_limits(outcomes)
    if missed:
        name, ratio = max(missed.items(), key=lambda item: item[1])
        text = f"slo.{name} is missed: {ratio:.2f} times what is allowed"
        return replace(trial, status="infeasible", reason=text, violation=math.log(ratio))
    return replace(trial, status="cut", reason=cut) if cut else trial


def _estimates(
    objectives: Sequence[Objective], outcomes: Sequence[Outcome], answer: Answer | None
) -> tuple[tuple[Estimate, ...] | None, tuple[tuple[float, ...], ...]]:
    """(the value of each objective, the measurements behind each); (None, ()) if one is unknown."""
    estimates, values = list[Estimate](), list[tuple[float, ...]]()
    at_capacity = CAPACITY in (objective.name for objective in objectives)
    for objective in objectives:
        if objective.name == CAPACITY:
            if answer is None or answer.bound == "at most":
                return None, ()
            estimates.append(Estimate(value=answer.value, low=answer.low, high=answer.high))
            values.append((answer.value,))
            continue
        measured = measured_values(_at_the_capacity(outcomes, answer) if at_capacity else outcomes, objective.name)
        if not measured:
            return None, ()
        estimates.append(Estimate(value=_middle(measured)))
        values.append(tuple(measured))
    return tuple(estimates), tuple(values)


def _at_the_capacity(outcomes: Sequence[Outcome], answer: Answer | None) -> list[Outcome]:
    """The probes at the highest rate that kept the limits: what other objectives are worth at the capacity."""
    met = [probe for probe in (answer.evidence if answer is not None else ()) if probe.decision == "met"]
    if not met:
        return []
    highest = max(probe.key_value for probe in met)
    keys = {(probe.point_key, probe.repeat) for probe in met if probe.key_value == highest}
    return [outcome for outcome in outcomes if (outcome.point_key, outcome.repeat) in keys]


def _middle(values: Sequence[float]) -> float:
    """The geometric mean, where all values are above 0: the noise is that of logs."""
    return statistics.geometric_mean(values) if min(values) > 0 else statistics.fmean(values)


def _was_disturbed(outcomes: Sequence[Outcome]) -> bool:
    """Whether the load generator is why there is no measurement: nothing failed, and no load was too much."""
    has_failed = any(outcome.error and not outcome.invalid_checks for outcome in outcomes)
    return not has_failed and any(map(has_client_fault, outcomes)) and not any(map(is_beyond_limit, outcomes))


def _missed_limits(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Limit -> how many times what is allowed, of the limits that are missed in the mean of the measurements."""
    ratios: dict[str, list[float]] = {}
    for outcome in outcomes:
        for name, value in outcome.metrics.items() if outcome.believable else ():
            if name.startswith(LIMIT_RATIO):
                ratios.setdefault(name.removeprefix(LIMIT_RATIO), []).append(value)
    means = {name: statistics.fmean(values) for name, values in ratios.items()}
    return {name: mean for name, mean in means.items() if mean > 1}


def _why_unmeasured(outcomes: Sequence[Outcome], error: str) -> str:
    """Why a trial has no value: out of memory if its server's log says so, else its first error."""
    failed = [outcome for outcome in outcomes if outcome.error]
    logs = "\n".join(f"{outcome.error}\n{outcome.log_tail or ''}" for outcome in failed).lower()
    checks = sorted({check for outcome in outcomes for check in outcome.invalid_checks})
    invalid = f"INVALID ({', '.join(checks)})" if checks else "no measurement that can be believed"
    text = failed[0].error_summary if failed else error or invalid
    return f"out of memory: {text}" if any(words in logs for words in OUT_OF_MEMORY) else text
