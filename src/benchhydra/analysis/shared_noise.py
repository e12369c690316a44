"""What the metrics of one comparison say about one another's run-to-run noise: all that is known without a history.

Each metric of each point has a scale of its own from its runs; stats/moderation.py makes of them a prior for each from
all others. Metrics that are equal by construction say it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.noise_model import NoiseModel, positive_values
from benchhydra.analysis.runs import Run
from benchhydra.analysis.stats import Floats, robust
from benchhydra.analysis.stats.moderation import additive_design, lent_priors
from benchhydra.analysis.stats.robust import VariancePrior

#: Digits of a log scale to which two metrics of a point agree by construction only.
DIGITS = 7


class UsedRuns(NamedTuple):
    """The runs of both sides of a point that take part, and the metrics that are compared."""

    base: Sequence[Run]
    candidate: Sequence[Run]
    metrics: Sequence[str]


class _Cell(NamedTuple):
    """A metric of a point with its own scale."""

    point_key: str
    metric: str
    scale: float
    degrees: int

    @property
    def source(self) -> tuple[str, float]:
        """The same for metrics that are equal by construction."""
        return self.point_key, round(float(np.log(self.scale)), DIGITS)


def lent_noise(points: Iterable[UsedRuns], noise_model: NoiseModel) -> dict[tuple[str, str], VariancePrior]:
    """A prior for each metric that varies, by key of the candidate's point and metric; it needs two metrics."""
    cells = [cell for used in points for cell in _cells(used, noise_model)]
    first = {cell.source: cell for cell in reversed(cells)}
    sources = list(first)
    if len(sources) < 2:
        return {}
    design = additive_design([first[key].metric for key in sources], [first[key].point_key for key in sources])
    degrees = np.array([first[key].degrees for key in sources], dtype=np.float64)
    priors = lent_priors(np.array([first[key].scale for key in sources]), degrees, design)
    by_source = dict(zip(sources, zip(*map(np.atleast_1d, priors), strict=True), strict=True))
    return {(cell.point_key, cell.metric): _prior(*by_source[cell.source]) for cell in cells}


def _prior(scale: float, freedom: float) -> VariancePrior:
    return VariancePrior(float(scale), float(freedom))


def _cells(used: UsedRuns, noise_model: NoiseModel) -> Iterator[_Cell]:
    """The cells of the metrics that vary and are above 0 in all runs; those of equally many runs at once."""
    point_key = used.candidate[-1].point_key
    by_shape: dict[tuple[int, ...], dict[str, list[Floats]]] = {}
    for metric in used.metrics:
        groups = _groups(used, metric, noise_model)
        if all(map(len, groups)) and robust.freedom(groups) > 0:
            by_shape.setdefault(tuple(map(len, groups)), {})[metric] = groups
    for of_shape in by_shape.values():
        groups = [np.stack(same) for same in zip(*of_shape.values(), strict=True)]
        for metric, scale in zip(of_shape, robust.scale(groups), strict=True):
            if scale > robust.SMALLEST_SCALE:
                yield _Cell(point_key, metric, float(scale), robust.freedom(groups))


def _groups(used: UsedRuns, metric: str, noise_model: NoiseModel) -> list[Floats]:
    """Logs of a metric on both sides and in history; a side is empty if a value has none."""
    machine, point_keys = used.candidate[-1].machine, (used.base[-1].point_key, used.candidate[-1].point_key)
    sides = [_logs(side, metric) for side in (used.base, used.candidate)]
    return [*sides, *noise_model.groups(machine, point_keys, metric)]


def _logs(runs: Sequence[Run], metric: str) -> Floats:
    values = positive_values(runs, metric)
    return np.log(values) if len(values) == sum(metric in run.metrics for run in runs) else np.array([])
