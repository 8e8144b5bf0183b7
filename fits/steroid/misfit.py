"""How far parameter sets are from the glucocorticoid curves of the T-ALL samples, one pool per sample.

The samples differ in their anti-apoptotic pool (`fold_pool`) and in nothing else.  The response surface over dose
and pool is simulated on a grid; each sample takes the pool that fits its curves best, and what is left is the misfit.
"""

from __future__ import annotations

import functools
from importlib import resources

import numpy as np
import pandas as pd

from fits.steroid.arms import Arm, Cells, FloatArray, viability

POOLS = tuple(float(f"{value:.6g}") for value in np.exp(np.linspace(-1.0, 1.0, 9)))
DOSES = {
    "Dexamethasone": (0.27, 1.0, 2.4, 5.42, 10.0, 24.39, 100.0, 1000.0, 10000.0),
    "Prednisolone": (1.0, 10.0, 31.6, 100.0, 1000.0, 10000.0),
}  # nM
_FINE = np.linspace(-1.0, 1.0, 81)  # ln pool


@functools.cache
def curves() -> pd.DataFrame:
    """Means of replicate wells: ``sample, drug, screen, dose_nM, viability, wells``; drugs as the model names them."""
    with resources.as_file(resources.files("fits").joinpath("data/tall_glucocorticoids.csv")) as path:
        table = pd.read_csv(path)
    table["drug"] = table["drug"].str.capitalize()
    groups = table.groupby(["sample", "drug", "screen", "dose_nM"])["viability"]
    return groups.agg(["mean", "size"]).reset_index().rename(columns={"mean": "viability", "size": "wells"})


def surface(cells: Cells, drug: str) -> FloatArray:
    """Viability at 72 h, shape ``(sets, pools, doses)``."""
    grid = [
        np.stack([viability(cells, Arm().like(fold_pool=pool).given(**{drug: dose})) for dose in DOSES[drug]], axis=-1)
        for pool in POOLS
    ]
    return np.stack(grid, axis=1)


@functools.cache
def _weights(drug: str, dose: float) -> tuple[int, float]:
    doses = np.log(DOSES[drug])
    index = int(np.clip(np.searchsorted(doses, np.log(dose)) - 1, 0, len(doses) - 2))
    part = float(np.clip((np.log(dose) - doses[index]) / (doses[index + 1] - doses[index]), 0.0, 1.0))
    return index, part


def _refined(table: FloatArray) -> FloatArray:
    """From the grid of pools to the fine one, linear in ln pool."""
    where = np.interp(_FINE, np.log(POOLS), np.arange(len(POOLS)))
    low = np.minimum(where.astype(int), len(POOLS) - 2)
    part = (where - low)[:, np.newaxis]
    refined: FloatArray = (1.0 - part) * table[:, low] + part * table[:, low + 1]
    return refined


def misfit(cells: Cells) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Root mean square residual of the dose means, and the pools.

    Returns:
        Misfit, shape ``(sets,)``; ln pool of each sample, ``(sets, samples)``, in the order of their names; and the
        misfit of dexamethasone alone with the same pools.
    """
    surfaces = {drug: _refined(surface(cells, drug)) for drug in DOSES}  # (sets, fine, doses)
    table = curves()
    squares, alone = [], []
    for _, rows in table.groupby("sample"):
        total, dexamethasone = 0.0, 0.0
        for row in rows.itertuples():
            index, part = _weights(str(row.drug), float(row.dose_nM))  # type: ignore[arg-type]  # pandas knows no types
            values = surfaces[str(row.drug)]
            model = (1.0 - part) * values[..., index] + part * values[..., index + 1]
            square = (model - float(row.viability)) ** 2  # type: ignore[arg-type]  # pandas knows no types
            total = total + square
            dexamethasone = dexamethasone + (square if row.drug == "Dexamethasone" else 0.0)
        squares.append(total)
        alone.append(dexamethasone)
    sums, dex = np.stack(squares, axis=1), np.stack(alone, axis=1)  # (sets, samples, fine)
    best = np.argmin(sums, axis=2)
    taken = np.take_along_axis(sums, best[..., np.newaxis], axis=2)[..., 0].sum(axis=1)
    taken_dex = np.take_along_axis(dex, best[..., np.newaxis], axis=2)[..., 0].sum(axis=1)
    count = len(table), int((table["drug"] == "Dexamethasone").sum())
    return np.sqrt(taken / count[0]), _FINE[best], np.sqrt(taken_dex / count[1])
