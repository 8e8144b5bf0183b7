"""Where a curve reaches a level: the dose, and how it moves with every response, so that it can be differentiated.

Between the doses the curve is the monotone cubic of Fritsch and Butland (1984, doi:10.1137/0905021) in log dose, as
in `kinetics.curves.dose_for`.  The derivative follows from the implicit function theorem: where ``p(x; y) = level``,
``dx/dy = -(dp/dy) / p'(x)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kinetics.errors import SimulationError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Crossing:
    """Where a curve crosses a level."""

    at: float  # log10 dose
    by_response: FloatArray  # (n,), d(at)/d(response)
    by_level: float  # d(at)/d(level)


@dataclass(frozen=True, eq=False)
class Extent:
    """From the response without the dose to the one farthest from it."""

    basal: float
    extreme: float
    basal_index: int
    extreme_index: int

    @property
    def span(self) -> float:
        """Emax: negative for a falling curve."""
        return self.extreme - self.basal

    @property
    def middle(self) -> float:
        return 0.5 * (self.basal + self.extreme)

    def weights(self, n: int, basal: float, extreme: float) -> FloatArray:
        """The derivative of ``basal * y[basal] + extreme * y[extreme]`` by the responses, shape ``(n,)``."""
        found = np.zeros(n)
        found[self.basal_index] += basal
        found[self.extreme_index] += extreme
        return found


def extent_of(responses: FloatArray, what: str = "the curve") -> Extent:
    """The extent of a curve whose first response is that at dose 0, shape ``(n,)``.

    Smooth except where two doses tie for the extreme response.

    Raises:
        SimulationError: the curve is flat.
    """
    distance = np.abs(responses - responses[0])
    index = int(np.argmax(distance))
    if not distance[index] > 1e-9 * float(np.max(np.abs(responses))):
        raise SimulationError(f"{what} is flat (response {responses[0]:g}), so it has no half-maximum")
    return Extent(float(responses[0]), float(responses[index]), 0, index)


def crossing(log_doses: FloatArray, responses: FloatArray, level: float, what: str = "the curve") -> Crossing:
    """The lowest dose at which a curve crosses a level.

    Args:
        log_doses: log10 of the doses, increasing, shape ``(n,)``.
        responses: shape ``(n,)``.

    Raises:
        SimulationError: it does not, within its doses.
    """
    beyond = responses >= level
    steps = np.nonzero(beyond[1:] != beyond[:-1])[0]
    if not len(steps):
        doses = f"{10.0 ** log_doses[0]:.3g} to {10.0 ** log_doses[-1]:.3g}"
        raise SimulationError(
            f"{what} does not cross {level:g} within its doses {doses} (responses {responses[0]:g} to "
            f"{responses[-1]:g}): give it doses that reach further"
        )
    k = int(steps[0])
    h = float(log_doses[k + 1] - log_doses[k])
    ends, by_ends = _end_slopes(log_doses, responses, k)
    t = _root(responses[k] - level, responses[k + 1] - level, h * ends[0], h * ends[1])
    basis = _basis(t)
    by_response = h * (basis[1] * by_ends[0] + basis[3] * by_ends[1])
    by_response[k] += basis[0]
    by_response[k + 1] += basis[2]
    rising = _derivative(responses[k], responses[k + 1], h * ends[0], h * ends[1], t) / h
    if rising == 0.0:
        raise SimulationError(f"{what} is level where it crosses {level:g}, so its dose there is not defined")
    return Crossing(float(log_doses[k] + t * h), -by_response / rising, 1.0 / rising)


# --- the monotone cubic ---------------------------------------------------------------------------------------


def _basis(t: float) -> tuple[float, float, float, float]:
    """Hermite's basis: value left, slope left, value right, slope right."""
    return (
        (1.0 + 2.0 * t) * (1.0 - t) ** 2,
        t * (1.0 - t) ** 2,
        t * t * (3.0 - 2.0 * t),
        t * t * (t - 1.0),
    )


def _derivative(left: float, right: float, d_left: float, d_right: float, t: float) -> float:
    """d/dt of the cubic on [0, 1]."""
    return (
        6.0 * t * (1.0 - t) * (right - left)
        + (1.0 - t) * (1.0 - 3.0 * t) * d_left
        + t * (3.0 * t - 2.0) * d_right
    )  # fmt: skip


def _root(left: float, right: float, d_left: float, d_right: float) -> float:
    """The zero of a monotone cubic on [0, 1] whose ends have different signs (one may be 0)."""
    from scipy.optimize import brentq

    if left == 0.0:
        return 0.0
    if right == 0.0:
        return 1.0

    def cubic(t: float) -> float:
        a, b, c, d = _basis(t)
        return float(a * left + b * d_left + c * right + d * d_right)

    return float(brentq(cubic, 0.0, 1.0, xtol=1e-14, rtol=8.9e-16))


def _end_slopes(x: FloatArray, y: FloatArray, k: int) -> tuple[tuple[float, float], tuple[FloatArray, FloatArray]]:
    """Slopes of the cubic at both ends of interval ``k``, and their derivatives by the responses."""
    left, right = _slope(x, y, k), _slope(x, y, k + 1)
    return (left[0], right[0]), (left[1], right[1])


def _slope(x: FloatArray, y: FloatArray, i: int) -> tuple[float, FloatArray]:
    """The slope at point ``i`` and its derivative by the responses, shape ``(n,)``."""
    n, by = len(x), np.zeros(len(x))

    def secant(j: int) -> tuple[float, float]:
        h = float(x[j + 1] - x[j])
        return float(y[j + 1] - y[j]) / h, h

    def add(j: int, h: float, weight: float) -> None:
        by[j + 1] += weight / h
        by[j] -= weight / h

    if n == 2:
        value, h = secant(0)
        add(0, h, 1.0)
        return value, by
    if 0 < i < n - 1:  # a weighted harmonic mean of the secants on both sides; 0 where they differ in sign
        (m0, h0), (m1, h1) = secant(i - 1), secant(i)
        if m0 * m1 <= 0.0:
            return 0.0, by
        w0, w1 = 2.0 * h1 + h0, h1 + 2.0 * h0
        value = (w0 + w1) / (w0 / m0 + w1 / m1)
        add(i - 1, h0, value * value * w0 / ((w0 + w1) * m0 * m0))
        add(i, h1, value * value * w1 / ((w0 + w1) * m1 * m1))
        return value, by
    near, far = (0, 1) if i == 0 else (n - 2, n - 3)  # at an end: the parabola through three points, kept monotone
    (m0, h0), (m1, h1) = secant(near), secant(far)
    value = ((2.0 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    if math.copysign(1.0, value) != math.copysign(1.0, m0) or m0 == 0.0:
        return 0.0, by
    if m0 * m1 < 0.0 and abs(value) > 3.0 * abs(m0):
        add(near, h0, 3.0)
        return 3.0 * m0, by
    add(near, h0, (2.0 * h0 + h1) / (h0 + h1))
    add(far, h1, -h0 / (h0 + h1))
    return value, by
