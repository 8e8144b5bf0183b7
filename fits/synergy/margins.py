"""Each drug alone: Hill curves with a common untreated level, or the measured wells themselves."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from fits.synergy.batch import REFIT_ITERATIONS, best_of, fit_many
from fits.synergy.wells import Combination
from kinetics.errors import InputError

FloatArray = npt.NDArray[np.float64]

PARAMETERS = 7  # e0, e1, e2, ln c1, ln c2, ln h1, ln h2
FEWEST = 3  # doses above 0 of a drug alone that a Hill curve needs beside the common untreated level
STEEPEST, FLATTEST = 20.0, 0.1
HIGHEST = 3.0  # unaffected fraction that a drug alone may reach: drugs may stimulate
ROOM = 1e3  # how far outside of the tested doses a midpoint may lie


def rise(log_dose: FloatArray, log_c: FloatArray, log_h: FloatArray) -> FloatArray:
    """``1/(1 + (c/d)^h)``; 0 at dose 0, where the logarithm is -inf."""
    return np.asarray(expit(np.exp(log_h) * (log_dose - log_c)))


def logs(doses: FloatArray) -> FloatArray:
    """Natural logarithms, -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log(doses)


@dataclass(frozen=True, eq=False)
class Margins:
    """Both drugs alone, for one data set or for many side by side (``n_sets`` rows).

    ``parameters`` are ``e0, e1, e2, ln c1, ln c2, ln h1, ln h2`` in unaffected fractions and the units of the doses;
    empty where the measured wells stand for themselves.
    """

    untreated: FloatArray  # (n_sets,)
    first: FloatArray  # (n_sets, n_first): the unaffected fraction under the first drug alone, relative to untreated
    second: FloatArray  # (n_sets, n_second)
    parameters: FloatArray  # (n_sets, 7)
    squares: FloatArray  # (n_sets,): sum of squares of the single-agent wells about the curves

    @property
    def hill(self) -> bool:
        return bool(self.parameters.size)


def alone(data: Combination) -> npt.NDArray[np.bool_]:
    """Which wells have at most one drug."""
    return np.asarray((data.dose1 == 0.0) | (data.dose2 == 0.0))


def bounds(data: Combination) -> tuple[FloatArray, FloatArray]:
    """Of the seven parameters."""
    lower, upper = [0.05, 0.0, 0.0], [HIGHEST, HIGHEST, HIGHEST]
    for doses in (data.first, data.second):
        positive = doses[doses > 0.0]
        lower.append(float(np.log(positive[0] / ROOM)))
        upper.append(float(np.log(positive[-1] * ROOM)))
    return np.array([*lower, *[np.log(FLATTEST)] * 2]), np.array([*upper, *[np.log(STEEPEST)] * 2])


def starts(data: Combination) -> FloatArray:
    """Midpoints at several doses, gentle and steep; shape ``(n_starts, 7)``."""
    u = data.unaffected
    made = []
    ends = [float(np.mean(u[(own == own.max()) & (other == 0.0)])) if np.any((own == own.max()) & (other == 0.0))
            else 0.5 for own, other in ((data.dose1, data.dose2), (data.dose2, data.dose1))]  # fmt: skip
    middles = [np.quantile(np.log(d[d > 0.0]), (0.2, 0.5, 0.8)) for d in (data.first, data.second)]
    for one, two, slope in itertools.product(middles[0], middles[1], (0.0, 1.0)):
        made.append([1.0, max(ends[0], 0.02), max(ends[1], 0.02), one, two, slope, slope])
    return np.array(made)


def curves_of(data: Combination, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unaffected fractions, not yet relative to untreated, at all doses; ``(n_sets, n_first)`` and of the second."""
    e0, e1, e2, c1, c2, h1, h2 = (x[:, k, None] for k in range(PARAMETERS))
    return (
        e0 + (e1 - e0) * rise(logs(data.first), c1, h1),
        e0 + (e2 - e0) * rise(logs(data.second), c2, h2),
    )


def fit_margins(data: Combination, sets: FloatArray | None = None, near: Margins | None = None) -> Margins:
    """Hill curves through the single-agent wells.

    Args:
        sets: unaffected fractions of all wells, ``(n_sets, n_wells)``; by default those of ``data``.
        near: start from these, as bootstrap replicates do, in place of many starts.

    Raises:
        InputError: a drug alone has fewer than three doses above 0.
    """
    for drug, own, other in zip(
        data.drugs, (data.dose1, data.dose2), (data.dose2, data.dose1), strict=True
    ):  # fmt: skip
        count = len(np.unique(own[(own > 0.0) & (other == 0.0)]))
        if count < FEWEST:
            raise InputError(
                f"{drug} alone was given at {count} dose{'s' * (count != 1)} above 0, a Hill curve needs {FEWEST}: "
                "pass margins='measured' to take the single-agent wells as they are"
            )
    which = alone(data)
    log1, log2 = logs(data.dose1[which]), logs(data.dose2[which])

    def model(x: FloatArray, _rows: npt.NDArray[np.int64]) -> FloatArray:
        e0, e1, e2, c1, c2, h1, h2 = (x[:, k, None] for k in range(PARAMETERS))
        return np.asarray(e0 + (e1 - e0) * rise(log1, c1, h1) + (e2 - e0) * rise(log2, c2, h2))

    lower, upper = bounds(data)
    if near is None:
        values = data.unaffected if sets is None else sets[0]
        x, cost = best_of(model, starts(data), values[which], lower, upper)
        found, squares = x[None, :], np.array([cost])
    else:
        assert sets is not None
        begin = np.tile(near.parameters[0], (len(sets), 1))
        found, squares = fit_many(model, begin, sets[:, which], lower, upper, REFIT_ITERATIONS)
    one, two = curves_of(data, found)
    untreated = found[:, 0]
    return Margins(untreated, one / untreated[:, None], two / untreated[:, None], found, squares)


def measured_margins(data: Combination, sets: FloatArray | None = None) -> Margins:
    """The single-agent wells as they are.

    Raises:
        InputError: no well is without drugs.
    """
    if not data.counts[0, 0]:
        raise InputError(
            "no well is without drugs: measured single-agent wells say nothing without it; expected wells with both "
            "doses 0, or margins='hill', which extrapolates"
        )
    means = data.cell_means(data.unaffected[None, :] if sets is None else sets)
    untreated = means[:, 0, 0]
    one, two = means[:, :, 0] / untreated[:, None], means[:, 0, :] / untreated[:, None]
    return Margins(untreated, one, two, np.empty((len(means), 0)), np.zeros(len(means)))
