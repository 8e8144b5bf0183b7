"""What two drugs are expected to do together when they do not interact, from what each does alone.

In unaffected fractions ``v`` (1 untreated, 0 full effect); the excess is ``expected - observed``, positive for synergy.

``Bliss``  v1(d1) v2(d2)                                              Bliss (1939): independent actions
``HSA``    min(v1(d1), v2(d2))                                        highest single agent
``Loewe``  the v at which d1/D1(v) + d2/D2(v) = 1                     Loewe (1928): a drug with itself is additive
``ZIP``    v1(d1) v2(d2), against slice-wise fitted responses         Yadav et al. (2015)

ZIP is doi:10.1016/j.csbj.2015.09.001.  Arrays are ``(n_sets, n_first, n_second)`` over all doses, 0 included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fits.synergy.batch import MOST_ITERATIONS, REFIT_ITERATIONS, fit_many
from fits.synergy.margins import FLATTEST, ROOM, STEEPEST, Margins, logs, rise
from fits.synergy.wells import Combination
from kinetics.errors import InputError

FloatArray = npt.NDArray[np.float64]

BISECTIONS = 50
ZIP_HIGHEST = 1.5  # of the plateau of a slice


def bliss(margins: Margins) -> FloatArray:
    """Independent actions: unaffected fractions multiply."""
    return np.asarray(margins.first[:, :, None] * margins.second[:, None, :])


def hsa(margins: Margins) -> FloatArray:
    """The stronger of the two drugs alone."""
    return np.minimum(margins.first[:, :, None], margins.second[:, None, :])


def loewe(data: Combination, margins: Margins) -> FloatArray:
    """Dose additivity, solved by bisection.

    A drug alone never gets below its plateau, so beyond the plateau of the weaker drug its share ``d/D(v)`` is 0 and
    the stronger one is expected alone; a drug that does not lower the response has no share at all.
    """
    if not margins.hill:
        raise InputError("Loewe's reference inverts the curve of each drug alone and needs margins='hill'")
    x = margins.parameters
    plateaus = x[:, 1:3] / x[:, :1]
    high = hsa(margins)
    low = np.broadcast_to(np.minimum(np.min(plateaus, axis=1)[:, None, None], high), high.shape).copy()
    high = high.copy()
    log1, log2 = logs(data.first)[None, :, None], logs(data.second)[None, None, :]
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        used = _share(log1, middle, plateaus[:, 0], x[:, 3], x[:, 5])
        used = used + _share(log2, middle, plateaus[:, 1], x[:, 4], x[:, 6])
        above = used > 1.0  # more than enough drug for this effect: expect a lower fraction
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    expected = 0.5 * (low + high)
    expected[:, 0, :], expected[:, :, 0] = margins.second, margins.first
    return expected


def _share(
    log_dose: FloatArray, v: FloatArray, plateau: FloatArray, log_c: FloatArray, log_h: FloatArray
) -> FloatArray:
    """``d/D(v)``: which part of the dose that alone leaves ``v``; 0 where no dose does."""
    end, c, h = plateau[:, None, None], log_c[:, None, None], np.exp(log_h)[:, None, None]
    reached = (v > end) & (v < 1.0)
    odds = np.where(reached, (1.0 - v) / np.where(reached, v - end, 1.0), 1.0)
    log_share = np.where(reached, log_dose - c - np.log(np.maximum(odds, 1e-300)) / h, -np.inf)
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(np.minimum(log_share, 50.0)))


def zip_response(data: Combination, margins: Margins, observed: FloatArray) -> FloatArray:
    """Fitted responses of Yadav's model: for each dose of one drug a Hill curve over the other, both ways averaged.

    Each slice starts where the held drug alone leaves the cells and has a midpoint, a slope and a plateau of its own.

    Args:
        observed: relative to untreated, ``(n_sets, n_first, n_second)``, NaN in holes.
    """
    if not margins.hill:
        raise InputError("ZIP fits Hill curves along each dose and needs margins='hill'")
    x = margins.parameters
    along1 = _slices(data.first, margins.second, np.swapaxes(observed, 1, 2), x[:, [1, 3, 5]])
    along2 = _slices(data.second, margins.first, observed, x[:, [2, 4, 6]])
    return np.asarray(0.5 * (np.swapaxes(along1, 1, 2) + along2))


def _slices(doses: FloatArray, begin: FloatArray, observed: FloatArray, alone: FloatArray) -> FloatArray:
    """Curves over ``doses`` for each held dose; ``observed`` is ``(n_sets, n_held, n_doses)``."""
    sets, held, count = observed.shape
    base = begin.reshape(sets * held, 1)
    log_dose = logs(doses)

    def model(x: FloatArray, rows: npt.NDArray[np.int64]) -> FloatArray:
        rows_base = base[rows]
        return np.asarray(rows_base + (x[:, :1] - rows_base) * rise(log_dose, x[:, 1:2], x[:, 2:3]))

    positive = doses[doses > 0.0]
    lower = np.array([0.0, np.log(positive[0] / ROOM), np.log(FLATTEST)])
    upper = np.array([ZIP_HIGHEST, np.log(positive[-1] * ROOM), np.log(STEEPEST)])
    data = observed.reshape(sets * held, count)
    start = np.repeat(alone, held, axis=0)
    most = MOST_ITERATIONS if sets == 1 else REFIT_ITERATIONS
    found, cost = fit_many(model, start, data, lower, upper, most)
    # A held drug may turn a curve round or move it far: a second start from the middle, the better one counts.
    again = np.column_stack([np.nanmin(data, axis=1), np.full((len(data), 1), np.mean(np.log(positive))), start[:, 2:]])
    other, cheaper = fit_many(model, again, data, lower, upper, most)
    found = np.where((cheaper < cost)[:, None], other, found)
    return model(found, np.arange(len(found))).reshape(sets, held, count)
