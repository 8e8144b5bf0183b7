"""Response surfaces with a parameter for the interaction: MuSyC and BRAID.

``MuSyC``  cells are untouched, hit by one drug or by both, in a cycle of four states with mass-action steps; the
second drug changes the potency of the first by the factor ``alpha``, and together they reach ``E3``.
With ``x_i = d_i/C_i`` the steps are  U->A1: x1^h1,  U->A2: x2^h2,  A1->A12: (alpha12 x2)^h2,  A2->A12: (alpha21 x1)^h1,
all ways back 1; the response is the mean of ``E0, E1, E2, E3`` over the steady state.
Meyer et al. (2019), doi:10.1016/j.cels.2019.01.003; Wooten et al. (2021), doi:10.1038/s41467-021-24789-z.
No interaction: alpha12 = alpha21 = 1 and beta = (min(E1, E2) - E3)/(E0 - min(E1, E2)) = 0.

``BRAID``  each drug as an equivalent dose of one with the larger plateau ``Ef``, ``D~ = q x^h/(1 + (1 - q) x^h)`` with
``q = (E - E0)/(Ef - E0)``; with ``p = sqrt(h1 h2)`` and ``a_i = D~i^(1/p)`` they add as
``D = a1 + a2 + kappa sqrt(a1 a2)``, and the response is ``E0 + (Ef - E0)/(1 + D^-p)``.
Twarog et al. (2016), doi:10.1038/srep25523.  No interaction: kappa = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.synergy.batch import REFIT_ITERATIONS, best_of, fit_many
from fits.synergy.margins import HIGHEST, PARAMETERS, bounds, logs, starts
from fits.synergy.wells import Combination

FloatArray = npt.NDArray[np.float64]

LARGEST_ALPHA = 1e4
KAPPA = (-1.96, 100.0)  # the equation needs kappa > -2
FARTHEST = 200.0  # of an exponent: three such factors multiplied still are numbers


def musyc(
    dose1: npt.ArrayLike, dose2: npt.ArrayLike, e: tuple[npt.ArrayLike, ...], c: tuple[npt.ArrayLike, ...],
    h: tuple[npt.ArrayLike, ...], alpha: tuple[npt.ArrayLike, ...], gamma: tuple[npt.ArrayLike, ...] = (1.0, 1.0),
) -> FloatArray:  # fmt: skip
    """The MuSyC surface; shape that of the arguments broadcast together.

    Args:
        e: ``(E0, E1, E2, E3)``: untreated, either drug at infinite dose, both.
        c, h: midpoints and slopes of the drugs.
        alpha: ``(alpha12, alpha21)``: how many times the first drug makes the second more potent, and the reverse.
        gamma: the same for the slopes.
    """
    log_x = [logs(np.asarray(d, float)) - np.log(np.asarray(m, float)) for d, m in ((dose1, c[0]), (dose2, c[1]))]
    h1, h2 = np.asarray(h[0], float), np.asarray(h[1], float)
    up1, up2 = _power(log_x[0] * h1), _power(log_x[1] * h2)
    then2 = _power((log_x[1] + np.log(np.asarray(alpha[0], float))) * h2 * np.asarray(gamma[0]))
    then1 = _power((log_x[0] + np.log(np.asarray(alpha[1], float))) * h1 * np.asarray(gamma[1]))
    # A ring U - A1 - A12 - A2 - U: the weight of a state is the sum, over the four ways to cut the ring open, of the
    # products of the rates that lead towards it (all ways back are 1).
    none = 2.0 + then1 + then2
    only1 = up1 * (2.0 + then1) + up2 * then1
    only2 = up2 * (2.0 + then2) + up1 * then2
    both = up1 * then2 * (1.0 + then1) + up2 * then1 * (1.0 + then2)
    e0, e1, e2, e3 = (np.asarray(value, float) for value in e)
    return np.asarray((none * e0 + only1 * e1 + only2 * e2 + both * e3) / (none + only1 + only2 + both))


def _power(exponent: FloatArray) -> FloatArray:
    return np.asarray(np.exp(np.minimum(exponent, FARTHEST)))


def braid(
    dose1: npt.ArrayLike, dose2: npt.ArrayLike, e: tuple[npt.ArrayLike, ...], c: tuple[npt.ArrayLike, ...],
    h: tuple[npt.ArrayLike, ...], kappa: npt.ArrayLike,
) -> FloatArray:  # fmt: skip
    """The BRAID surface with ``e = (E0, E1, E2)``; the larger effect of the two is that of the combination."""
    e0, e1, e2 = (np.asarray(value, float) for value in e)
    h1, h2 = np.asarray(h[0], float), np.asarray(h[1], float)
    end = np.where(np.abs(e1 - e0) >= np.abs(e2 - e0), e1, e2)
    slope = np.sqrt(h1 * h2)
    parts = []
    for dose, plateau, middle, own in ((dose1, e1, c[0], h1), (dose2, e2, c[1], h2)):
        power = _power((logs(np.asarray(dose, float)) - np.log(np.asarray(middle, float))) * own)
        share = np.clip((plateau - e0) / np.where(end == e0, 1.0, end - e0), 0.0, 1.0)
        parts.append((share * power / (1.0 + (1.0 - share) * power)) ** (0.5 / slope))  # the root, for kappa's term
    one, two = parts
    joint = np.maximum(one * one + two * two + np.asarray(kappa) * one * two, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(e0 + (end - e0) / (1.0 + np.exp(-slope * np.log(joint))))


@dataclass(frozen=True)
class Surface:
    """A surface that can be fitted: its own parameters come after the seven of the drugs alone."""

    name: str
    own: tuple[str, ...]  # names of what is reported
    neutral: tuple[float, ...]  # their values without interaction
    ends: tuple[tuple[float, float], ...]  # where the search for each of them is stopped
    extra_lower: tuple[float, ...]
    extra_upper: tuple[float, ...]
    extra_start: Callable[[FloatArray], FloatArray]  # (n, 7) -> (n, n_extra)
    response: Callable[[FloatArray, FloatArray, FloatArray], FloatArray]  # parameters, dose1, dose2
    reported: Callable[[FloatArray], FloatArray]  # (n, 7 + n_extra) -> (n, n_own)
    equation: str

    @property
    def size(self) -> int:
        return PARAMETERS + len(self.extra_lower)

    def opened(self, k: int, low: float, high: float) -> tuple[float, float]:
        """An interval whose end is where the search was stopped is open there: 0 or infinity."""
        least, most = self.ends[k]
        return (0.0 if least > 0.0 and low <= 1.01 * least else low), (math.inf if high >= 0.99 * most else high)


def _common(x: FloatArray) -> tuple[tuple[FloatArray, ...], tuple[FloatArray, ...], tuple[FloatArray, ...]]:
    column = [x[:, k, None] for k in range(PARAMETERS)]
    return (
        (column[0], column[1], column[2]),
        (np.exp(column[3]), np.exp(column[4])),
        (np.exp(column[5]), np.exp(column[6])),
    )


def _musyc_response(x: FloatArray, dose1: FloatArray, dose2: FloatArray) -> FloatArray:
    e, c, h = _common(x)
    if x.shape[1] == PARAMETERS:
        return musyc(dose1, dose2, (*e, np.minimum(e[1], e[2])), c, h, (1.0, 1.0))
    alpha = (np.exp(x[:, 8, None]), np.exp(x[:, 9, None]))
    return musyc(dose1, dose2, (*e, x[:, 7, None]), c, h, alpha)


def _musyc_reported(x: FloatArray) -> FloatArray:
    strongest = np.minimum(x[:, 1], x[:, 2])
    room = x[:, 0] - strongest
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = np.where(room > 0.0, (strongest - x[:, 7]) / room, np.nan)
    return np.column_stack([np.exp(x[:, 8]), np.exp(x[:, 9]), beta])


def _musyc_start(x: FloatArray) -> FloatArray:
    return np.column_stack([x[:, 1] * x[:, 2] / x[:, 0], np.zeros(len(x)), np.zeros(len(x))])


def _braid_response(x: FloatArray, dose1: FloatArray, dose2: FloatArray) -> FloatArray:
    e, c, h = _common(x)
    return braid(dose1, dose2, e, c, h, x[:, 7, None] if x.shape[1] > PARAMETERS else 0.0)


_ALPHA = float(np.log(LARGEST_ALPHA))
MUSYC = Surface(
    "MuSyC", ("alpha12", "alpha21", "beta"), (1.0, 1.0, 0.0),
    ((1.0 / LARGEST_ALPHA, LARGEST_ALPHA), (1.0 / LARGEST_ALPHA, LARGEST_ALPHA), (-math.inf, math.inf)),
    (-HIGHEST, -_ALPHA, -_ALPHA), (HIGHEST, _ALPHA, _ALPHA), _musyc_start, _musyc_response, _musyc_reported,
    "alpha12 = alpha21 = 1 and beta = 0 without interaction",
)  # fmt: skip
BRAID = Surface(
    "BRAID", ("kappa",), (0.0,), (KAPPA,), (KAPPA[0],), (KAPPA[1],), lambda x: np.zeros((len(x), 1)),
    _braid_response, lambda x: x[:, 7:8], "kappa = 0 without interaction",
)  # fmt: skip
SURFACES = {"musyc": MUSYC, "braid": BRAID}


@dataclass(frozen=True, eq=False)
class Fitted:
    """A surface with and without interaction, for one data set or for many side by side."""

    full: FloatArray  # (n_sets, 7 + n_extra)
    null: FloatArray  # (n_sets, 7)
    full_squares: FloatArray  # (n_sets,)
    null_squares: FloatArray

    def statistic(self, surface: Surface, wells: int, sigma: float | None = None) -> FloatArray:
        """F: what the interaction explains per parameter over what is left per degree of freedom; ``(n_sets,)``.

        ``sigma``: a known noise in place of what is left.
        """
        extra, free = len(surface.extra_lower), wells - surface.size
        gained = np.maximum(self.null_squares - self.full_squares, 0.0)
        left = self.full_squares / free if sigma is None else np.full(len(gained), sigma**2)
        return np.asarray((gained / extra) / np.maximum(left, 1e-300))


def fit_surface(
    surface: Surface, data: Combination, sets: FloatArray | None = None, near: Fitted | None = None
) -> Fitted:
    """Least squares over all wells, single agents included; ``sets`` and ``near`` as in `margins.fit_margins`."""
    lower, upper = bounds(data)
    full_lower, full_upper = np.r_[lower, surface.extra_lower], np.r_[upper, surface.extra_upper]

    def model(x: FloatArray, _rows: npt.NDArray[np.int64]) -> FloatArray:
        return surface.response(x, data.dose1, data.dose2)

    if near is None:
        values = data.unaffected if sets is None else sets[0]
        null, null_squares = best_of(model, starts(data), values, lower, upper)
        begin = np.vstack([null, starts(data)])
        guesses = np.column_stack([begin, surface.extra_start(begin)])
        full, full_squares = best_of(model, guesses, values, full_lower, full_upper)
        return Fitted(full[None], null[None], np.array([full_squares]), np.array([null_squares]))
    assert sets is not None
    count = len(sets)
    null_all, null_cost = fit_many(model, np.tile(near.null[0], (count, 1)), sets, lower, upper, REFIT_ITERATIONS)
    begins = np.tile(near.full[0], (count, 1))
    full_all, full_cost = fit_many(model, begins, sets, full_lower, full_upper, REFIT_ITERATIONS)
    nested = np.column_stack([null_all, surface.extra_start(null_all)])
    other, other_cost = fit_many(model, nested, sets, full_lower, full_upper, REFIT_ITERATIONS)
    better = other_cost < full_cost
    return Fitted(
        np.where(better[:, None], other, full_all), null_all, np.where(better, other_cost, full_cost), null_cost
    )
