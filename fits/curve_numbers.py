"""Numbers that papers report of dose-response curves, computed from a model with exact derivatives.

The responses come from a problem of their own, whose "measurements" are the points of all curves involved, so every
derivative that `fits.objective` has carries over; the rest is algebra (`fits.half_maximum`).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fits.half_maximum import Extent, crossing, extent_of
from fits.objective import Gradients, ProblemObjective
from fits.problem import Measurement, Observable, Problem
from kinetics.dosing import DoseProtocol
from kinetics.engine import Solver
from kinetics.errors import InputError, SimulationError, UnknownName
from kinetics.experiment import Experiment
from kinetics.model import Model
from kinetics.observable import Readout
from kinetics.schedule import time_in, value_in
from kinetics.units import Quantity, factor, quantity

FloatArray = npt.NDArray[np.float64]


class Measure(enum.Enum):
    """What is reported; logarithms are to base 10, so that an error of 0.1 is a factor of 1.26.

    The half-maximum lies midway between the response without the dose and the one farthest from it among the doses.
    """

    LOG10_EC50 = "log10 EC50"
    LOG10_EC50_RATIO = "log10 EC50 ratio"
    LOG10_EQUIEFFECTIVE_RATIO = "log10 equieffective ratio"
    EMAX = "Emax"
    EMAX_RATIO = "Emax ratio"
    RESPONSE = "response"
    RESPONSE_RATIO = "response ratio"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]

    @property
    def compares(self) -> bool:
        """Whether it needs a reference curve."""
        return "ratio" in self.value

    @property
    def at_a_dose(self) -> bool:
        return self.value.startswith("response")


_SENTENCES = {
    Measure.LOG10_EC50: "log10 of the dose for half of the curve's own maximum, in its dose unit",
    Measure.LOG10_EC50_RATIO: "log10 of the ratio of the EC50s: how far the curve lies right of its reference",
    Measure.LOG10_EQUIEFFECTIVE_RATIO: "log10 of the ratio of the doses for half of the reference's maximum",
    Measure.EMAX: "the largest change of the response over the doses",
    Measure.EMAX_RATIO: "the Emax of the curve over that of its reference",
    Measure.RESPONSE: "the response at one dose",
    Measure.RESPONSE_RATIO: "the response at one dose over that of the reference at the same dose",
}


@dataclass(frozen=True)
class CurveNumber:
    """A number of one curve, or of one curve compared with another.

    Attributes:
        measure: what it is; also its words (``"log10 EC50 ratio"``).
        curve: doses and what is done; for an EC50 at least three per decade, far enough to both sides.
        reference: the curve it is compared with, such as the untreated one; ``None`` where nothing is compared.
        dose: for a response, one of the doses.
        model: id in `Problem.models`; ``""`` where there is one.
    """

    measure: Measure
    curve: DoseProtocol
    reference: DoseProtocol | None = None
    dose: Quantity | None = None
    model: str = ""

    def __init__(
        self,
        measure: Measure | str,
        curve: DoseProtocol,
        reference: DoseProtocol | None = None,
        dose: str | Quantity | None = None,
        model: str = "",
    ) -> None:
        put = object.__setattr__
        known = {item.value: item for item in Measure}
        if isinstance(measure, str):
            if measure not in known:
                raise UnknownName("number of a curve", measure, known)
            measure = known[measure]
        put(self, "measure", measure)
        put(self, "curve", curve)
        put(self, "reference", reference)
        put(self, "dose", None if dose is None else quantity(dose, f"dose of {measure.value!r}"))
        put(self, "model", model)
        self._check()

    def _check(self) -> None:
        what = self.measure.value
        if self.measure.compares and self.reference is None:
            raise InputError(f"{what!r} compares two curves: give the reference, such as the untreated one")
        if not self.measure.compares and self.reference is not None:
            raise InputError(f"{what!r} is a number of one curve, but there is a reference; did you mean a ratio?")
        if self.measure.at_a_dose != (self.dose is not None):
            raise InputError(f"{what!r} needs {'a dose' if self.measure.at_a_dose else 'no dose'}, got {self.dose}")
        for protocol in (self.curve, self.reference):
            if protocol is None:
                continue
            check_readout(protocol.readout, what)
            positive = [dose for dose in protocol.doses if dose.value > 0.0]
            if not self.measure.at_a_dose and len(positive) < 4:
                raise InputError(f"{what!r} needs at least four doses above 0 to be read from, got {len(positive)}")

    def __reduce__(self) -> tuple[object, ...]:
        return (CurveNumber, (self.measure, self.curve, self.reference, self.dose, self.model))


def check_readout(readout: Readout, what: str) -> None:
    """Refuse a read-out that is not the value of a formula at one time."""
    if readout.when not in ("value", "steady_state"):
        raise InputError(
            f"{what!r} cannot be fitted with {readout!r}: peaks, areas and half-times have no exact place in a "
            "trajectory that could be differentiated; read the value at a time with Readout.at(...)"
        )
    if readout.gate:
        raise InputError(
            f"{what!r} cannot be fitted with {readout!r}: the fraction of cells above a gate is not built into "
            "problems; fit the value itself, or write the gate as a formula of the read-out"
        )
    if readout.relative or readout.of_maximum:
        raise InputError(
            f"{what!r} reads the curve as it is, not {readout!r}: drop the normalisation, it cancels in ratios and EC50"
        )


def reading_time(model: Model, readout: Readout) -> float:
    """When a read-out of one time is read, in the model's time unit."""
    return math.inf if readout.time is None else time_in(model, readout.time, "time of a read-out")


