"""How likely the points are around a curve, with the noise level estimated from the same points.

Noise is normal with one standard deviation sigma (``constant``), or with sigma times the size of the curve
(``proportional``; the size is sqrt(f^2 + (0.01 largest)^2), so that a response near zero does not count without
limit), or with the standard deviations stated beside the points (``stated``).  With ``robust`` it follows Student's
t with 4 degrees of freedom (Lange, Little and Taylor 1989, doi:10.1080/01621459.1989.10478852), under which a point
far off counts little.

Normal sigma is solved for: the objective is its concentrated likelihood, n/2 log(RSS/n) for constant noise.  The
ends of intervals account for that with the F distribution, exactly for a linear model::

    2 (nllh(end) - nllh(best)) = n log(1 + t^2 / (n - p)),   t the quantile of Student's t with n - p degrees

where the large-sample rule has chi2(1, level), which is too narrow for few points (Bates and Watts 1988,
doi:10.1002/9780470316757, section 6.1).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, ndtr, stdtrit

from fits.curvefit.forms import FloatArray
from fits.evaluation import Evaluation
from kinetics.errors import InputError

DEGREES = 4.0  # of Student's t
FLOOR = 0.01  # of the largest response: below it proportional noise stays
EXACT = 1e-7  # of the spread of the responses: less noise than this cannot be told from none


class Noise(Enum):
    """How far points lie from the curve."""

    CONSTANT = "constant"
    PROPORTIONAL = "proportional"
    STATED = "stated"

    @classmethod
    def of(cls, name: Noise | str) -> Noise:
        """A noise model by name.

        Raises:
            InputError: there is none of that name.
        """
        try:
            return cls(name)
        except ValueError:
            raise InputError(f"noise must be 'constant', 'proportional' or 'stated', got {name!r}") from None


CurveMean = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True, eq=False)
class CurveObjective:
    """Points around a curve, as searches and profiles see them (`fits.evaluation.Objective`)."""

    curve_names: tuple[str, ...]  # parameters of the curve
    curve_lower: FloatArray  # (p,)
    curve_upper: FloatArray  # (p,)
    mean: CurveMean  # parameters (p,) to responses (n,) and derivatives (n, p)
    responses: FloatArray  # (n,)
    noise: Noise
    errors: FloatArray  # (n,); used where noise is stated
    robust: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.curve_names, "log_sigma") if self.free_sigma else self.curve_names

    @property
    def free_sigma(self) -> bool:
        """Whether sigma is one of the parameters: Student's t has no formula for it."""
        return self.robust and self.noise is not Noise.STATED

    @property
    def spread(self) -> float:
        """A size of the responses to judge numbers by."""
        return float(np.ptp(self.responses)) or float(np.max(np.abs(self.responses), initial=0.0)) or 1.0

    @property
    def lower(self) -> FloatArray:
        if not self.free_sigma:
            return self.curve_lower
        return np.append(self.curve_lower, math.log(1e-6 if self.noise is Noise.PROPORTIONAL else 1e-6 * self.spread))

    @property
    def upper(self) -> FloatArray:
        if not self.free_sigma:
            return self.curve_upper
        return np.append(self.curve_upper, math.log(1e3 if self.noise is Noise.PROPORTIONAL else 1e3 * self.spread))

    @property
    def nominal(self) -> FloatArray:
        return np.full(len(self.names), np.nan)

    @property
    def least_squares(self) -> bool:
        return False

    @property
    def fingerprint(self) -> Mapping[str, str]:
        parts = {"data": [self.responses, self.errors], "parameters": [self.curve_lower, self.curve_upper]}
        found = {key: hashlib.sha256(b"".join(a.tobytes() for a in value)).hexdigest() for key, value in parts.items()}
        return {**found, "model": f"curve {self.curve_names} {self.noise.value} {self.robust}"}

    def sample_prior(self, rng: np.random.Generator) -> FloatArray | None:
        return None

    # --- numbers of points and parameters ------------------------------------------------------------------

    @property
    def n_data(self) -> int:
        return len(self.responses)

    @property
    def n_parameters(self) -> int:
        """Estimated ones, sigma included."""
        return len(self.curve_names) + (self.noise is not Noise.STATED)

    @property
    def residual_degrees(self) -> int:
        return self.n_data - len(self.curve_names)

    def profile_level(self, level: float) -> float:
        """The level to ask `fits.profiles` for, so that the ends lie where the F distribution has them.

        Raises:
            InputError: the level is none, or no points are left over to estimate the noise from.
        """
        if not 0.0 < level < 1.0:
            raise InputError(f"level must lie between 0 and 1, got {level}")
        if self.noise is Noise.STATED:
            return level
        degrees = self.residual_degrees
        if degrees < 1:
            raise InputError(
                f"{self.n_data} points for {len(self.curve_names)} parameters leave none to estimate the noise from"
            )
        t = float(stdtrit(degrees, 0.5 * (1.0 + level)))
        z = math.sqrt(self.n_data * math.log1p(t * t / degrees))
        return min(2.0 * float(ndtr(z)) - 1.0, 1.0 - 1e-15)

    # --- the likelihood ------------------------------------------------------------------------------------

    def evaluate(self, x: npt.ArrayLike, *, derivatives: bool = False) -> Evaluation:
        """Negative log-likelihood with all constants, its gradient and the expected information."""
        vector = np.asarray(x, dtype=float)
        p = len(self.curve_names)
        f, jacobian = self.mean(vector[:p])
        if not np.all(np.isfinite(f)):
            return Evaluation(math.inf, failure="the curve is not finite")
        size, log_slope = self.size(f)
        w = (self.responses - f) / size  # (n,), residuals in units of sigma
        by_f = -1.0 / size - w * log_slope  # dw/df
        constant = float(np.sum(np.log(size)))
        if self.robust:
            return self._student(w, by_f, size, log_slope, jacobian, constant, vector[p:])
        if self.noise is Noise.STATED:
            value = constant + 0.5 * float(w @ w) + 0.5 * self.n_data * math.log(2.0 * math.pi)
            scaled = jacobian * by_f[:, None]
            return Evaluation(value, scaled.T @ w, hessian=scaled.T @ scaled)
        n = self.n_data
        least = (EXACT * (1.0 if self.noise is Noise.PROPORTIONAL else self.spread)) ** 2
        variance = float(w @ w) / n + least
        value = constant + 0.5 * n * (math.log(2.0 * math.pi * variance) + 1.0)
        gradient = jacobian.T @ (w * by_f / variance + log_slope)
        scaled = jacobian / size[:, None]
        information = scaled.T @ scaled / variance
        if self.noise is Noise.PROPORTIONAL:
            moved = jacobian * log_slope[:, None]
            moved = moved - moved.mean(axis=0)
            information = information + 2.0 * moved.T @ moved
        return Evaluation(value, gradient, hessian=information)

    def size(self, f: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The standard deviation in units of sigma, and the derivative of its logarithm by the response."""
        if self.noise is Noise.CONSTANT:
            return np.ones_like(f), np.zeros_like(f)
        if self.noise is Noise.STATED:
            return self.errors, np.zeros_like(f)
        square = f * f + (FLOOR * float(np.max(np.abs(self.responses)))) ** 2
        return np.sqrt(square), f / square

    def _student(
        self, w: FloatArray, by_f: FloatArray, size: FloatArray, log_slope: FloatArray, jacobian: FloatArray,
        constant: float, rest: FloatArray,
    ) -> Evaluation:  # fmt: skip
        n, nu = self.n_data, DEGREES
        log_sigma = float(rest[0]) if self.free_sigma else 0.0
        u = w * math.exp(-log_sigma)
        each = 0.5 * (nu + 1.0) * np.log1p(u * u / nu)
        norm = float(gammaln(0.5 * nu) - gammaln(0.5 * (nu + 1.0))) + 0.5 * math.log(nu * math.pi)
        value = float(np.sum(each)) + constant + n * (log_sigma + norm)
        pull = (nu + 1.0) * u / (nu + u * u)
        gradient = jacobian.T @ (pull * by_f * math.exp(-log_sigma) + log_slope)
        scaled = jacobian / size[:, None] * math.exp(-log_sigma)
        moved = jacobian * log_slope[:, None]
        spread = 2.0 * nu / (nu + 3.0)  # information on ln sigma, per point
        information = (nu + 1.0) / (nu + 3.0) * scaled.T @ scaled + spread * moved.T @ moved
        if not self.free_sigma:
            return Evaluation(value, gradient, hessian=information)
        cross = spread * moved.sum(axis=0)
        whole = np.block([[information, cross[:, None]], [cross[None, :], np.array([[spread * n]])]])
        return Evaluation(value, np.append(gradient, n - float(pull @ u)), hessian=whole)

    def sigma(self, x: FloatArray) -> float:
        """The standard deviation of the noise at a point; relative to the curve for proportional noise."""
        if self.noise is Noise.STATED:
            return 1.0
        if self.free_sigma:
            return float(math.exp(x[-1]))
        f, _ = self.mean(np.asarray(x)[: len(self.curve_names)])
        w = (self.responses - f) / self.size(f)[0]
        return math.sqrt(float(w @ w) / max(self.residual_degrees, 1))

    def deviations(self, f: FloatArray, sigma: float) -> FloatArray:
        """Standard deviations of measurements around responses ``f``, ``(m,)``; for points not among the data."""
        if self.noise is Noise.STATED:
            return np.full(len(f), float(np.median(self.errors)))
        return sigma * self.size(f)[0]
