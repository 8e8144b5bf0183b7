"""Objectives whose optima are known by hand, as the search sees them; importable, so that workers can load them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fits.evaluation import Evaluation


@dataclass(frozen=True)
class Toy:
    """A function of residuals between bounds; subclasses give ``residuals_at`` and its exact ``jacobian_at``."""

    names: tuple[str, ...] = ("x", "y")
    lower: np.ndarray = field(default_factory=lambda: np.array([-5.0, -5.0]))
    upper: np.ndarray = field(default_factory=lambda: np.array([5.0, 5.0]))
    least_squares: bool = True
    hessian: bool = False  # give the Gauss-Newton matrix where residuals are withheld
    version: str = "1"

    @property
    def nominal(self):
        return np.full(len(self.names), np.nan)

    @property
    def fingerprint(self):
        return {
            "model": f"{type(self).__name__} {self.version}",
            "parameters": f"{self.names} {self.lower.tolist()} {self.upper.tolist()}",
        }

    def sample_prior(self, rng):
        return None

    def evaluate(self, x, *, derivatives=False):
        x = np.asarray(x, dtype=float)
        residuals = self.residuals_at(x)
        value = 0.5 * float(np.sum(residuals**2))
        if not derivatives:
            return Evaluation(value)
        jacobian = self.jacobian_at(x)
        if self.least_squares:
            return Evaluation(value, residuals=residuals, jacobian=jacobian)
        curvature = jacobian.T @ jacobian if self.hessian else None
        return Evaluation(value, jacobian.T @ residuals, hessian=curvature)


@dataclass(frozen=True)
class Rosenbrock(Toy):
    """Minimum 0 at (1, 1); with x <= 0.8 it is (1 - 0.8)^2 / 2 = 0.02 at (0.8, 0.64)."""

    def residuals_at(self, x):
        return np.array([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])

    def jacobian_at(self, x):
        return np.array([[-20.0 * x[0], 10.0], [-1.0, 0.0]])


@dataclass(frozen=True)
class Himmelblau(Toy):
    """Minimum 0 at four points, (3, 2) and three others."""

    def residuals_at(self, x):
        return np.array([x[0] ** 2 + x[1] - 11.0, x[0] + x[1] ** 2 - 7.0])

    def jacobian_at(self, x):
        return np.array([[2.0 * x[0], 1.0], [1.0, 2.0 * x[1]]])


@dataclass(frozen=True)
class Decay(Toy):
    """Noise-free ``a exp(-k t)`` with a = 3 and k = 0.5, both on log10 scale: minimum 0 at (0.4771, -0.3010)."""

    names: tuple[str, ...] = ("log10_a", "log10_k")
    lower: np.ndarray = field(default_factory=lambda: np.array([-2.0, -3.0]))
    upper: np.ndarray = field(default_factory=lambda: np.array([2.0, 2.0]))
    times = np.linspace(0.0, 6.0, 13)

    def curve(self, x):
        return 10.0 ** x[0] * np.exp(-(10.0 ** x[1]) * self.times)

    def residuals_at(self, x):
        return (self.curve(x) - 3.0 * np.exp(-0.5 * self.times)) / 0.1

    def jacobian_at(self, x):
        curve = self.curve(x) / 0.1 * np.log(10.0)
        return np.stack([curve, -(10.0 ** x[1]) * self.times * curve], axis=1)


@dataclass(frozen=True)
class Guarded(Rosenbrock):
    """Rosenbrock's valley, where every simulation with x < -1 or x**2 + y**2 > 9 fails."""

    def evaluate(self, x, *, derivatives=False):
        if x[0] < -1.0 or x[0] ** 2 + x[1] ** 2 > 9.0:
            return Evaluation(np.inf, failure=f"CVODE gave up at t = {x[0]:.3f}")
        return super().evaluate(x, derivatives=derivatives)


@dataclass(frozen=True)
class Hopeless(Toy):
    """No simulation succeeds."""

    def evaluate(self, x, *, derivatives=False):
        return Evaluation(np.inf, failure=f"step size too small at t = {x[0]:.3f}")


@dataclass(frozen=True)
class Treacherous(Decay):
    """A decay fit that dies, hangs or raises in the starts that begin in some part of the box.

    ``trap`` is what happens where log10_k of the first candidate of a start exceeds ``above``.
    """

    trap: str = "die"
    above: float = 1.5

    def evaluate(self, x, *, derivatives=False):
        if x[1] > self.above:
            if self.trap == "die":
                os._exit(3)
            if self.trap == "hang":
                time.sleep(600.0)
            raise ZeroDivisionError("a bug in the objective")
        return super().evaluate(x, derivatives=derivatives)


@dataclass(frozen=True)
class DiesOnce(Decay):
    """Ends its process at the first evaluation ever, and never again."""

    marker: Path = Path("died")

    def evaluate(self, x, *, derivatives=False):
        if not self.marker.exists():
            self.marker.touch()
            os._exit(1)
        return super().evaluate(x, derivatives=derivatives)


@dataclass(frozen=True)
class Slow(Decay):
    """A decay fit in which every evaluation takes ``pause`` seconds and leaves a line in ``log``."""

    pause: float = 0.0
    log: Path | None = None

    def evaluate(self, x, *, derivatives=False):
        time.sleep(self.pause)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()}\n")
        return super().evaluate(x, derivatives=derivatives)


@dataclass(frozen=True)
class Unbounded(Rosenbrock):
    """Rosenbrock's valley without bounds, with a normal prior for the starts."""

    lower: np.ndarray = field(default_factory=lambda: np.full(2, -np.inf))
    upper: np.ndarray = field(default_factory=lambda: np.full(2, np.inf))
    prior: bool = True

    def sample_prior(self, rng):
        return rng.normal([0.0, 1.0], [2.0, 0.5]) if self.prior else None


def essence(result):
    """Everything of a result that must not depend on when, where and in how many pieces it was computed."""
    return [(start.index, start.to_document()) for start in result.starts]