# --- points ----------------------------------------------------------------------------------------------------


class Points:
    """Simulated values that several terms need, each computed once; ``add`` them, ``compile``, then evaluate."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._observables: dict[str, Observable] = {}
        self._experiments: dict[object, str] = {}
        self._made: dict[str, Experiment] = {}
        self._rows: dict[tuple[str, str, float, str], int] = {}
        self._objective: ProblemObjective | None = None

    def model(self, name: str) -> Model:
        """The model a term means; ``""`` means the only one."""
        models = self._problem.models
        if not name and len(models) == 1:
            return next(iter(models.values()))
        if name not in models:
            raise UnknownName("model", name, models, f"a term of problem {self._problem.id!r}")
        return models[name]

    def add(self, model: str, experiment: Experiment, time: float, formula: str) -> int:
        """The index of a value; equal ones share it."""
        observable = self._observables.setdefault(formula, Observable(f"point_{len(self._observables)}", formula, "1"))
        key = (model, experiment.periods)
        name = self._experiments.setdefault(key, f"experiment_{len(self._experiments)}")
        self._made.setdefault(name, experiment.with_periods(experiment.periods, name))
        return self._rows.setdefault((model, name, time, observable.id), len(self._rows))

    def compile(self, solver: Solver | None, gradients: Gradients) -> None:
        problem = self._problem
        many = len(problem.models) > 1
        rows = [
            Measurement(observable, experiment, time, 0.0, model=model or (next(iter(problem.models)) if many else ""))
            for model, experiment, time, observable in self._rows
        ]
        inner = Problem(
            f"{problem.id}_terms",
            problem.models,
            problem.parameters,
            self._observables.values(),
            self._made,
            rows,
        )
        self._objective = ProblemObjective(inner, solver, gradients)

    @property
    def symbols(self) -> frozenset[str]:
        """Names that the formulas of the points use."""
        assert self._objective is not None
        return frozenset().union(*(f.names for trial in self._objective.trials for f in trial.formulas))

    @property
    def inexact(self) -> Mapping[str, str]:
        return {} if self._objective is None else self._objective.inexact

    def values(self, values: Mapping[str, float]) -> FloatArray:
        """All values, shape ``(n_points,)``, at plain parameters."""
        assert self._objective is not None
        return self._objective.run(values)[0]

    def slopes(self, values: Mapping[str, float]) -> tuple[FloatArray, FloatArray, bool]:
        """Values ``(n_points,)``, slopes by plain free parameters ``(n_points, n)``, and whether they are exact."""
        assert self._objective is not None
        x = self._objective.parameters.scaled(values)
        simulated, _, by_model, _, exact = self._objective._slopes(x, dict(values))
        return simulated, by_model, exact


# --- from points to numbers --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Curve:
    log_doses: FloatArray  # (n,) log10 of the doses above 0
    index: npt.NDArray[np.intp]  # (n + 1,) of the points: dose 0 first
    what: str

    def responses(self, points: FloatArray) -> FloatArray:
        return np.asarray(points[self.index])


@dataclass(frozen=True, eq=False)
class CompiledNumber:
    """A `CurveNumber` and where its points are."""

    number: CurveNumber
    curve: _Curve | None
    reference: _Curve | None
    picked: tuple[int, ...] = ()  # of responses: the point itself, then that of the reference

    def __call__(self, points: FloatArray) -> tuple[float, FloatArray]:
        """The number, and its derivative by all points, shape ``(n_points,)``.

        Raises:
            SimulationError: it does not exist at these values, for example the EC50 of a flat curve.
        """
        measure, slopes = self.number.measure, np.zeros(len(points))
        if self.picked:
            first = float(points[self.picked[0]])
            if len(self.picked) == 1:
                slopes[self.picked[0]] = 1.0
                return first, slopes
            second = float(points[self.picked[1]])
            if second == 0.0:
                raise SimulationError(f"the response of the reference is 0 at {self.number.dose}: no ratio to it")
            slopes[self.picked[0]] += 1.0 / second
            slopes[self.picked[1]] -= first / second**2
            return first / second, slopes
        assert self.curve is not None
        if measure is Measure.LOG10_EC50:
            return _half(self.curve, points, slopes, 1.0), slopes
        if measure is Measure.EMAX:
            return _span(self.curve, points, slopes, 1.0), slopes
        assert self.reference is not None
        if measure is Measure.LOG10_EC50_RATIO:
            treated = _half(self.curve, points, slopes, 1.0)
            return treated - _half(self.reference, points, slopes, -1.0), slopes
        if measure is Measure.EMAX_RATIO:
            one, other = (extent_of(c.responses(points), c.what).span for c in (self.curve, self.reference))
            _span(self.curve, points, slopes, 1.0 / other)
            _span(self.reference, points, slopes, -one / other**2)
            return one / other, slopes
        extent = extent_of(self.reference.responses(points), self.reference.what)
        treated = _at_level(self.curve, points, extent, self.reference, slopes, 1.0)
        return treated - _at_level(self.reference, points, extent, self.reference, slopes, -1.0), slopes


def _half(curve: _Curve, points: FloatArray, slopes: FloatArray, weight: float) -> float:
    extent = extent_of(curve.responses(points), curve.what)
    return _at_level(curve, points, extent, curve, slopes, weight)


def _at_level(
    curve: _Curve, points: FloatArray, extent: Extent, owner: _Curve, slopes: FloatArray, weight: float
) -> float:
    """log10 of the dose at which ``curve`` reaches the middle of the extent of ``owner``; adds to ``slopes``."""
    found = crossing(curve.log_doses, curve.responses(points)[1:], extent.middle, curve.what)
    np.add.at(slopes, curve.index[1:], weight * found.by_response)
    middle = extent.weights(len(owner.index), 0.5, 0.5)
    np.add.at(slopes, owner.index, weight * found.by_level * middle)
    return found.at


def _span(curve: _Curve, points: FloatArray, slopes: FloatArray, weight: float) -> float:
    extent = extent_of(curve.responses(points), curve.what)
    np.add.at(slopes, curve.index, extent.weights(len(curve.index), -weight, weight))
    return extent.span


def compile_number(number: CurveNumber, points: Points) -> CompiledNumber:
    """Register the points a number needs.

    Raises:
        KineticsError: protocol or read-out do not fit the model.
    """
    if number.dose is not None:
        protocols = [number.curve] if number.reference is None else [number.curve, number.reference]
        picked = tuple(_point_at(protocol, number, points) for protocol in protocols)
        return CompiledNumber(number, None, None, picked)
    reference = None if number.reference is None else _curve(number.reference, number, points, "the reference curve")
    return CompiledNumber(number, _curve(number.curve, number, points, "the curve"), reference)


def _point_at(protocol: DoseProtocol, number: CurveNumber, points: Points) -> int:
    assert number.dose is not None
    model = points.model(number.model)
    experiment = replace_doses(protocol, [number.dose]).experiments()[0]
    return points.add(number.model, experiment, reading_time(model, protocol.readout), protocol.readout.formula)


def _curve(protocol: DoseProtocol, number: CurveNumber, points: Points, what: str) -> _Curve:
    model = points.model(number.model)
    time = reading_time(model, protocol.readout)
    positive = [dose for dose in protocol.doses if dose.value > 0.0]
    unit = positive[0].unit
    value_in(model, protocol.target, positive[0])  # says now if the unit does not fit
    with_zero = replace_doses(protocol, [Quantity(0.0, unit), *positive])
    index = [points.add(number.model, e, time, protocol.readout.formula) for e in with_zero.experiments()]
    scale = 1.0
    if number.reference is not None:  # both curves in the dose unit of the curve itself
        own = next(dose.unit for dose in number.curve.doses if dose.value > 0.0)
        if (unit == "") != (own == ""):
            raise InputError(f"{number.measure.value!r} compares doses in {own!r} with doses in {unit!r}")
        scale = factor(unit, own, molar_mass=model.molar_masses.get(protocol.target), what="doses") if unit else 1.0
    doses = np.log10(scale * np.array([dose.value for dose in positive]))
    return _Curve(doses, np.array(index, dtype=np.intp), f"{what} of {protocol.readout.formula!r}")


def replace_doses(protocol: DoseProtocol, doses: Iterable[str | float | Quantity]) -> DoseProtocol:
    """The same protocol at other doses."""
    return replace(protocol, doses=tuple(doses))  # type: ignore[arg-type]  # a Quantity is a dose


class CurveNumbers:
    """Numbers of curves as functions of the parameters of a problem, for profiles and bands.

    >>> numbers = CurveNumbers(problem, {"shift": CurveNumber("log10 EC50 ratio", treated, control)})  # doctest: +SKIP
    >>> value, slope = numbers.quantity("shift")(x)  # doctest: +SKIP
    """

    def __init__(
        self,
        problem: Problem,
        numbers: Mapping[str, CurveNumber],
        solver: Solver | None = None,
        gradients: Gradients = "auto",
    ) -> None:
        self._problem, self._numbers, self._solver, self._gradients = problem, dict(numbers), solver, gradients
        self._points = Points(problem)
        self._compiled = {name: compile_number(number, self._points) for name, number in self._numbers.items()}
        self._points.compile(solver, gradients)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._compiled)

    def __call__(self, x: npt.ArrayLike) -> dict[str, float]:
        """All numbers at a search vector, shape ``(n,)``.

        Raises:
            SimulationError: a curve cannot be simulated, or a number does not exist there.
        """
        points = self._points.values(self._problem.parameters.plain(x))
        return {name: number(points)[0] for name, number in self._compiled.items()}

    def slopes(self, x: npt.ArrayLike, names: Sequence[str] | None = None) -> dict[str, tuple[float, FloatArray]]:
        """Numbers with their gradients by the search-scale parameters, shape ``(n,)`` each."""
        parameters = self._problem.parameters
        values = parameters.plain(x)
        points, by_plain, _ = self._points.slopes(values)
        scale = parameters.slopes(values)
        found = {}
        for name in self.names if names is None else names:
            value, by_points = self._compiled[name](points)
            found[name] = (value, np.asarray((by_points @ by_plain) * scale, dtype=np.float64))
        return found

    def quantity(self, name: str) -> NumberFunction:
        """One number as a function of the search vector, with its gradient: what a profile takes; picklable."""
        if name not in self._compiled:
            raise UnknownName("number", name, self._compiled, "these")
        return NumberFunction(CurveNumbers(self._problem, {name: self._numbers[name]}, self._solver, self._gradients))

    def __reduce__(self) -> tuple[object, ...]:
        return (CurveNumbers, (self._problem, self._numbers, self._solver, self._gradients))


@dataclass(frozen=True, eq=False)
class NumberFunction:
    """One number of a curve at a search vector: its value and its gradient, shape ``(n,)``."""

    numbers: CurveNumbers

    def __call__(self, x: FloatArray) -> tuple[float, FloatArray]:
        (found,) = self.numbers.slopes(x).values()
        return found
