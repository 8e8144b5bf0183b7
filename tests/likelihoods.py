"""Likelihoods whose intervals are known in closed form, as the uncertainty modules see them; importable by workers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from toys import Toy

from fits.evaluation import Evaluation

Z = 1.959963984540054  # normal quantile of 0.975; Z**2 / 2 = 1.9207


@dataclass(frozen=True)
class Regression(Toy):
    """``a + b t + c t**2`` with normal noise of known sigma 0.1: intervals are exactly x +- Z sqrt(C_ii)."""

    names: tuple[str, ...] = ("a", "b", "c")
    lower: np.ndarray = field(default_factory=lambda: np.array([-50, -50, -50], dtype=float))
    upper: np.ndarray = field(default_factory=lambda: np.array([50, 50, 50], dtype=float))
    noise: np.ndarray = field(default_factory=lambda: 0.1 * np.random.default_rng(1).standard_normal(12))
    times = np.linspace(0.0, 5.0, 12)

    @property
    def design(self):
        return np.stack([self.times**0, self.times, self.times**2], axis=1)

    @property
    def data(self):
        return self.design @ [1.0, 2.0, -0.3] + self.noise

    @property
    def best(self):
        return np.linalg.lstsq(self.design, self.data, rcond=None)[0]

    @property
    def covariance(self):
        return 0.01 * np.linalg.inv(self.design.T @ self.design)

    def residuals_at(self, x):
        return (self.design @ x - self.data) / 0.1

    def jacobian_at(self, x):
        return self.design / 0.1


@dataclass(frozen=True)
class Function(Toy):
    """A function with its gradient, and no more; subclasses give ``at``."""

    least_squares: bool = False

    def evaluate(self, x, *, derivatives=False):
        value, gradient = self.at(np.asarray(x, dtype=float))
        return Evaluation(float(value), np.asarray(gradient, dtype=float) if derivatives else None)


@dataclass(frozen=True)
class NormalSample(Function):
    """Mean and ln sigma of n = 8 normal data with mean 2 and (n-denominator) deviation s = 0.5.

    nllh = n ln sigma + n (s^2 + (m - mean)^2) / (2 sigma^2), so with sigma at its best for each mean the profile of
    the mean is n/2 ln(1 + (m - mean)^2 / s^2), and its interval mean +- s sqrt(exp(Z^2 / n) - 1).
    """

    names: tuple[str, ...] = ("mean", "ln_sigma")
    n = 8

    def at(self, x):
        spread = 0.25 + (2.0 - x[0]) ** 2
        inverse = np.exp(-2.0 * x[1])
        value = self.n * x[1] + 0.5 * self.n * spread * inverse
        return value, [self.n * (x[0] - 2.0) * inverse, self.n - self.n * spread * inverse]


@dataclass(frozen=True)
class Counts(Function):
    """A Poisson rate from ``events`` in 4 hours, beside a parameter the data know (a = 1 +- 1).

    nllh = 4 rate - events ln(rate).  Without events the best rate is 0, its bound, and the interval ends at
    Z^2 / 2 / 4.
    """

    names: tuple[str, ...] = ("rate", "a")
    lower: np.ndarray = field(default_factory=lambda: np.array([0, -10], dtype=float))
    upper: np.ndarray = field(default_factory=lambda: np.array([10, 10], dtype=float))
    events: int = 0

    def at(self, x):
        with np.errstate(divide="ignore"):
            logarithm = self.events * np.log(x[0]) if self.events else 0.0
            slope = self.events / x[0] if self.events else 0.0
        return 4.0 * x[0] - logarithm + 0.5 * (x[1] - 1.0) ** 2, [4.0 - slope, x[1] - 1.0]


@dataclass(frozen=True)
class Product(Toy):
    """Only a * b = 6 is measured (log10 a, log10 b); c = 2 +- 0.1 (in log10), and nothing depends on d."""

    names: tuple[str, ...] = ("kp", "k2on", "c", "d")
    lower: np.ndarray = field(default_factory=lambda: np.array([-3, -3, -3, -3], dtype=float))
    upper: np.ndarray = field(default_factory=lambda: np.array([3, 3, 3, 3], dtype=float))
    exponent: float = 1.0

    def residuals_at(self, x):
        return np.array([(x[0] + self.exponent * x[1] - np.log10(6.0)) / 0.02, (x[2] - np.log10(2.0)) / 0.1])

    def jacobian_at(self, x):
        return np.array([[50.0, 50.0 * self.exponent, 0.0, 0.0], [0.0, 0.0, 10.0, 0.0]])


@dataclass(frozen=True)
class Shift(Toy):
    """Two Hill curves of one top and slope; noise-free residuals plus noise of a fixed seed, sigma 0.03.

    The second curve's EC50 is a parameter of its own, or the first one's times a shift: the same model twice.
    """

    names: tuple[str, ...] = ("top", "log10_ec50", "log10_other", "hill")
    lower: np.ndarray = field(default_factory=lambda: np.array([0.1, -4, -4, 0.2], dtype=float))
    upper: np.ndarray = field(default_factory=lambda: np.array([5.0, 4, 4, 4.0], dtype=float))
    as_shift: bool = False
    doses = np.geomspace(1e-2, 1e2, 9)

    def curves(self, x):
        other = x[1] + x[2] if self.as_shift else x[2]
        return [x[0] / (1.0 + (10.0**e / self.doses) ** x[3]) for e in (x[1], other)]

    @property
    def data(self):
        truth = Shift().curves([1.0, -0.2, 0.7, 1.1])
        return np.concatenate(truth) + 0.03 * np.random.default_rng(3).standard_normal(18)

    def residuals_at(self, x):
        return (np.concatenate(self.curves(x)) - self.data) / 0.03

    def jacobian_at(self, x):
        steps = 1e-6 * np.eye(4)
        return np.stack([(self.residuals_at(x + h) - self.residuals_at(x - h)) / 2e-6 for h in steps], axis=1)


@dataclass(frozen=True)
class TwoWells(Function):
    """(x^2 - 1)^2 + x / 2 + y^2 / 2: the well near x = -1 is lower by about 1 than the one near x = 1."""

    lower: np.ndarray = field(default_factory=lambda: np.array([-3, -3], dtype=float))
    upper: np.ndarray = field(default_factory=lambda: np.array([3, 3], dtype=float))

    def at(self, x):
        return (x[0] ** 2 - 1.0) ** 2 + 0.5 * x[0] + 0.5 * x[1] ** 2, [
            4.0 * x[0] * (x[0] ** 2 - 1.0) + 0.5, x[1],
        ]  # fmt: skip


@dataclass(frozen=True)
class Saturation(Function):
    """Rises from 0 at x = 0 to a plateau of ``height``: a parameter the data bound on one side, or neither.

    f = height (1 - exp(-x^2)) for x > 0 and x^2 for x < 0, plus y^2 / 2.
    """

    lower: np.ndarray = field(default_factory=lambda: np.array([-5, -5], dtype=float))
    upper: np.ndarray = field(default_factory=lambda: np.array([5, 5], dtype=float))
    height: float = 1.0
    fails_above: float = np.inf

    def evaluate(self, x, *, derivatives=False):
        if x[0] > self.fails_above:
            return Evaluation(np.inf, failure="CVODE gave up")
        return super().evaluate(x, derivatives=derivatives)

    def at(self, x):
        if x[0] <= 0.0:
            return x[0] ** 2 + 0.5 * x[1] ** 2, [2.0 * x[0], x[1]]
        fall = np.exp(-(x[0] ** 2))
        return self.height * (1.0 - fall) + 0.5 * x[1] ** 2, [2.0 * self.height * x[0] * fall, x[1]]


@dataclass(frozen=True)
class Cut(Function):
    """A standard normal of two parameters with correlation 0.8; bounds may cut it."""

    def at(self, x):
        inverse = np.linalg.inv([[1.0, 0.8], [0.8, 1.0]])
        return 0.5 * x @ inverse @ x, inverse @ x


@dataclass(frozen=True)
class Interrupted(Shift):
    """A Hill fit that counts its evaluations in ``count`` and is interrupted by Ctrl-C after ``patience`` of them."""

    count: list = field(default_factory=lambda: [0])
    patience: float = np.inf

    def evaluate(self, x, *, derivatives=False):
        self.count[0] += 1
        if self.count[0] > self.patience:
            raise KeyboardInterrupt
        return super().evaluate(x, derivatives=derivatives)
