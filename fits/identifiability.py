"""What the data settle: Fisher information, standard errors, and the ridges along which parameters trade off.

A direction counts as free where following it for a decade raises the objective by less than the threshold of a 95 %
interval.  Decades are natural for parameters on a logarithmic scale, and for positive ones on a linear scale too;
a parameter that may be negative is measured by the size of its own value instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from fits.evaluation import Evaluation, FloatArray, Objective
from fits.local import slope_of, usable
from fits.parameters import ParameterSet, Scale
from fits.result import FitResult
from kinetics.errors import InputError, SimulationError

if TYPE_CHECKING:
    from fits.profiles import Profile

Point = npt.ArrayLike | Mapping[str, float] | FitResult
PROBE = math.log10(2.0)  # decades: ridges are tried out by a twofold change
MINOR = 0.05  # components of a ridge below this share of the largest are not worth a word
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


class Verdict(Enum):
    """What the data say about one parameter or quantity."""

    IDENTIFIABLE = "identifiable"
    NO_LOWER = "no lower end"
    NO_UPPER = "no upper end"
    FLAT = "flat"

    @property
    def sentence(self) -> str:
        return {
            Verdict.IDENTIFIABLE: "the data bound it from both sides",
            Verdict.NO_LOWER: "the data bound it from above only",
            Verdict.NO_UPPER: "the data bound it from below only",
            Verdict.FLAT: "the data bound it from neither side",
        }[self]

    @classmethod
    def of(cls, lower: float | None, upper: float | None) -> Verdict:
        """From an interval in which ``None`` is an open end."""
        if lower is None:
            return cls.FLAT if upper is None else cls.NO_LOWER
        return cls.NO_UPPER if upper is None else cls.IDENTIFIABLE


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


def information(objective: Objective, x: FloatArray, here: Evaluation) -> tuple[FloatArray, Curvature]:
    """The curvature of the objective at ``x``, shape ``(n, n)``, from the best source it offers."""
    if here.hessian is not None:
        matrix = np.asarray(here.hessian, dtype=float)
        return 0.5 * (matrix + matrix.T), Curvature.HESSIAN
    if here.jacobian is not None:
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


def fisher(objective: Objective, optimum: Point, *, scales: Mapping[str, Scale | str] | None = None) -> Fisher:
    """The Fisher information at an optimum.

    Args:
        objective: what was minimised; half a sum of squares, a Hessian, or at least gradients.
        optimum: where, as a vector, by name, or as the result of a fit.
        scales: by name, for words about the parameters; an objective made from a problem knows them itself.

    Raises:
        InputError: the optimum does not fit the objective.
        SimulationError: the objective cannot be evaluated there.
    """
    x = point_of(objective, optimum)
    here = evaluate_optimum(objective, x)
    matrix, curvature = information(objective, x, here)
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


@dataclass(frozen=True, eq=False)
class Ridge:
    """A direction in which the parameters move together and the objective hardly changes."""

    names: tuple[str, ...]  # of the parameters that take part, by weight
    coefficients: tuple[float, ...]  # in decades (or values, see the module), the largest is 1
    direction: FloatArray  # (n,), all parameters, on the search scale at the optimum
    curved: float  # rise of the objective over a decade (or value) as the curvature has it
    step: float  # what was tried, in decades (or values) of the first name; 0 where bounds left no room
    change: float  # of the objective over that step, evaluated; NaN where it could not be
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def ridges(objective: Objective, found: Fisher, *, level: float = 0.95) -> tuple[Ridge, ...]:
    """The directions the data leave free, each tried out by one evaluation of the objective."""
    axes = [_Axis.of(found, i) for i in range(len(found.names))]
    unit = np.array([axis.unit for axis in axes])
    matrix = found.matrix * np.outer(unit, unit)
    values, vectors = np.linalg.eigh(matrix)
    tallest = np.max(np.abs(vectors), axis=0)
    threshold = threshold_of(level)
    free = 0.5 * values / tallest**2 < threshold
    if not np.any(free):
        return ()
    plain = (vectors / tallest)[:, free].T
    sparse = _sparse(vectors[:, free].T)
    if np.any(0.5 * np.einsum("ki,ij,kj->k", sparse, matrix, sparse) >= threshold):
        sparse = plain  # told apart parameter by parameter they would not be free any more
    return tuple(_ridge(objective, found, axes, weights, matrix) for weights in sparse)


def _sparse(rows: FloatArray) -> FloatArray:
    """Another basis of the row space with as many zeros as elimination brings, each row's largest entry being 1.

    Eigenvectors of equal (zero) eigenvalues are an arbitrary mixture: the ridges a*b and c*d would come out as two
    mixtures of all four parameters.
    """
    rows = rows.copy()
    taken: list[int] = []
    for k in range(len(rows)):
        rest = np.abs(rows[k:])
        rest[:, taken] = 0.0
        i, j = np.unravel_index(int(np.argmax(rest)), rest.shape)
        rows[[k, k + int(i)]] = rows[[k + int(i), k]]
        rows[k] /= rows[k, j]
        for other in range(len(rows)):
            if other != k:
                rows[other] -= rows[other, j] * rows[k]
        taken.append(int(j))
    largest = rows[np.arange(len(rows)), np.argmax(np.abs(rows), axis=1)]
    rows = rows / largest[:, None]
    return np.where(np.abs(rows) < 1e-9, 0.0, rows)


@dataclass(frozen=True)
class _Axis:
    """One parameter as the words measure it: in decades, or in values where it may be negative."""

    name: str
    x: float
    lower: float
    upper: float
    decades: bool
    unit: float  # d(search scale) / d(decade or value) at the optimum
    scale: Scale

    @classmethod
    def of(cls, found: Fisher, i: int) -> _Axis:
        x, low, high = float(found.x[i]), float(found.lower[i]), float(found.upper[i])
        scale = found.scales[i]
        decades = scale is not Scale.LIN or (low >= 0.0 and x > 0.0)
        if scale is Scale.LOG10:
            unit = 1.0
        elif scale is Scale.LOG:
            unit = math.log(10.0)
        elif decades:
            unit = x * math.log(10.0)
        else:
            unit = max(abs(x), 1e-3 * (high - low)) if math.isfinite(high - low) else max(abs(x), 1.0)
        return cls(found.names[i], x, low, high, decades, unit, scale)

    def moved(self, amount: float) -> float:
        """The search value after so many decades or values."""
        if self.decades and self.scale is Scale.LIN:
            return float(self.x * 10.0**amount)
        return self.x + amount * self.unit

    def room(self, sign: float) -> float:
        """How far it can go in a direction, in its own units."""
        limit = self.upper if sign > 0 else self.lower
        if not math.isfinite(limit):
            return math.inf
        if self.decades and self.scale is Scale.LIN:
            return abs(math.log10(limit / self.x)) if limit > 0 else math.inf
        return abs(limit - self.x) / self.unit

    def words(self, amount: float) -> str:
        if not self.decades:
            return f"moving {self.name} from {self.x:.3g} to {self.moved(amount):.3g}"
        factor = 10.0 ** abs(amount)
        if math.isclose(factor, 2.0, rel_tol=0.005):
            return f"raising {self.name} twofold" if amount > 0 else f"halving {self.name}"
        return f"{'multiplying' if amount > 0 else 'dividing'} {self.name} by {factor:.3g}"


def _ridge(
    objective: Objective, found: Fisher, axes: Sequence[_Axis], weights: FloatArray, matrix: FloatArray
) -> Ridge:
    order = [int(i) for i in np.argsort(-np.abs(weights), kind="stable") if abs(weights[i]) >= MINOR]
    part = [axes[i] for i in order]
    shares = [float(w) for w in weights]

    def fraction(sign: float) -> float:
        return min(axis.room(sign * w) / abs(w) for axis, w in zip(axes, shares, strict=True) if w)

    sign = 1.0 if fraction(1.0) >= min(PROBE, fraction(-1.0)) else -1.0
    step = sign * min(PROBE, fraction(sign))
    change = math.nan
    if abs(step) > 1e-3:
        there = [axis.moved(step * w) if w else axis.x for axis, w in zip(axes, weights, strict=True)]
        value = objective.evaluate(np.clip(there, found.lower, found.upper)).value
        change = float(value - found.value) if math.isfinite(value) else math.nan
    else:
        step = 0.0
    coefficients = tuple(float(weights[i]) for i in order)
    curved = float(0.5 * weights @ matrix @ weights)
    together = [axis.words(step * w) for axis, w in zip(part, coefficients, strict=True)]
    if step and math.isfinite(change):
        tried = f"{_listed(together)} changes the objective by {_small(change)}"
        if change < -0.1:
            tried += ", so the fit was not at its optimum"
    else:
        tried = f"by its curvature the objective rises by {_small(max(curved, 0.0))} over a decade"
    if len(part) == 1:
        sentence = f"{part[0].name} is free on its own: {tried}."
    else:
        sentence = f"{_combination(part, coefficients)} is free: {tried}."
        if len(part) == 2:
            settled = _combination(part, (-coefficients[1], coefficients[0]))
            sentence = f"{settled} is fixed, {sentence}"
    names = tuple(axis.name for axis in part)
    unit = np.array([axis.unit for axis in axes])
    return Ridge(names, coefficients, weights * unit, curved, step, change, sentence)


def _combination(axes: Sequence[_Axis], weights: Sequence[float]) -> str:
    """Words for a weighted sum: ``log kp - 0.98 log k2on``."""
    pairs = [(a, w if a.decades else w / a.unit) for a, w in zip(axes, weights, strict=True)]
    first = pairs[0][1]
    words = ""
    for axis, weight in pairs:
        share = weight / first
        size = "" if math.isclose(abs(share), 1.0, abs_tol=0.005) else f"{abs(share):.2g} "
        joint = "" if not words else (" + " if share > 0 else " - ")
        words += f"{joint}{size}{'log ' if axis.decades else ''}{axis.name}"
    return words


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _small(change: float) -> str:
    return f"{change:.2g}" if abs(change) >= 1e-6 else "less than 1e-6"


@dataclass(frozen=True, eq=False)
class Identifiability:
    """Which parameters the data settle, and what the others hide behind."""

    fisher: Fisher
    ridges: tuple[Ridge, ...]
    verdicts: Mapping[str, Verdict]
    profiled: frozenset[str] = field(default_factory=frozenset)  # judged by their profile, the others by curvature

    def sentences(self) -> tuple[str, ...]:
        return tuple(self._sentences())

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def to_frame(self) -> Any:
        """A row per parameter, on the search scale."""
        import pandas as pd

        bounds = self.fisher.at_bounds
        rows = []
        for name, x, error in zip(self.fisher.names, self.fisher.x, self.fisher.standard_errors, strict=True):
            rows.append({
                "parameter": name, "value": float(x), "standard_error": float(error),
                "verdict": self.verdicts[name].value, "judged_by": "profile" if name in self.profiled else "curvature",
                "at_bound": bounds.get(name, ""), "ridges": sum(name in ridge.names for ridge in self.ridges),
            })  # fmt: skip
        return pd.DataFrame(rows)

    def _sentences(self) -> Iterable[str]:
        total = len(self.fisher.names)
        for verdict, words in (
            (Verdict.IDENTIFIABLE, "identifiable"),
            (Verdict.NO_LOWER, "bounded from above only"),
            (Verdict.NO_UPPER, "bounded from below only"),
            (Verdict.FLAT, "not identifiable (flat)"),
        ):
            names = [name for name in self.fisher.names if self.verdicts[name] is verdict]
            if names:
                yield f"{len(names)} of {total} {'parameter is' if total == 1 else 'parameters are'} {words}: " + (
                    f"{', '.join(names)}."
                )
        rough = [name for name in self.fisher.names if name not in self.profiled]
        if rough:
            yield f"Judged by curvature alone, which a profile may correct: {', '.join(rough)}."
        bounds = self.fisher.at_bounds
        if bounds:
            yield "At a bound: " + ", ".join(f"{name} ({side})" for name, side in bounds.items()) + "."
        yield from (ridge.sentence for ridge in self.ridges)


def identifiability(
    objective: Objective,
    optimum: Point,
    profiles: Mapping[str, Profile] | None = None,
    *,
    level: float = 0.95,
    scales: Mapping[str, Scale | str] | None = None,
) -> Identifiability:
    """What the data settle, by profiles where they are given and by curvature elsewhere.

    By curvature a parameter is identifiable if its interval lies between the bounds and is shorter than a decade
    (or its own value) on either side.
    """
    found = fisher(objective, optimum, scales=scales)
    profiles = profiles or {}
    verdicts = {}
    for i, name in enumerate(found.names):
        if name in profiles:
            verdicts[name] = profiles[name].verdict
            continue
        low, high = found.interval(name, level)
        axis = _Axis.of(found, i)
        # The quadratic is no guide further out: an end a decade away is as good as none.
        low = low if low is not None and found.x[i] - low <= abs(axis.unit) else None
        high = high if high is not None and high - found.x[i] <= abs(axis.unit) else None
        verdicts[name] = Verdict.of(low, high)
    known = frozenset(name for name in found.names if name in profiles)
    return Identifiability(found, ridges(objective, found, level=level), verdicts, known)
