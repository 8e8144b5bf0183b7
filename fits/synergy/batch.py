"""Least squares of many small curves at once, in numpy: bootstrap replicates are fitted side by side.

Levenberg's method with Marquardt's scaling, a damping of its own for every row, and bounds kept by projection: a
parameter that lies on a bound and wants to leave is held.  Rows that are done drop out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Model = Callable[[FloatArray, IntArray], FloatArray]

MOST_ITERATIONS = 120
REFIT_ITERATIONS = 60  # of bootstrap sets, which start at the fit; what is flat in a direction would crawl on
SMALL = 1e-10  # relative decrease of the sum of squares at which a row is done
STEP = 1e-6  # of the finite differences; parameters are of order one here
LARGEST_DAMPING = 1e9


def fit_many(
    model: Model, start: FloatArray, data: FloatArray, lower: FloatArray, upper: FloatArray,
    most: int = MOST_ITERATIONS,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Minimise the sum of squares of every row.

    Args:
        model: predictions ``(n_active, n_points)`` of parameters ``(n_active, n)`` for the rows with these numbers.
        start: ``(n_rows, n)``.
        data: ``(n_rows, n_points)``; NaN points do not count.
        lower, upper: bounds, ``(n,)``.
        most: iterations.

    Returns:
        Parameters ``(n_rows, n)`` and sums of squares ``(n_rows,)``.
    """
    x = np.clip(np.array(start, dtype=float), lower, upper)
    known = np.isfinite(data)
    clean = np.where(known, data, 0.0)
    rows = np.arange(len(x))

    def residuals(points: FloatArray, which: IntArray) -> FloatArray:
        return np.where(known[which], model(points, which) - clean[which], 0.0)

    r = residuals(x, rows)
    cost = np.sum(r * r, axis=1)
    damping = np.full(len(x), 1e-3)
    active = rows
    for _ in range(most):
        if not len(active):
            break
        here, now = x[active], r[active]
        jacobian = _jacobian(residuals, here, now, active, upper)
        gradient = np.einsum("bik,bi->bk", jacobian, now)
        held = ((here <= lower) & (gradient > 0.0)) | ((here >= upper) & (gradient < 0.0))
        jacobian[np.broadcast_to(held[:, None, :], jacobian.shape)] = 0.0
        normal = np.einsum("bik,bil->bkl", jacobian, jacobian)
        scale = np.einsum("bkk->bk", normal)
        scale = np.maximum(scale, 1e-12 * np.max(scale, axis=1, keepdims=True) + 1e-30)
        step = _solve(normal, damping[active, None] * scale + np.where(held, 1.0, 0.0), np.where(held, 0.0, gradient))
        tried = np.clip(here - step, lower, upper)
        after = residuals(tried, active)
        new = np.sum(after * after, axis=1)
        better = new < cost[active]
        gain = cost[active] - new
        done = better & (gain <= SMALL * cost[active] + 1e-28)
        taken = active[better]
        x[taken], r[taken], cost[taken] = tried[better], after[better], new[better]
        damping[active] *= np.where(better, 0.2, 5.0)
        damping[active] = np.maximum(damping[active], 1e-12)
        active = active[~(done | (damping[active] > LARGEST_DAMPING))]
    return x, cost


def _jacobian(
    residuals: Callable[[FloatArray, IntArray], FloatArray],
    x: FloatArray,
    r: FloatArray,
    rows: IntArray,
    upper: FloatArray,
) -> FloatArray:
    """By forward differences, backward at an upper bound; ``(n_rows, n_points, n)``."""
    count, size = x.shape
    h = np.where(x + STEP > upper, -STEP, STEP)  # (n_rows, n)
    moved = x + np.eye(size)[:, None, :] * h  # (n, n_rows, n): all of them in one call
    found = residuals(moved.reshape(size * count, size), np.tile(rows, size)).reshape(size, count, -1)
    return np.asarray(np.moveaxis((found - r) / h.T[:, :, None], 0, 2))


def _solve(normal: FloatArray, diagonal: FloatArray, gradient: FloatArray) -> FloatArray:
    matrix = normal + diagonal[:, :, None] * np.eye(normal.shape[1])
    return np.asarray(np.linalg.solve(matrix, gradient[:, :, None])[:, :, 0])


def best_of(
    model: Model, starts: FloatArray, data: FloatArray, lower: FloatArray, upper: FloatArray
) -> tuple[FloatArray, float]:
    """One data set ``(n_points,)`` from several starts ``(n_starts, n)``; the best parameters and sum of squares."""
    x, cost = fit_many(model, starts, np.tile(data, (len(starts), 1)), lower, upper)
    best = int(np.argmin(cost))
    return x[best], float(cost[best])
