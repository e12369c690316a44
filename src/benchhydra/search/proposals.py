"""Which configuration to try next: Optuna proposes, from all trials so far.

Optuna's TPE sampler models the settings of good and of bad trials, all keys together, and proposes where good ones are
likely. Keys whose values are sorted numbers are whole numbers for it (their place in the list), so that it knows which
values are near to each other; all others are categories. It proposes settings again that were measured before; those
are told the value that is known, at no cost, and it is asked again.

Every second proposal, once ten trials are known, is ours: a configuration that differs from the best so far in one key.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from benchhydra.errors import ConfigError
from benchhydra.search.trials import DISTURBED, Objective, Trial

if TYPE_CHECKING:
    import optuna

#: So many times in a row Optuna may propose what is known; then a setting is drawn at random.
MOST_REPEATED_PROPOSALS = 20
#: Optuna draws at random until so many trials are told.
STARTUP_TRIALS = 10
#: A space of at most so many configurations is listed when a new one is drawn.
LISTED_CONFIGURATIONS = 100_000
#: One of so many proposals differs from the best trial in one key only: TPE alone may stay beside a narrow optimum.
NEIGHBOUR_EVERY = 2
#: The name of the constraint that infeasible trials violate.
CONSTRAINT = "limits"
#: The violation of a trial that measured nothing: as if it missed a limit by a factor of 2.7.
UNMEASURED_VIOLATION = 1.0

Settings = Mapping[str, Any]


@dataclass(kw_only=True)
class Space:
    """The values of each key, in the order in which they were typed."""

    values: Mapping[str, Sequence[Any]]

    @property
    def size(self) -> int:
        """The number of configurations."""
        return prod(len(values) for values in self.values.values())

    def index(self, settings: Settings) -> tuple[int, ...]:
        """The place of each setting in its list. Raises ValueError for a value that is not in the space."""
        return tuple(list(values).index(settings[key]) for key, values in self.values.items())

    def settings(self, index: Sequence[int]) -> dict[str, Any]:
        """The inverse of ``index``."""
        return {key: values[i] for (key, values), i in zip(self.values.items(), index, strict=True)}

    def holds(self, settings: Settings) -> bool:
        """Whether these are settings of the space."""
        return self.values.keys() == settings.keys() and all(settings[k] in v for k, v in self.values.items())


def is_ordered(values: Sequence[Any]) -> bool:
    """Whether the values are numbers in ascending order."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers and list(values) == sorted(values)


