"""The likelihood of wells with the random effect integrated out, on a fixed fine grid.

Given the random effect, a well reads ``mu (1 + plate) + dose + well``: ``mu`` is the model's viability, ``plate`` is
shared by all wells of a curve, ``dose`` by those of a curve at one dose, ``well`` has the variance
``sd_well^2 + (cv_well mu)^2`` (and that of the last digit), and all are normal.  So the wells at one dose act through
their mean and their sum of squares, the curve's covariance is a diagonal plus a matrix of rank one, and everything is
in closed form:

    log N(mean; mu, V + cv_plate^2 mu mu')     with V = diag((sd_well^2 + (cv_well mu)^2) / n + sd_dose^2)

The random effect is normal, cut off at the ends of its range; the integral is a sum over the grid (the trapezoidal
rule, which is very accurate for functions that vanish at both ends: Trefethen and Weideman 2014,
doi:10.1137/130932132).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.population.problem import MEDIAN, SPREAD
from fits.population.tables import Well, samples_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
LAST_DIGIT = 1e-4  # of viabilities in tables
GRID = 241  # points; a sample's own random effect is never known better than several of them


@dataclass(frozen=True)
class Scatter:
    """How wells scatter around the model, and how samples differ; see the head of the module."""

    sd_well: float = 0.0
    cv_well: float = 0.0
    sd_dose: float = 0.0
    cv_plate: float = 0.0
    effect_median: float = 1.0
    effect_sd: float = 1.0

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Scatter:
        """From parameters by name; others are passed over."""
        names = ("sd_well", "cv_well", "sd_dose", "cv_plate", MEDIAN, SPREAD)
        return cls(**{name: values[name] for name in names if name in values})

    def well_variance(self, mu: FloatArray) -> FloatArray:
        """Of one well, what it shares with others left out; never below that of the last digit printed."""
        return np.asarray(LAST_DIGIT**2 + self.sd_well**2 + (self.cv_well * mu) ** 2)

    def log_density(self, grid: FloatArray) -> FloatArray:
        """ln of the weight of every grid point, shape ``(n_grid,)``; the weights sum to 1."""
        raw = -0.5 * ((grid - math.log(self.effect_median)) / self.effect_sd) ** 2
        top = float(np.max(raw))
        return np.asarray(raw - top - math.log(float(np.sum(np.exp(raw - top)))))


@dataclass(frozen=True, eq=False)
class Curves:
    """Wells, summed up by curve and dose; curves with fewer doses are padded with ``counts == 0``."""

    samples: tuple[str, ...]
    keys: tuple[tuple[str, str, str], ...]  # (n_curves,): sample, drug, screen
    sample: IntArray  # (n_curves,), into ``samples``
    point: IntArray  # (n_curves, n_doses), into the points of the surface
    counts: FloatArray  # (n_curves, n_doses), wells
    means: FloatArray  # (n_curves, n_doses)
    squares: FloatArray  # (n_curves, n_doses), sum of squares around the mean

    @classmethod
    def of(cls, wells: Iterable[Well], points: Sequence[tuple[str, float]]) -> Curves:
        """From wells; each dose must be among the points.  The order of the wells does not matter."""
        ordered = sorted(wells)
        index = {point: i for i, point in enumerate(points)}
        by_curve: dict[tuple[str, str, str], dict[float, list[float]]] = {}
        for well in ordered:
            doses = by_curve.setdefault((well.sample, well.drug, well.screen), {})
            doses.setdefault(well.dose, []).append(well.viability)
        samples = samples_of(ordered)
        widest = max((len(doses) for doses in by_curve.values()), default=0)
        shape = (len(by_curve), widest)
        point, counts = np.zeros(shape, dtype=np.int64), np.zeros(shape)
        means, squares = np.zeros(shape), np.zeros(shape)
        for i, ((_, drug, _screen), doses) in enumerate(by_curve.items()):
            for j, (dose, values) in enumerate(sorted(doses.items())):
                point[i, j], counts[i, j] = index[drug, dose], len(values)
                means[i, j] = np.mean(values)
                squares[i, j] = np.sum((np.array(values) - means[i, j]) ** 2)
        keys = tuple(by_curve)
        rows = np.array([samples.index(key[0]) for key in keys], dtype=np.int64)
        return cls(samples, keys, rows, point, counts, means, squares)

    @property
    def wells(self) -> int:
        return int(np.sum(self.counts))

    def given(self, surface: FloatArray, scatter: Scatter) -> FloatArray:
        """ln likelihood of every curve given the random effect, shape ``(n_curves, n_grid)``.

        Args:
            surface: viability, shape ``(n_points, n_grid)``.
        """
        mu = surface[self.point]  # (n_curves, n_doses, n_grid)
        there = (self.counts > 0)[..., None]
        n = np.where(there, self.counts[..., None], 1.0)
        means, squares = self.means[..., None], self.squares[..., None]
        inside = scatter.well_variance(mu)
        variance = inside / n + scatter.sd_dose**2
        off = means - mu
        logs = (
            (n - 1.0) * np.log(2.0 * math.pi * inside) + squares / inside  # wells around their mean
            + np.log(2.0 * math.pi * n * variance) + off * off / variance  # the mean around the model
        )  # fmt: skip
        total = -0.5 * np.sum(np.where(there, logs, 0.0), axis=1)
        if scatter.cv_plate > 0.0:
            weight = np.where(there, 1.0 / variance, 0.0)
            gain = 1.0 + scatter.cv_plate**2 * np.sum(weight * mu * mu, axis=1)
            pull = scatter.cv_plate * np.sum(weight * mu * off, axis=1)
            total += 0.5 * (pull * pull / gain - np.log(gain))
        return np.asarray(total)

    def joint(self, surface: FloatArray, scatter: Scatter, grid: FloatArray) -> FloatArray:
        """ln of likelihood times weight, by sample and random effect, shape ``(n_samples, n_grid)``."""
        total = np.zeros((len(self.samples), len(grid)))
        np.add.at(total, self.sample, self.given(surface, scatter))
        return total + scatter.log_density(grid)

    def marginal(self, surface: FloatArray, scatter: Scatter, grid: FloatArray) -> FloatArray:
        """ln marginal likelihood of every sample, shape ``(n_samples,)``."""
        return log_sum(self.joint(surface, scatter, grid))


def log_sum(values: FloatArray) -> FloatArray:
    """ln of the sum of exponentials over the last axis."""
    top = np.max(values, axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    return np.asarray(np.log(np.sum(np.exp(values - top), axis=-1)) + top[..., 0])


def weights(joint: FloatArray) -> FloatArray:
    """Probabilities of the grid points, from ln of likelihood times weight, normalised over the last axis."""
    return np.asarray(np.exp(joint - log_sum(joint)[..., None]))
