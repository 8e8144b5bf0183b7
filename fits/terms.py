"""Further terms of an objective: reported numbers, one-sided claims, and curves that are normalised inside the fit.

A term is frozen data and belongs to `Problem.terms`; `TermSet` makes all of them functions of the parameters, with
gradients as exact as those of the measurements.

* `ReportedNumber` is data: a number with an error, or an interval that is known to hold it.
* `Hinge` is a penalty: exactly 0 while the claim holds, growing quadratically beyond its limit.
* `NormalisedCurve` is data whose model values are relative to another simulated value.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from fits.curve_numbers import CompiledNumber, CurveNumber, Points, check_readout, compile_number, reading_time
from fits.evaluation import Evaluation
from fits.noise import Likelihood
from fits.objective import Gradients
from fits.problem import Problem
from kinetics.dosing import DoseProtocol
from kinetics.engine import Solver
from kinetics.errors import InputError, SimulationError, UnknownName

FloatArray = npt.NDArray[np.float64]
How = Literal["fold", "percent", "percent_inhibition", "percent_of_maximum"]


class Term(Protocol):
    """Something that adds to the objective of a problem: frozen, picklable, and told apart by its ``repr``."""

    @property
    def id(self) -> str: ...

    @abstractmethod
    def compile(self, problem: Problem, points: Points) -> CompiledTerm:
        """Register the simulated values it needs, and say how it follows from them."""


@dataclass(frozen=True, eq=False)
class Contribution:
    """What a term adds at one point: ``value = sum(f(p))`` over predictions ``p``, and noise parameters by name."""

    value: float
    predictions: FloatArray  # (k,)
    by_points: FloatArray  # (k, n_points), d(prediction)/d(point)
    first: FloatArray  # (k,), f'(p)
    second: FloatArray  # (k,), f''(p) or what stands for it; not negative
    by_parameter: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # d(value)/d(parameter), information


class CompiledTerm(Protocol):
    """A term ready to be evaluated."""

    def __call__(self, points: FloatArray, values: Mapping[str, float]) -> Contribution: ...


def _identifier(name: str, what: str) -> None:
    if not name.isidentifier():
        raise InputError(f"{what} needs an id of letters, digits and _, got {name!r}")


# --- reported numbers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReportedNumber:
    """A reported EC50, shift or Emax ratio: a value with its error, or limits between which it is known to lie.

    A value adds its normal negative log-likelihood; limits add ``-log P(lower < number + error < upper)``, which is
    close to 0 well inside and grows outside as fast as the error says.  On the scale of the number: for a
    ``"log10 EC50 ratio"`` of 10 the value is 1, and an error of 0.1 is a factor of 1.26.
    """

    id: str
    number: CurveNumber
    value: float = math.nan
    error: float = math.nan  # standard deviation
    lower: float = -math.inf
    upper: float = math.inf
    source: str = ""

    def __post_init__(self) -> None:
        _identifier(self.id, "a reported number")
        what = f"reported number {self.id!r}"
        if not (math.isfinite(self.error) and self.error > 0.0):
            raise InputError(
                f"{what} needs error > 0, a standard deviation in units of {self.number.measure.value!r}, "
                f"got {self.error:g}: how well is it known?"
            )
        limited = math.isfinite(self.lower) or math.isfinite(self.upper)
        if math.isnan(self.value) == (not limited) or math.isinf(self.value):
            got = f"value {self.value:g} and limits {self.lower:g}, {self.upper:g}"
            raise InputError(f"{what} needs either a finite value or limits, got {got}")
        _check_limits(what, self.lower, self.upper)

    def compile(self, problem: Problem, points: Points) -> CompiledTerm:
        data = Likelihood(
            np.array([self.value]), np.array([self.lower]), np.array([self.upper]),
            np.zeros(1, dtype=np.int8), np.zeros(1, dtype=np.bool_), np.zeros(1),
        )  # fmt: skip
        return _NumberTerm(compile_number(self.number, points), data, np.array([self.error]))


def _check_limits(what: str, lower: float, upper: float) -> None:
    if math.isnan(lower) or math.isnan(upper) or not lower < upper:
        raise InputError(f"{what} needs lower < upper, got {lower:g}, {upper:g}")


@dataclass(frozen=True, eq=False)
class _NumberTerm:
    number: CompiledNumber
    data: Likelihood
    error: FloatArray  # (1,)

    def __call__(self, points: FloatArray, values: Mapping[str, float]) -> Contribution:
        found, by_points = self.number(points)
        at = np.array([found])
        value, first, _ = self.data.derivatives(at, self.error)
        return Contribution(float(value[0]), at, by_points[None], first, _curvature(self.data, at, self.error))


def _curvature(data: Likelihood, at: FloatArray, sigma: FloatArray) -> FloatArray:
    """The second derivative by the prediction; of intervals by differences of the first, and never negative."""
    found = 1.0 / (sigma * sigma)
    censored = np.isnan(data.values)
    if censored.any():
        step = 1e-4 * sigma
        ends = [data.derivatives(at + sign * step, sigma)[1] for sign in (1.0, -1.0)]
        found = np.where(censored, np.maximum((ends[0] - ends[1]) / (2.0 * step), 0.0), found)
    return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True)
class Hinge:
    """A one-sided (or two-sided) claim about a number of curves: adds exactly 0 while it holds.

    Beyond a limit it adds ``((number - limit) / width)^2 / 2``: a miss of one width costs 0.5.
    """

    id: str
    number: CurveNumber
    width: float
    lower: float = -math.inf
    upper: float = math.inf
    source: str = ""

    def __post_init__(self) -> None:
        _identifier(self.id, "a hinge")
        if not (math.isfinite(self.width) and self.width > 0.0):
            raise InputError(f"hinge {self.id!r} needs width > 0, the miss that costs 0.5, got {self.width:g}")
        if not (math.isfinite(self.lower) or math.isfinite(self.upper)):
            raise InputError(f"hinge {self.id!r} needs a lower or an upper limit, got none")
        _check_limits(f"hinge {self.id!r}", self.lower, self.upper)

    def compile(self, problem: Problem, points: Points) -> CompiledTerm:
        return _HingeTerm(compile_number(self.number, points), self.lower, self.upper, self.width)


@dataclass(frozen=True, eq=False)
class _HingeTerm:
    number: CompiledNumber
    lower: float
    upper: float
    width: float

    def __call__(self, points: FloatArray, values: Mapping[str, float]) -> Contribution:
        found, by_points = self.number(points)
        miss = (found - min(max(found, self.lower), self.upper)) / self.width
        return Contribution(
            0.5 * miss * miss,
            np.array([found]),
            by_points[None],
            np.array([miss / self.width]),
            np.array([float(miss != 0.0) / self.width**2]),
        )


# --- curves normalised inside the fit ----------------------------------------------------------------------------


@dataclass(frozen=True)
class NormalisedPoint:
    """One measured point of a normalised curve."""

    dose: int  # index in the doses of the protocol
    value: float  # NaN where only limits are known
    lower: float = -math.inf
    upper: float = math.inf
    error: float | None = None  # None: that of the curve


@dataclass(frozen=True)
class NormalisedCurve:
    """A curve reported relative to another condition, or in percent of its own maximum; noise is normal.

    The read-out of the protocol says relative to what (`Readout.fold_over`, `percent_of`, `percent_inhibition`,
    `percent_of_maximum`).  The maximum is that of the model over the doses of the protocol: differentiable except
    where two doses tie for it.
    """

    id: str
    protocol: DoseProtocol
    points: tuple[NormalisedPoint, ...]
    error: float | str  # a number, or the parameter of the problem that is the standard deviation
    model: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        _identifier(self.id, "a normalised curve")
        readout = self.protocol.readout
        if not (readout.relative or readout.of_maximum):
            raise InputError(f"{readout!r} is not normalised: make it measurements of the problem")
        check_readout(replace(readout, relative=None, of_maximum=False), self.id)
        if not self.points:
            raise InputError(f"normalised curve {self.id!r} has no points")
        for point in self.points:
            if not 0 <= point.dose < len(self.protocol.doses):
                raise InputError(f"normalised curve {self.id!r} has {len(self.protocol.doses)} doses, got {point.dose}")
            if math.isnan(point.value):
                _check_limits(f"a point of {self.id!r} without a value", point.lower, point.upper)
        if not isinstance(self.error, str) and not (math.isfinite(self.error) and self.error > 0.0):
            raise InputError(f"normalised curve {self.id!r} needs error > 0, got {self.error:g}")

    def compile(self, problem: Problem, points: Points) -> CompiledTerm:
        readout = self.protocol.readout
        model = points.model(self.model)
        if isinstance(self.error, str) and self.error not in {p.id for p in problem.parameters.parameters}:
            known = [p.id for p in problem.parameters.parameters]
            raise UnknownName("parameter", self.error, known, f"the error of {self.id!r}")
        time = reading_time(model, readout)
        experiments = self.protocol.experiments()
        own = [points.add(self.model, e, time, readout.formula) for e in experiments]
        against: list[int] = []
        if readout.relative:
            changes = dict(readout.relative.reference.changes)
            against = [points.add(self.model, e.replacing(changes), time, readout.formula) for e in experiments]
        rows = self.points
        data = Likelihood(
            np.array([row.value for row in rows]), np.array([row.lower for row in rows]),
            np.array([row.upper for row in rows]), np.zeros(len(rows), dtype=np.int8),
            np.zeros(len(rows), dtype=np.bool_), np.zeros(len(rows)),
        )  # fmt: skip
        how: How = readout.relative.how if readout.relative else "percent_of_maximum"
        errors = np.array([math.nan if row.error is None else row.error for row in rows])
        dose = np.array([row.dose for row in rows], dtype=np.intp)
        return _NormalisedTerm(self.id, np.array(own, np.intp), np.array(against, np.intp), dose, how, data, errors,
                               self.error)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _NormalisedTerm:
    id: str
    own: npt.NDArray[np.intp]  # (n_doses,) of the points
    against: npt.NDArray[np.intp]  # (n_doses,) or empty
    dose: npt.NDArray[np.intp]  # (k,)
    how: How
    data: Likelihood
    errors: FloatArray  # (k,); NaN: that of the curve
    error: float | str

    def __call__(self, points: FloatArray, values: Mapping[str, float]) -> Contribution:
        curve = points[self.own]
        top = self.own[np.full(len(curve), int(np.argmax(curve)))] if not len(self.against) else self.against
        over = points[top]
        if not np.all(np.abs(over) > 0.0) or (self.how == "percent_of_maximum" and over[0] < 0.0):
            raise SimulationError(f"{self.id}: the value it is relative to is {over[0]:g}: there is no ratio to it")
        factor = {"fold": 1.0, "percent_inhibition": -100.0}.get(self.how, 100.0)
        ratio = curve / over
        predicted = factor * ratio[self.dose] + (100.0 if self.how == "percent_inhibition" else 0.0)
        by_points = np.zeros((len(predicted), len(points)))
        k = np.arange(len(predicted))
        np.add.at(by_points, (k, self.own[self.dose]), factor / over[self.dose])
        np.add.at(by_points, (k, top[self.dose]), -factor * ratio[self.dose] / over[self.dose])
        common = values[self.error] if isinstance(self.error, str) else self.error
        sigma = np.where(np.isnan(self.errors), common, self.errors)
        if not np.all(sigma > 0.0):
            raise InputError(f"the error of {self.id!r} must be positive, got {common:g}")
        value, first, by_sigma = self.data.derivatives(predicted, sigma)
        shared = np.isnan(self.errors)
        direct = {}
        if isinstance(self.error, str):
            direct[self.error] = (float(np.sum(by_sigma[shared])), float(np.sum(2.0 / sigma[shared] ** 2)))
        second = _curvature(self.data, predicted, sigma)
        return Contribution(float(np.sum(value)), predicted, by_points, first, second, direct)


# --- all terms of a problem --------------------------------------------------------------------------------------


class TermSet:
    """All terms of a problem under one solver, ready to be evaluated."""

    def __init__(self, problem: Problem, solver: Solver | None = None, gradients: Gradients = "auto") -> None:
        self.parameters = problem.parameters
        self.ids: list[str] = []
        self._points = Points(problem)
        self._compiled: list[CompiledTerm] = []
        for term in problem.terms:
            if not isinstance(term, ReportedNumber | Hinge | NormalisedCurve) and not hasattr(term, "compile"):
                raise InputError(f"a term must be a ReportedNumber, a Hinge or a NormalisedCurve, got {term!r:.80}")
            name = str(getattr(term, "id", ""))
            if name in self.ids:
                raise InputError(f"term {name!r} is there twice")
            self.ids.append(name)
            self._compiled.append(term.compile(problem, self._points))
        self._points.compile(solver, gradients)
        noise = [term.error for term in problem.terms if isinstance(term, NormalisedCurve)]
        self._named = frozenset(name for name in noise if isinstance(name, str))

    @property
    def symbols(self) -> frozenset[str]:
        """Names that the terms use beside what is simulated, such as their noise levels."""
        return self._points.symbols | self._named

    @property
    def inexact(self) -> Mapping[str, str]:
        """Free parameters without exact derivatives of the terms, and why."""
        return self._points.inexact

    def predictions(self, values: Mapping[str, float]) -> dict[str, FloatArray]:
        """What the model says to every term, shape ``(k,)`` each; 1 for a reported number or a hinge."""
        points = self._points.values(values)
        return {name: term(points, values).predictions for name, term in zip(self.ids, self._compiled, strict=True)}

    def contributions(self, values: Mapping[str, float]) -> dict[str, float]:
        """What every term adds, at plain values by name."""
        points = self._points.values(values)
        return {name: term(points, values).value for name, term in zip(self.ids, self._compiled, strict=True)}

    def added(self, found: Evaluation, values: Mapping[str, float], derivatives: bool) -> Evaluation:
        """An evaluation of the rest of the objective with the terms added; no longer a sum of squares.

        Raises:
            SimulationError: a curve cannot be simulated, or one of its numbers does not exist at these values.
        """
        if not derivatives:
            points = self._points.values(values)
            parts = [term(points, values) for term in self._compiled]
            return replace(
                found,
                value=found.value + math.fsum(part.value for part in parts),
                residuals=None,
                details={**found.details, **self._details(parts)},
            )
        points, by_plain, exact = self._points.slopes(values)
        parts = [term(points, values) for term in self._compiled]
        scale = self.parameters.slopes(values)
        slopes = by_plain * scale  # (n_points, n), by the search scale
        column = {name: index for index, name in enumerate(self.parameters.names)}
        gradient, hessian = np.zeros(len(scale)), np.zeros((len(scale), len(scale)))
        for part in parts:
            by_search = part.by_points @ slopes  # (k, n)
            gradient += part.first @ by_search
            hessian += by_search.T @ (part.second[:, None] * by_search)
            for name, (slope, information) in part.by_parameter.items():
                if name in column:
                    i = column[name]
                    gradient[i] += slope * scale[i]
                    hessian[i, i] += information * scale[i] ** 2
        return replace(
            found,
            value=found.value + math.fsum(part.value for part in parts),
            gradient=gradient if found.gradient is None else found.gradient + gradient,
            hessian=hessian if found.hessian is None else found.hessian + hessian,
            residuals=None,
            jacobian=None,
            exact=found.exact and exact,
            details={**found.details, **self._details(parts)},
        )

    def _details(self, parts: list[Contribution]) -> dict[str, float]:
        pairs = zip(self.ids, parts, strict=True)
        return {name: float(part.predictions[0]) for name, part in pairs if len(part.predictions) == 1}