@dataclass(kw_only=True)
class Proposer:
    """Proposes configurations, each once, and learns from their trials. Equal seeds and trials: equal proposals."""

    space: Space
    objectives: Sequence[Objective]
    seed: int = 0
    _study: optuna.Study = field(init=False)
    _open: dict[tuple[int, ...], optuna.Trial] = field(init=False, default_factory=dict)
    _told: dict[tuple[int, ...], Trial] = field(init=False, default_factory=dict)
    _worst: list[float] = field(init=False, default_factory=list)  # value of each objective so far

    def __post_init__(self) -> None:
        optuna = _optuna()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # multivariate TPE of several objectives is experimental
            sampler = optuna.samplers.TPESampler(seed=self.seed, multivariate=True, n_startup_trials=STARTUP_TRIALS)
        directions = ["maximize" if objective.sign > 0 else "minimize" for objective in self.objectives]
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._random = random.Random(self.seed)

    def ask(self) -> dict[str, Any] | None:
        """The settings to try next; None if all of the space was proposed."""
        if len(self._open) + len(self._told) >= self.space.size:
            return None
        index = self._neighbour_of_the_best() if len(self._told) % NEIGHBOUR_EVERY == 0 else None
        if index is not None:
            return self._propose(index)
        for _ in range(MOST_REPEATED_PROPOSALS):
            trial = self._study.ask(self._distributions())
            index = tuple(int(trial.params[key]) for key in self.space.values)
            if index not in self._open and index not in self._told:
                self._open[index] = trial
                return self.space.settings(index)
            self._tell_again(trial, index)
        return self._propose(self._unproposed())

    def tell(self, trial: Trial) -> None:
        """Learn from a trial: of settings that were proposed, or of others in the space (the default)."""
        if not self.space.holds(trial.settings):
            return
        index = self.space.index(trial.settings)
        if index in self._told:
            return
        if index not in self._open:
            self._propose(index)
        own = self._open.pop(index)
        self._told[index] = trial
        self._finish(own, trial)

    def importance(self) -> dict[str, float]:
        """How much each key matters for reaching the best trials, as fractions of 1; empty for too few trials.

        Optuna's PED-ANOVA (Watanabe et al., IJCAI 2023), over the trials that measured the first objective and keep the
        limits: how far the values of a key in the best tenth differ from those in all trials.
        """
        optuna = _optuna()
        measured = [trial for trial in self._told.values() if trial.estimates and not trial.violation]
        if len(measured) < STARTUP_TRIALS or len({trial.estimates[0].value for trial in measured}) < 2:
            return {}
        first = self.objectives[0]
        study = optuna.create_study(direction="maximize" if first.sign > 0 else "minimize")
        for trial in measured:
            params = dict(zip(self.space.values, self.space.index(trial.settings), strict=True))
            study.add_trial(
                optuna.trial.create_trial(
                    params=params, distributions=self._distributions(), value=trial.estimates[0].value
                )
            )
        importances = optuna.importance.get_param_importances(study)
        return {key: float(importances.get(key, 0.0)) for key in self.space.values}

    def _propose(self, index: tuple[int, ...]) -> dict[str, Any]:
        """Make Optuna propose this configuration."""
        self._study.enqueue_trial(dict(zip(self.space.values, index, strict=True)))
        self._open[index] = self._study.ask(self._distributions())
        return self.space.settings(index)

    def _neighbour_of_the_best(self) -> tuple[int, ...] | None:
        """A configuration that differs from the best in one key, and was not proposed yet; None if there is none."""
        first = self.objectives[0]
        good = {i: first.sign * t.estimates[0].value for i, t in self._told.items() if t.estimates and not t.violation}
        if len(self._told) < STARTUP_TRIALS or not good:
            return None
        best = max(good, key=lambda index: good[index])
        neighbours = [
            (*best[:place], other, *best[place + 1 :])
            for place, values in enumerate(self.space.values.values())
            for other in range(len(values))
            if other != best[place]
        ]
        new = [index for index in neighbours if index not in self._open and index not in self._told]
        return self._random.choice(new) if new else None

    def _distributions(self) -> dict[str, Any]:
        distributions = _optuna().distributions
        return {
            key: distributions.IntDistribution(0, len(values) - 1)
            if is_ordered(values)
            else distributions.CategoricalDistribution(range(len(values)))
            for key, values in self.space.values.items()
        }

    def _finish(self, own: optuna.Trial, trial: Trial) -> None:
        """Tell Optuna a trial. One without values counts as the worst so far, and as infeasible.

        One that the load generator disturbed teaches nothing.
        """
        if trial.status == DISTURBED:
            self._study.tell(own, state=_optuna().trial.TrialState.FAIL)
            return
        values = [estimate.value for estimate in trial.estimates]
        if values:
            pairs = zip(self.objectives, values, self._worst or values, strict=True)
            self._worst = [objective.sign * min(objective.sign * a, objective.sign * b) for objective, a, b in pairs]
        violation = trial.violation if values else UNMEASURED_VIOLATION
        own.set_constraint(CONSTRAINT, violation if violation > 0 else -1.0)
        self._study.tell(own, values or self._worst or [0.0] * len(self.objectives))

    def _tell_again(self, own: optuna.Trial, index: tuple[int, ...]) -> None:
        if index in self._told:
            self._finish(own, self._told[index])
        else:  # it is being measured
            self._study.tell(own, state=_optuna().trial.TrialState.FAIL)

    def _unproposed(self) -> tuple[int, ...]:
        """A configuration, drawn at random, that was not proposed yet."""
        sizes = [len(values) for values in self.space.values.values()]
        if self.space.size <= LISTED_CONFIGURATIONS:
            left = [i for i in product(*map(range, sizes)) if i not in self._open and i not in self._told]
            return self._random.choice(left)
        while True:
            index = tuple(self._random.randrange(size) for size in sizes)
            if index not in self._open and index not in self._told:
                return index


def _optuna() -> Any:
    """The package, which is an extra. Raises ConfigError if it is not installed."""
    try:
        import optuna  # an optional package, and slow to import
    except ImportError as error:
        raise ConfigError("search=optimize needs Optuna", hint="pip install 'benchhydra[optimize]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
