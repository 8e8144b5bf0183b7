"""The Fisher information at an optimum, and what uncertainty needs to know about a point: its curvature and ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from fits.evaluation import Evaluation, FloatArray, Objective
from fits.local import slope_of, usable
from fits.parameters import ParameterSet, Scale
from fits.result import FitResult
from kinetics.errors import InputError, SimulationError

Point = npt.ArrayLike | Mapping[str, float] | FitResult
DIFFERENCE = 1e-4  # step of finite differences, relative to 1 + |x|


class Curvature(Enum):
    """Where the information comes from."""

    HESSIAN = "hessian"
    GAUSS_NEWTON = "Gauss-Newton"
    DIFFERENCES = "differences"

    @property
    def sentence(self) -> str:
        return {
            Curvature.HESSIAN: "the objective's own Hessian or expected information",
            Curvature.GAUSS_NEWTON: "J'J of the residuals",
            Curvature.DIFFERENCES: "finite differences of the gradient",
        }[self]


def threshold_of(level: float) -> float:
    """How far the negative log-likelihood rises to the end of an interval of one quantity: 1.92 for 0.95.

    Raises:
        InputError: ``level`` is no confidence level.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"level must lie between 0 and 1, got {level}")
    return float(ndtri(0.5 * (1.0 + level)) ** 2 / 2.0)


def point_of(objective: Objective, optimum: Point) -> FloatArray:
    """The search vector of an optimum, shape ``(n,)``.

    Raises:
        InputError: it does not fit the objective or lies outside its bounds.
    """
    names = tuple(objective.names)
    if isinstance(optimum, FitResult):
        optimum = optimum.parameters
    if isinstance(optimum, Mapping):
        if {*optimum} != {*names}:
            raise InputError(f"the optimum names {sorted(optimum)}, but the objective has {sorted(names)}")
        optimum = [float(optimum[name]) for name in names]
    x = np.array(optimum, dtype=float)
    if x.shape != (len(names),) or not np.all(np.isfinite(x)):
        raise InputError(f"the optimum needs {len(names)} finite values, one per parameter, got {x}")
    for name, value, low, high in zip(names, x, objective.lower, objective.upper, strict=True):
        if not low <= value <= high:
            raise InputError(f"the optimum has {name!r} at {value:g}, outside its bounds {low:g} to {high:g}")
    return x


def scales_of(objective: Objective, scales: Mapping[str, Scale | str] | None = None) -> tuple[Scale, ...]:
    """The scale of each search parameter: as given, else as the objective's own parameters have it, else linear."""
    known: dict[str, Scale] = {}
    own = getattr(objective, "parameters", None)
    if isinstance(own, ParameterSet):
        known = {parameter.id: parameter.scale for parameter in own.free}
    known.update({name: Scale(scale) for name, scale in (scales or {}).items()})
    unknown = sorted(known.keys() - {*objective.names})
    if unknown:
        raise InputError(f"a scale is given for {unknown[0]!r}, which is no parameter of the objective")
    return tuple(known.get(name, Scale.LIN) for name in objective.names)


def ranges_of(objective: Objective, x: FloatArray) -> FloatArray:
    """How far each parameter may range: between its bounds, or the size of its value where it has none, ``(n,)``."""
    span = np.asarray(objective.upper, dtype=float) - np.asarray(objective.lower, dtype=float)
    return np.where(np.isfinite(span), span, np.maximum(np.abs(x), 1.0))


def evaluate_optimum(objective: Objective, x: FloatArray) -> Evaluation:
    """The objective with derivatives at a point that must work.

    Raises:
        SimulationError: it does not.
    """
    found = objective.evaluate(x, derivatives=True)
    if not usable(found):
        reason = found.failure or "value or derivatives are missing or not finite"
        raise SimulationError(f"the objective cannot be evaluated at the optimum: {reason}")
    return found


def curvature_of(
    objective: Objective, x: FloatArray, here: Evaluation, *, differences: bool = False
) -> tuple[FloatArray, Curvature]:
    """The curvature of the objective at ``x``, shape ``(n, n)``, from the best source it offers, or by differences."""
    if here.hessian is not None and not differences:
        matrix = np.asarray(here.hessian, dtype=float)
        return 0.5 * (matrix + matrix.T), Curvature.HESSIAN
    if here.jacobian is not None and not differences:
        return np.asarray(here.jacobian.T @ here.jacobian, dtype=float), Curvature.GAUSS_NEWTON
    matrix = np.empty((len(x), len(x)))
    for i in range(len(x)):
        step = DIFFERENCE * (1.0 + abs(x[i]))
        ends, slopes = [], []
        for sign in (1.0, -1.0):
            moved = x.copy()
            moved[i] = min(max(x[i] + sign * step, objective.lower[i]), objective.upper[i])
            ends.append(moved[i])
            slopes.append(slope_of(evaluate_optimum(objective, moved)))
        matrix[i] = (slopes[0] - slopes[1]) / (ends[0] - ends[1])
    return 0.5 * (matrix + matrix.T), Curvature.DIFFERENCES


