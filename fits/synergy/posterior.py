"""Synergy that a model implies, with the interval that its uncertain parameters give: a matrix per posterior draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fits.synergy.analysis import NAMES, excess_of
from fits.synergy.margins import measured_margins
from fits.synergy.outcome import Score
from fits.synergy.wells import Combination, from_matrix
from kinetics.dosing import DoseMatrix
from kinetics.errors import InputError


def posterior_scores(
    matrices: Sequence[DoseMatrix | Combination], model: str = "bliss", *, level: float = 0.95
) -> Score:
    """A score with the interval that parameter uncertainty gives: one simulated matrix per draw of the posterior.

    The excess is the median over the draws; ``p_mean`` and ``p_cells`` are twice the smaller share of draws on one
    side of 0, which says how sure the model is of the sign.

    Raises:
        InputError: fewer than 20 draws, or draws over different doses.
    """
    if model not in ("bliss", "hsa"):
        raise InputError(f"draws are scored by 'bliss' or 'hsa', which need no fitted curves, got {model!r}")
    sets = [from_matrix(m) if isinstance(m, DoseMatrix) else m for m in matrices]
    if len(sets) < 20:
        raise InputError(f"an interval needs at least 20 draws, got {len(sets)}")
    head = sets[0]
    for other in sets[1:]:
        same = np.array_equal(other.first, head.first) and np.array_equal(other.second, head.second)
        if not same or other.drugs != head.drugs or other.units != head.units:
            raise InputError("the draws must be over the same doses of the same drugs")
    expected, cells = [], []
    for item in sets:
        margins = measured_margins(item)
        reference, excess = excess_of(model, item, item.unaffected[None, :], margins)
        expected.append(reference[0])
        cells.append(excess[0])
    drawn = np.array(cells)
    tail = 0.5 * (1.0 - level)
    low, middle, high = np.quantile(drawn, [tail, 0.5, 1.0 - tail], axis=0)
    means = np.nanmean(drawn, axis=(1, 2))
    ends = np.quantile(means, [tail, 0.5, 1.0 - tail])
    sure = np.minimum(np.mean(drawn > 0.0, axis=0), np.mean(drawn < 0.0, axis=0))
    p_mean = min(1.0, 2.0 * float(min(np.mean(means > 0.0), np.mean(means < 0.0))))
    return Score(
        NAMES[model], head.first, head.second, np.median(expected, axis=0), middle, low, high,
        np.minimum(1.0, 2.0 * sure), float(ends[1]), float(ends[0]), float(ends[2]), p_mean,
    )  # fmt: skip
