"""Does a drug alone do anything?  F tests of its curve against a flat line, with the noise of a well.

A Hill curve through wells that only differ by noise has a plateau, a midpoint and a slope that mean nothing; references
made of it still give numbers.  So a result says which drug is flat, and nothing is scored where nothing happens at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.synergy.batch import best_of
from fits.synergy.margins import Margins, alone, bounds, curves_of, logs, rise, starts
from fits.synergy.replicates import Noise
from fits.synergy.wells import Combination

FloatArray = npt.NDArray[np.float64]

FLAT = 0.05  # p-value from which a curve cannot be told from a flat line
STILL = 1e-6  # of the untreated response: what exact responses may move and still be flat
SHAPE = 3  # plateau, midpoint and slope: what a Hill curve has beside the untreated level


@dataclass(frozen=True)
class Flatness:
    """p-values against a flat response; NaN where no noise is known to compare with."""

    drugs: tuple[str, str]
    alone: tuple[float, float]
    anything: float  # of all wells against one level

    @property
    def nothing(self) -> bool:
        """Neither drug alone, nor any combination, can be told from a flat response."""
        return all(p >= FLAT for p in (*self.alone, self.anything))

    @property
    def note(self) -> str:
        """What is flat, a sentence; empty where nothing is."""
        one, two = self.drugs
        values = f"{one}: p = {self.alone[0]:.2g}, {two}: p = {self.alone[1]:.2g}"
        if self.nothing:
            return (
                f"Nothing was scored: neither {one} nor {two} alone, nor any combination of them, can be told from a "
                f"flat response (F tests; {values}; all wells: p = {self.anything:.2g})."
            )
        flat = [k for k in (0, 1) if self.alone[k] >= FLAT]
        if len(flat) == 2:
            return (
                f"Neither {one} nor {two} alone can be told from a flat response (F tests; {values}), "
                "combinations can: "
                "the excess is what they do beyond untreated wells."
            )
        if flat:
            drug, other = self.drugs[flat[0]], self.drugs[1 - flat[0]]
            return (
                f"{drug} alone cannot be told from a flat response (F test, p = {self.alone[flat[0]]:.2g}): the excess "
                f"is what it does to {other}."
            )
        return ""


def flatness(data: Combination, margins: Margins, noise: Noise | None) -> Flatness:
    """Test each drug alone, and all wells together, against a flat response.

    Args:
        margins: Hill curves, or the measured wells, which are then compared with their mean.
        noise: ``None`` where unknown.  Exact matrices need none: what does not move is flat.
    """
    columns = ((data.dose1, data.dose2), (data.dose2, data.dose1))
    if data.exact:
        still = [_still(data.unaffected[other == 0.0]) for _, other in columns]
        return Flatness(data.drugs, (still[0], still[1]), _still(data.unaffected))
    if noise is None:
        return Flatness(data.drugs, (math.nan, math.nan), math.nan)
    if margins.hill:
        tested = [_curve(data, margins, noise, k) for k in (0, 1)]
    else:
        tested = [_levels(data, noise, other == 0.0) for _, other in columns]
    # Two looks, at cells that differ and at combinations that differ from the others as a whole.
    everything = np.ones(data.response.size, dtype=bool)
    looks = (_levels(data, noise, everything), _levels(data, noise, everything, alone(data).astype(np.int64)))
    return Flatness(data.drugs, (tested[0], tested[1]), min(1.0, 2.0 * min(looks)))


def _still(values: FloatArray) -> float:
    return float(np.ptp(values) <= STILL)


def _f(gained: float, parameters: int, noise: Noise) -> float:
    """p of what ``parameters`` explain, in units of the variance of a well; a stated noise is known."""
    from scipy.stats import chi2, f

    if not noise.freedom:
        return float(chi2.sf(gained, parameters))
    return float(f.sf(gained / parameters, parameters, noise.freedom))


def _curve(data: Combination, margins: Margins, noise: Noise, drug: int) -> float:
    """Both drugs on Hill curves against the same with this one flat at the common untreated level."""
    which = alone(data)
    u = data.unaffected[which]
    log_other = logs((data.dose2, data.dose1)[drug][which])
    kept = [0, 2, 4, 6] if drug == 0 else [0, 1, 3, 5]  # untreated level, and plateau, midpoint, slope of the other

    def model(x: FloatArray, _rows: npt.NDArray[np.int64]) -> FloatArray:
        e0, e, c, h = (x[:, k, None] for k in range(4))
        return np.asarray(e0 + (e - e0) * rise(log_other, c, h))

    lower, upper = bounds(data)
    begin = np.vstack([margins.parameters[:1], starts(data)])[:, kept]
    found, _ = best_of(model, begin, u, lower[kept], upper[kept])
    flat = model(found[None], np.array([0]))[0]
    one, two = curves_of(data, margins.parameters[:1])
    i, j = data.cell
    curved = np.where(j == 0, one[0][i], two[0][j])[which]
    variance = noise.deviations(flat) ** 2
    gained = float(np.sum(((u - flat) ** 2 - (u - curved) ** 2) / variance))
    return _f(max(gained, 0.0), SHAPE, noise)


def _levels(
    data: Combination, noise: Noise, which: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64] | None = None
) -> float:
    """Means of cells (or of ``groups``) against their common mean: one-way analysis of variance."""
    i, j = data.cell
    label = (i * data.counts.shape[1] + j if groups is None else groups)[which]
    u = data.unaffected[which]
    _, member, count = np.unique(label, return_inverse=True, return_counts=True)
    if len(count) < 2:
        return 1.0
    means = np.bincount(member, weights=u) / count
    middle = float(np.mean(u))
    gained = float(np.sum(count * (means - middle) ** 2)) / float(noise.deviations(np.array([middle]))[0]) ** 2
    return _f(gained, len(count) - 1, noise)
