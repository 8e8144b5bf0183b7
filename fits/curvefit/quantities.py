"""Numbers derived from a fitted curve, with their derivatives by what was estimated: what profiles need.

Each is a function of the search vector that returns its value and gradient ``(n,)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fits.curvefit.fitting import BEYOND, JointFit
from fits.curvefit.forms import FloatArray
from kinetics.errors import SimulationError

Derived = Callable[[FloatArray], tuple[float, FloatArray]]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)
MESH = 400  # doses among which the first crossing of a level is looked for


def _padded(fit: JointFit, gradient: FloatArray) -> FloatArray:
    """With zeros for parameters that are not the curve's, such as log sigma."""
    return np.append(gradient, np.zeros(len(fit.objective.names) - len(gradient)))


def from_theta(fit: JointFit, arm: str, value: Callable[[FloatArray], tuple[float, FloatArray]]) -> Derived:
    """A quantity of the parameters of one arm's curve, ``(p,)``, as one of the search vector."""
    number, n = fit.layout.arms.index(arm), len(fit.layout.names)

    def derived(x: FloatArray) -> tuple[float, FloatArray]:
        found, slope = value(fit.layout.theta(x[:n], number))
        return found, _padded(fit, slope @ fit.layout.matrix[number])

    return derived


def difference(one: Derived, other: Derived) -> Derived:
    """``one - other``."""

    def derived(x: FloatArray) -> tuple[float, FloatArray]:
        (a, by_a), (b, by_b) = one(x), other(x)
        return a - b, by_a - by_b

    return derived


def ratio(one: Derived, other: Derived) -> Derived:
    """``one / other``; where the other is zero there is none."""

    def derived(x: FloatArray) -> tuple[float, FloatArray]:
        (a, by_a), (b, by_b) = one(x), other(x)
        if b == 0.0:
            raise SimulationError("a ratio to zero")
        return a / b, by_a / b - a * by_b / b**2

    return derived


def span(fit: JointFit, arm: str) -> Derived:
    """Emax: the response at infinite dose minus that at dose 0."""
    form = fit.layout.form
    unit = np.zeros(len(form.parameters))
    unit[form.index("top")], unit[form.index("bottom")] = 1.0, -1.0
    return from_theta(fit, arm, lambda theta: (float(unit @ theta), unit))


def hill_slope(fit: JointFit, arm: str) -> Derived:
    """The Hill slope itself, not its logarithm."""
    place = fit.layout.form.index("log_hill")

    def value(theta: FloatArray) -> tuple[float, FloatArray]:
        found, slope = math.exp(theta[place]), np.zeros(len(theta))
        slope[place] = found
        return found, slope

    return from_theta(fit, arm, value)


def response_at(fit: JointFit, arm: str, dose: float, fraction: float = 0.0) -> Derived:
    """The response at a dose, less a fraction of that at dose 0."""
    mean = fit.layout.form.mean
    where = np.array([dose, 0.0])

    def value(theta: FloatArray) -> tuple[float, FloatArray]:
        f, jacobian = mean(where, theta)
        return float(f[0] - fraction * f[1]), jacobian[0] - fraction * jacobian[1]

    return from_theta(fit, arm, value)


def area(fit: JointFit, arm: str, lowest: float, highest: float) -> Derived:
    """The mean response over log dose between two doses: the area under the curve, divided by its width."""
    low, high = math.log10(lowest), math.log10(highest)
    doses = 10.0 ** (low + 0.5 * (high - low) * (NODES + 1.0))
    mean, weights = fit.layout.form.mean, 0.5 * WEIGHTS

    def value(theta: FloatArray) -> tuple[float, FloatArray]:
        f, jacobian = mean(doses, theta)
        return float(weights @ f), weights @ jacobian

    return from_theta(fit, arm, value)


def log_dose_for(fit: JointFit, arm: str, *, fraction: float | None = None, level: float | None = None) -> Derived:
    """log10 of the lowest dose at which the curve reaches a fraction of its response at dose 0, or a level.

    The derivative follows from the implicit function theorem: every shape depends on dose through log d - log EC50.
    Where the level is not reached within three decades around the doses, `SimulationError` says so.
    """
    form = fit.layout.form
    place = form.index("log_ec50")
    low, high = math.log10(fit.points.lowest) - BEYOND, math.log10(fit.points.highest) + BEYOND
    mesh = np.linspace(low, high, MESH)

    def excess(logs: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        f, jacobian = form.mean(np.append(10.0**logs, 0.0), theta)
        if fraction is None:
            assert level is not None
            return f[:-1] - level, jacobian[:-1]
        return f[:-1] - fraction * f[-1], jacobian[:-1] - fraction * jacobian[-1]

    def value(theta: FloatArray) -> tuple[float, FloatArray]:
        from scipy.optimize import brentq

        above, _ = excess(mesh, theta)
        crossings = np.flatnonzero(np.signbit(above[1:]) != np.signbit(above[:-1]))
        if not len(crossings):
            raise SimulationError("the curve does not reach this level")
        first = int(crossings[0])
        found = float(brentq(lambda m: float(excess(np.array([m]), theta)[0][0]), mesh[first], mesh[first + 1]))
        _, slope = excess(np.array([found]), theta)
        # The part of the slope by log EC50 that comes through dose; at dose 0 it is none.
        return found, slope[0] / form.mean(np.array([10.0**found]), theta)[1][0, place]

    return from_theta(fit, arm, value)
