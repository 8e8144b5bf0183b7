"""How likely a measurement is, given the model: negative log-likelihoods with their derivatives.

With ``T`` the transformation (identity, ln or log10), ``s`` the model's value, ``m`` the measurement and sigma on
the scale of ``T``::

    normal   -log p = log(sqrt(2 pi) sigma) + ((T(s) - T(m)) / sigma)^2 / 2  - log T'(m)
    laplace  -log p = log(2 sigma)          + |T(s) - T(m)| / sigma          - log T'(m)

The last term is the Jacobian of the transformation, as PEtab counts it.  Censored data contribute the probability of
lying between their limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.problem import Measurement, Observable
from kinetics.errors import InputError

FloatArray = npt.NDArray[np.float64]

LN10 = math.log(10.0)


@dataclass(frozen=True, eq=False)
class Likelihood:
    """The noise model of some measurements, vectorised; every array has shape ``(n,)``."""

    values: FloatArray  # measured; NaN where censored
    lower: FloatArray
    upper: FloatArray
    transformation: npt.NDArray[np.int8]  # 0 identity, 1 ln, 2 log10
    laplace: npt.NDArray[np.bool_]
    jacobian: FloatArray  # log T'(m), subtracted from the log of the density's normalisation

    @classmethod
    def of(cls, rows: Sequence[Measurement], observables: Sequence[Observable]) -> Likelihood:
        """For measurements and, row by row, their observables.

        Raises:
            InputError: a measurement that is not positive under a logarithmic noise model.
        """
        codes = {"lin": 0, "log": 1, "log10": 2}
        values = np.array([row.value for row in rows], dtype=np.float64)
        transformation = np.array([codes[o.distribution.transformation] for o in observables], dtype=np.int8)
        for row, observable, code in zip(rows, observables, transformation.tolist(), strict=True):
            if code and not row.censored and row.value <= 0.0:
                raise InputError(
                    f"observable {observable.id!r} has {observable.distribution.value} noise, so its measurements must "
                    f"be positive; got {row.value:g} at time {row.time:g}"
                )
        with np.errstate(all="ignore"):
            slope = np.where(transformation == 0, 1.0, 1.0 / values)
            slope = np.where(transformation == 2, slope / LN10, slope)
            jacobian = np.where(np.isnan(values), 0.0, np.log(slope))
        return cls(
            values,
            np.array([row.lower for row in rows], dtype=np.float64),
            np.array([row.upper for row in rows], dtype=np.float64),
            transformation,
            np.array([observable.distribution.base == "laplace" for observable in observables], dtype=np.bool_),
            jacobian,
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def simple(self) -> bool:
        """Whether everything is normal on a linear scale and nothing is censored: the common, fast case."""
        plain = not self.transformation.any() and not self.laplace.any()
        return bool(plain and not np.isnan(self.values).any())

    def transformed(self, x: FloatArray) -> FloatArray:
        """``T(x)``, row by row; NaN where a logarithm has no value."""
        if not self.transformation.any():
            return x
        with np.errstate(all="ignore"):
            logs = np.log(x)
            return np.where(self.transformation == 0, x, np.where(self.transformation == 1, logs, logs / LN10))

    def _slope(self, x: FloatArray) -> FloatArray:
        """``T'(x)``, row by row."""
        if not self.transformation.any():
            return np.ones_like(x)
        with np.errstate(all="ignore"):
            return np.where(
                self.transformation == 0, 1.0, np.where(self.transformation == 1, 1.0 / x, 1.0 / (x * LN10))
            )

    def residuals(self, simulated: FloatArray, sigma: FloatArray) -> FloatArray:
        """``(T(s) - T(m)) / sigma``; for censored data 0 inside the limits, else the distance to the nearer one."""
        measured = self.transformed(self.values)
        model = self.transformed(simulated)
        censored = np.isnan(self.values)
        if censored.any():
            low, high = self.transformed(self.lower), self.transformed(self.upper)
            nearest = np.where(model < low, low, np.where(model > high, high, model))
            measured = np.where(censored, nearest, measured)
        return (model - measured) / sigma

    def nllh(self, simulated: FloatArray, sigma: FloatArray) -> FloatArray:
        """Negative log-likelihood of each row; ``inf`` where the noise model gives it no probability."""
        return self.derivatives(simulated, sigma, order=0)[0]

    def derivatives(
        self, simulated: FloatArray, sigma: FloatArray, *, order: int = 1
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(nllh, d/d simulated, d/d sigma)``, each of shape ``(n,)``; with ``order=0`` the last two are empty."""
        with np.errstate(all="ignore"):
            r = self.residuals(simulated, sigma)
            size = np.where(self.laplace, np.abs(r), 0.5 * r * r)
            norm = np.where(self.laplace, np.log(2.0 * sigma), np.log(math.sqrt(2.0 * math.pi) * sigma))
            value = norm + size - self.jacobian
            by_model = by_sigma = np.empty(0)
            if order:
                score = np.where(self.laplace, np.sign(r), r)  # d size / d r
                by_model = score * self._slope(simulated) / sigma
                by_sigma = (1.0 - score * r) / sigma
            censored = np.isnan(self.values)
            if censored.any():
                parts = self._interval(simulated, sigma, censored)
                value[censored] = parts[0]
                if order:
                    by_model[censored], by_sigma[censored] = parts[1], parts[2]
            value = np.where(np.isnan(value), np.inf, value)
        return value, by_model, by_sigma

    def _interval(
        self, simulated: FloatArray, sigma: FloatArray, rows: npt.NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``-log P(lower < measurement < upper)`` and its derivatives, for the chosen rows."""
        model = self.transformed(simulated)[rows]
        slope, s = self._slope(simulated)[rows], sigma[rows]
        low, high = self.transformed(self.lower)[rows], self.transformed(self.upper)[rows]
        low = np.where(np.isnan(low), -np.inf, low)  # a limit of 0 or less says nothing on a logarithmic scale
        laplace = self.laplace[rows]
        log_p, d_low, d_high = _log_between((low - model) / s, (high - model) / s, laplace)
        z_low, z_high = (low - model) / s, (high - model) / s
        by_model = -(-d_low - d_high) / s * slope
        finite_low, finite_high = np.where(np.isfinite(z_low), z_low, 0.0), np.where(np.isfinite(z_high), z_high, 0.0)
        by_sigma = (d_low * finite_low + d_high * finite_high) / s
        return -log_p, by_model, by_sigma

    def fisher(self, simulated: FloatArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected information about ``simulated`` and about ``sigma``, per row: weights of a Gauss-Newton Hessian."""
        with np.errstate(all="ignore"):
            slope = self._slope(simulated) / sigma
            return slope * slope, np.where(self.laplace, 1.0, 2.0) / (sigma * sigma)


def _log_between(
    low: FloatArray, high: FloatArray, laplace: npt.NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``log(F(high) - F(low))`` and its derivatives by ``low`` and ``high``, stable in both tails."""
    from scipy.special import erfcx, log_ndtr

    # By symmetry the interval is put where the smaller tail is subtracted.
    flip = low + high > 0.0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    log_f = [np.where(laplace, _log_laplace_cdf(x), log_ndtr(x)) for x in (a, b)]
    log_p = log_f[1] + np.log1p(-np.exp(np.minimum(log_f[0] - log_f[1], 0.0)))

    def slope(x: FloatArray, log_cdf: FloatArray) -> FloatArray:
        """density(x) / P as (density / cdf)(x) * cdf(x) / P: no digits are lost a million sigma out."""
        with np.errstate(over="ignore"):
            hazard = np.where(laplace, np.where(x < 0.0, 1.0, 1.0 / (2.0 * np.exp(np.abs(x)) - 1.0)), 0.0)
            normal = math.sqrt(2.0 / math.pi) / erfcx(-x / math.sqrt(2.0))
        return np.asarray(np.where(laplace, hazard, normal) * np.exp(log_cdf - log_p), dtype=np.float64)

    at = [
        np.where(np.isfinite(x), slope(np.where(np.isfinite(x), x, 0.0), f), 0.0)
        for x, f in zip((a, b), log_f, strict=True)
    ]
    d_low = np.where(flip, -at[1], -at[0])
    d_high = np.where(flip, at[0], at[1])
    return log_p, d_low, d_high


def _log_laplace_cdf(x: FloatArray) -> FloatArray:
    tail = np.log1p(-0.5 * np.exp(-np.abs(x)))
    return np.asarray(np.where(x < 0.0, x - math.log(2.0), tail), dtype=np.float64)