@dataclass(frozen=True, eq=False)
class Fisher:
    """The information at an optimum; everything is on the search scale.

    A parameter held at its bound by the slope of the objective counts as known in ``covariance`` and has a standard
    error of NaN; one that takes part in a direction without any curvature has an infinite one.
    """

    names: tuple[str, ...]
    x: FloatArray  # (n,)
    lower: FloatArray  # (n,)
    upper: FloatArray  # (n,)
    scales: tuple[Scale, ...]
    value: float  # of the objective
    gradient: FloatArray  # (n,)
    matrix: FloatArray  # (n, n)
    curvature: Curvature
    covariance: FloatArray  # (n, n)
    eigenvalues: FloatArray  # (n,), of ``matrix``, ascending
    eigenvectors: FloatArray  # (n, n), in columns

    @property
    def standard_errors(self) -> FloatArray:
        """Shape ``(n,)``."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def correlations(self) -> FloatArray:
        """Shape ``(n, n)``; NaN where a parameter is held at its bound or has no curvature."""
        return correlations_of(self.covariance)

    @property
    def at_bounds(self) -> dict[str, str]:
        """Parameters that lie on a bound: ``{"k_on": "lower"}``."""
        sides = {}
        for name, x, low, high in zip(self.names, self.x, self.lower, self.upper, strict=True):
            near = 1e-6 * (high - low if math.isfinite(high - low) else max(abs(x), 1.0))
            if x - low <= near or high - x <= near:
                sides[name] = "lower" if x - low <= near else "upper"
        return sides

    def interval(self, name: str, level: float = 0.95) -> tuple[float | None, float | None]:
        """The interval of the quadratic approximation; an end is ``None`` where it is beyond the bounds."""
        i = self.names.index(name)
        half = math.sqrt(2.0 * threshold_of(level)) * float(self.standard_errors[i])
        low, high = float(self.x[i]) - half, float(self.x[i]) + half
        return (low if low > self.lower[i] else None, high if high < self.upper[i] else None)


def correlations_of(covariance: FloatArray) -> FloatArray:
    """Correlations from covariances, ``(n, n)``; NaN where a variance is 0 or not finite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.sqrt(np.diag(covariance))
        found = covariance / np.outer(errors, errors)
    lost = ~(np.isfinite(errors) & (errors > 0.0))
    found[lost, :] = found[:, lost] = np.nan
    return np.asarray(np.clip(found, -1.0, 1.0))


def fisher(
    objective: Objective,
    optimum: Point,
    *,
    scales: Mapping[str, Scale | str] | None = None,
    differences: bool = False,
) -> Fisher:
    """The Fisher information at an optimum.

    Args:
        objective: what was minimised; half a sum of squares, a Hessian, or at least gradients.
        optimum: where, as a vector, by name, or as the result of a fit.
        scales: by name, for words about the parameters; an objective made from a problem knows them itself.
        differences: take the observed information, by finite differences of the gradient, instead of the expected one
            the objective offers; it holds whatever the gradient does, priors and further terms included.

    Raises:
        InputError: the optimum does not fit the objective.
        SimulationError: the objective cannot be evaluated there.
    """
    x = point_of(objective, optimum)
    here = evaluate_optimum(objective, x)
    matrix, curvature = curvature_of(objective, x, here, differences=differences)
    gradient = slope_of(here)
    lower, upper = np.array(objective.lower, dtype=float), np.array(objective.upper, dtype=float)
    held = ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
    values, vectors = np.linalg.eigh(matrix)
    return Fisher(
        tuple(objective.names), x, lower, upper, scales_of(objective, scales), here.value, gradient,
        matrix, curvature, _inverse(matrix, ~held), values, vectors,
    )  # fmt: skip


def _inverse(matrix: FloatArray, free: npt.NDArray[np.bool_]) -> FloatArray:
    """The covariance of the free parameters; NaN for the others, inf for what has no curvature, ``(n, n)``."""
    full = np.full_like(matrix, np.nan)
    part = matrix[np.ix_(free, free)]
    size = np.sqrt(np.maximum(np.diag(part), 1e-300))
    values, vectors = np.linalg.eigh(part / np.outer(size, size))  # units differ by orders of magnitude
    void = values <= 1e-12 * max(float(np.max(values, initial=0.0)), 1e-300)
    inverse = (vectors[:, ~void] / values[~void]) @ vectors[:, ~void].T / np.outer(size, size)
    lost = np.any(np.abs(vectors[:, void]) > 1e-6, axis=1)
    inverse[lost, :] = inverse[:, lost] = np.nan
    inverse[lost, lost] = np.inf
    full[np.ix_(free, free)] = inverse
    return full


def spread(objective: Objective, x: FloatArray, matrix: FloatArray) -> FloatArray:
    """A covariance that is finite whatever the data settle: no parameter is less known than its range, ``(n, n)``.

    The range enters as the standard deviation of a normal prior; negative curvature counts as none.
    """
    scale = ranges_of(objective, x)
    values, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
    # 12 is one over the variance of a uniform distribution on its own range.
    inverse = (vectors / (np.maximum(values, 0.0) + 12.0)) @ vectors.T
    return np.asarray(inverse * np.outer(scale, scale), dtype=float)
