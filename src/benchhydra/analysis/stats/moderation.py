"""Variances that lend one another certainty: empirical Bayes over the metrics and points of one comparison.

Five runs a side know a variance from 8 degrees of freedom; the other metrics of the same runs, and the same metric at
other points, know how large variances are there. The logs of the variances are explained by an additive model (a level
for each metric, one for each point). What spread is left beyond that of an estimate says how many degrees of freedom
the model's prediction is worth. Each variance is predicted from the others alone, so that the prediction is no second
look at the same figures.
Source: Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004), section 6, for the moments and the moderated t; there all genes
have one level, here the level is fitted, and the uncertainty of the fit is part of the spread.
"""

from __future__ import annotations

import numpy as np

from benchhydra.analysis.stats import Floats
from benchhydra.analysis.stats.robust import VariancePrior

#: The prediction is raised by so many standard deviations of what the model leaves unexplained: where variances differ
#: much, the noisiest metrics would be taken for average ones, and they are those that give false alarms.
CAUTION = 0.5
#: A prediction that is worth less is none.
FEWEST_DEGREES = 1.0
#: Newton steps for the inverse of the trigamma function, as in limma's ``trigammaInverse``.
STEPS = 12


def lent_priors(scales: Floats, degrees: Floats, design: Floats) -> VariancePrior:
    """What the other scales say about each: a prior with arrays of the shape of ``scales``, (..., cells).

    degrees: degrees of freedom of each scale, (..., cells). design: the additive model, (cells, parameters), of 0 and
    1. Where the others say nothing, the freedom is 0.
    """
    from scipy.special import digamma, polygamma  # start-up time: comparisons without a history need it

    logs = 2 * np.log(scales) - digamma(degrees / 2) + np.log(degrees / 2)
    hat = design @ np.linalg.pinv(design)
    leverage = np.diag(hat)
    left = len(leverage) - round(float(leverage.sum()))
    alone = leverage > 1 - 1e-9
    if left < 1 or alone.all():
        return VariancePrior(scales, np.zeros_like(scales))
    rest = np.where(alone, 1.0, 1 - leverage)
    own = polygamma(1, degrees / 2).mean(axis=-1, keepdims=True)
    residuals = logs - logs @ hat
    unexplained = np.maximum((residuals**2).sum(axis=-1, keepdims=True) / left - own, 1e-3)
    spread = unexplained + (unexplained + own) * leverage / rest
    freedom = 2 * _inverse_trigamma(spread)
    predicted = logs - residuals / rest + digamma(freedom / 2) - np.log(freedom / 2) + CAUTION * np.sqrt(unexplained)
    return VariancePrior(np.exp(predicted / 2), np.where(alone | (freedom < FEWEST_DEGREES), 0.0, freedom))


def additive_design(*factors: list[str]) -> Floats:
    """The columns of an additive model: an indicator for each value of each factor that has several; (cells, columns).

    Each factor names a value for each cell: its metric, its point. A constant stands for factors of one value.
    """
    columns = [np.ones(len(factors[0]))]
    varying = [factor for factor in factors if len(set(factor)) > 1]
    if len(varying) > 1:
        columns = [np.array([each == name for each in factor]) for factor in varying for name in dict.fromkeys(factor)]
    return np.stack(columns, axis=1).astype(np.float64)


def _inverse_trigamma(values: Floats) -> Floats:
    """The x whose trigamma is each value (above 0)."""
    from scipy.special import polygamma  # start-up time, as above

    x = 0.5 + 1 / values
    for _ in range(STEPS):
        trigamma = polygamma(1, x)
        x = x + trigamma * (1 - trigamma / values) / polygamma(2, x)
    return np.asarray(x)
