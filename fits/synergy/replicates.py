"""How much equal wells differ: the noise that intervals and tests are measured against.

Equal wells say it best (their differences owe nothing to a model).  Where there are too few, the residuals of the
single-agent wells about their fitted curves join in; combinations never do, or synergy would pass for noise.
The standard deviation may grow with the response: ``sd^2 = sigma^2 ((1 - w) + w v^2)``, ``v`` the unaffected fraction;
``w > 0`` only where the wells ask for it (likelihood ratio, 5 %).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.synergy.margins import PARAMETERS, Margins, alone
from fits.synergy.wells import Combination

FloatArray = npt.NDArray[np.float64]

ENOUGH = 6  # degrees of freedom of equal wells that need no help
FEWEST = 3  # below these there is no estimate at all
SHAPES = (0.0, 0.5, 0.9, 0.97, 0.99, 0.997)  # w
SHAPED = 10  # degrees of freedom from which w may differ from 0
ASKS = 1.92  # gain in log likelihood, half the 95 % point of chi squared with one degree of freedom


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a well, in unaffected fractions."""

    sigma: float
    freedom: int  # degrees of freedom; 0: stated by the caller
    weight: float  # w
    equal: bool  # from equal wells alone
    text: str  # where it comes from, a sentence

    def deviations(self, level: FloatArray) -> FloatArray:
        """Standard deviations where the unaffected fraction is ``level``; of its shape."""
        return np.asarray(self.sigma * np.sqrt(_shape(level, self.weight)))


def _shape(level: FloatArray, weight: float) -> FloatArray:
    return np.asarray((1.0 - weight) + weight * np.clip(level, 0.0, None) ** 2)


def _parts(data: Combination, sets: FloatArray, margins: Margins, equal: bool) -> tuple[FloatArray, FloatArray, int]:
    """Residuals ``(n_sets, n)``, the level at each ``(n,)`` of the first set, and the degrees of freedom."""
    means = data.cell_means(sets)[(..., *data.cell)]
    apart = sets - means
    repeated = data.counts[data.cell] > 1
    if equal or not margins.hill:
        return apart[:, repeated], means[0, repeated], int(np.sum(np.maximum(data.counts - 1, 0)))
    which = alone(data)
    fitted = np.where(
        data.dose2 == 0.0, margins.first[:, data.cell[0]], margins.second[:, data.cell[1]]
    ) * margins.untreated[:, None]  # fmt: skip
    both = repeated & ~which
    residuals = np.concatenate([(sets - fitted)[:, which], apart[:, both]], axis=1)
    combined = int(np.sum(np.maximum(data.counts[1:, 1:] - 1, 0)))
    free = int(np.sum(which)) - PARAMETERS + combined
    return residuals, np.concatenate([fitted[0, which], means[0, both]]), free


def estimate_noise(data: Combination, margins: Margins) -> Noise | None:
    """From equal wells, else from them and the single-agent residuals; ``None`` where neither says anything."""
    sets = data.unaffected[None, :]
    equal = int(np.sum(np.maximum(data.counts - 1, 0))) >= ENOUGH
    residuals, level, free = _parts(data, sets, margins, equal)
    if free < FEWEST or data.exact or not np.any(residuals):
        return None
    weight = _chosen(residuals[0], level, free)
    sigma = math.sqrt(float(np.sum(residuals[0] ** 2 / _shape(level, weight))) / free)
    source = (
        "the differences between equal wells" if equal or not margins.hill
        else "the residuals of the single-agent wells about their fitted curves"
        + (" and the differences between equal wells" if np.any(data.counts[1:, 1:] > 1) else "")
    )  # fmt: skip
    growing = f", growing with the response (w = {weight:g})" if weight else ""
    text = (
        f"The noise of a well is {sigma:.3g} of the untreated response{growing}, from {source} "
        f"({free} degrees of freedom)."
    )
    return Noise(sigma, free, weight, equal or not margins.hill, text)


def stated_noise(sigma: float) -> Noise:
    """A standard deviation that the caller knows, in parts of the untreated response."""
    return Noise(sigma, 0, 0.0, True, f"The noise of a well was stated: {sigma:.3g} of the untreated response.")


def _chosen(residuals: FloatArray, level: FloatArray, free: int) -> float:
    """The ``w`` that the residuals ask for."""
    if free < SHAPED:
        return 0.0
    values = []
    for weight in SHAPES:
        shape = _shape(level, weight)
        values.append(-0.5 * len(level) * math.log(float(np.mean(residuals**2 / shape))) - 0.5 * np.sum(np.log(shape)))
    best = int(np.argmax(values))
    return SHAPES[best] if values[best] - values[0] > ASKS else 0.0


def sigmas(data: Combination, sets: FloatArray, margins: Margins, noise: Noise) -> FloatArray:
    """The estimate of ``sigma`` in each bootstrap set, in the same way as in the data; ``(n_sets,)``."""
    if not noise.freedom:
        return np.full(len(sets), noise.sigma)
    residuals, level, free = _parts(data, sets, margins, noise.equal)
    return np.asarray(np.sqrt(np.sum(residuals**2 / _shape(level, noise.weight), axis=1) / free))


def lack_of_fit(data: Combination, margins: Margins, noise: Noise | None) -> float:
    """How probable so bad a fit of the single-agent curves is from replicate noise alone; NaN where unknown."""
    if noise is None or not noise.equal or not margins.hill or not noise.freedom:
        return math.nan
    from scipy.stats import f

    means = data.cell_means(data.unaffected[None, :])[0]
    cells = np.zeros_like(data.counts, dtype=bool)
    cells[0, :], cells[:, 0] = True, True
    cells &= data.counts > 0
    one = np.broadcast_to(margins.first[0][:, None], means.shape)
    two = np.broadcast_to(margins.second[0][None, :], means.shape)
    fitted = margins.untreated[0] * np.where(np.arange(means.shape[1]) == 0, one, two)
    free = int(np.sum(cells)) - PARAMETERS
    if free < 1:
        return math.nan
    scaled = data.counts[cells] * (means - fitted)[cells] ** 2 / _shape(fitted[cells], noise.weight)
    return float(f.sf(float(np.sum(scaled)) / free / noise.sigma**2, free, noise.freedom))
