"""Whether points follow the shape that was fitted to them: pure error where there are replicates, else runs.

With m dose levels, n points and p parameters::

    F = (between / (m - p)) / (within / (n - m))

where *within* is the sum of squares of replicates around their means and *between* that of these means around the
curve, each as often as it was measured (Draper and Smith 1998, doi:10.1002/9781118625590, chapter 2).  Without
replicates the signs of the residuals in order of dose are counted into runs; too few of them are improbable by the
exact distribution of Wald and Wolfowitz (1940, doi:10.1214/aoms/1177731909).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from fits.curvefit.forms import FloatArray

EXACT = 1e-12  # of the sum of squares of all responses: less is rounding


@dataclass(frozen=True)
class LackOfFit:
    """A test of the shape itself; ``p_value`` is NaN where nothing is left to test it with."""

    p_value: float
    method: str  # "replicates" or "runs"

    @property
    def sentence(self) -> str:
        how = "against the scatter of replicates" if self.method == "replicates" else "runs of residuals"
        return f"The points do not follow this shape (p = {self.p_value:.2g}, {how})."


def lack_of_fit(doses: FloatArray, responses: FloatArray, fitted: FloatArray, n_parameters: int) -> LackOfFit:
    """Test one arm's curve.

    Args:
        doses, responses, fitted: ``(n,)`` each.
        n_parameters: those that this arm alone settles.
    """
    levels, place, counts = np.unique(doses, return_inverse=True, return_counts=True)
    n, m = len(doses), len(levels)
    if n > m:
        if m <= n_parameters:
            return LackOfFit(math.nan, "replicates")
        means = np.bincount(place, responses) / counts
        within = float(np.sum((responses - means[place]) ** 2))
        between = float(np.sum((means[place] - fitted) ** 2))
        least = EXACT * float(responses @ responses)
        if between <= least:
            return LackOfFit(1.0, "replicates")
        if within <= least:  # replicates that are copies say nothing about the scatter
            return LackOfFit(math.nan, "replicates")
        statistic = between / (m - n_parameters) / (within / (n - m))
        return LackOfFit(float(fdtrc(m - n_parameters, n - m, statistic)), "replicates")
    residuals = (responses - fitted)[np.argsort(doses, kind="stable")]
    signs = np.sign(residuals[np.abs(residuals) > math.sqrt(EXACT) * float(np.max(np.abs(responses)))])
    if not len(signs):
        return LackOfFit(1.0, "runs")
    plus, minus = int(np.sum(signs > 0.0)), int(np.sum(signs < 0.0))
    return LackOfFit(few_runs(1 + int(np.sum(signs[1:] != signs[:-1])), plus, minus), "runs")


def few_runs(runs: int, plus: int, minus: int) -> float:
    """The probability of that many runs or fewer in a random order; NaN where all signs are equal."""
    if not plus or not minus:
        return math.nan
    total = 0
    for number in range(2, runs + 1):
        half = number // 2
        if number % 2 == 0:
            total += 2 * math.comb(plus - 1, half - 1) * math.comb(minus - 1, half - 1)
        else:
            total += math.comb(plus - 1, half) * math.comb(minus - 1, half - 1)
            total += math.comb(plus - 1, half - 1) * math.comb(minus - 1, half)
    return total / math.comb(plus + minus, plus)
