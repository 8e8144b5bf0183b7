"""Read-outs: an observable, when it is read, and relative to what.

>>> Readout.at("pSTAT5_total", "30 min").fold_over({"IL7": 0})
Readout('pSTAT5_total' at 30 min, fold over IL7=0)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from kinetics.engine import Solver
from kinetics.errors import InputError, KineticsError, SimulationError
from kinetics.experiment import Condition, Experiment, Given
from kinetics.model import Model
from kinetics.schedule import resolve, time_in
from kinetics.simulation import simulate_many
from kinetics.units import Quantity, quantity

FloatArray = npt.NDArray[np.float64]
When = Literal["value", "peak", "area", "half_time", "steady_state"]
Changes = Mapping[str, Given]

REFINE_TO = 1e-6  # relative change at which a grid for peaks and areas is fine enough
MOST_POINTS = 8193
JUST_BEFORE = 1e-10  # of a stretch: where the state just before a jump is read


@dataclass(frozen=True)
class Relative:
    """A read-out relative to the same read-out under other conditions."""

    how: Literal["fold", "percent", "percent_inhibition"]
    reference: Condition


@dataclass(frozen=True)
class Gate:
    """Fraction of cells above a gate, when cells are log-normal around the model's value (their median)."""

    threshold: float
    sigma: float  # standard deviation of ln(value) over cells

    def fraction(self, values: npt.ArrayLike) -> FloatArray:
        """In ``[0, 1]``; 0 where the value is 0."""
        from scipy.special import ndtr

        with np.errstate(divide="ignore"):
            z = (np.log(np.maximum(np.asarray(values, float), 0.0)) - math.log(self.threshold)) / self.sigma
        return np.asarray(ndtr(z), dtype=float)


@dataclass(frozen=True, repr=False)
class Readout:
    """What is measured; make one with `at`, `peak`, `area`, `half_time` or `steady_state`."""

    formula: str
    when: When = "value"
    time: Quantity | None = None  # of "value"
    start: Quantity | None = None  # of a window
    end: Quantity | None = None
    relative: Relative | None = None
    of_maximum: bool = False  # percent of the largest response of the curve it is part of
    gate: Gate | None = None
    unit: str = ""  # overrides what the model says

    @classmethod
    def at(cls, formula: str, time: float | str | Quantity) -> Readout:
        """The value at a time; in `Experiment.steps` time 0 is the start of the last step, the stimulation."""
        given = _time(time)
        if math.isinf(given.value):
            return cls.steady_state(formula)
        return cls(formula, "value", given)

    @classmethod
    def steady_state(cls, formula: str) -> Readout:
        """The value once nothing changes any more."""
        return cls(formula, "steady_state")

    @classmethod
    def peak(cls, formula: str, start: float | str | Quantity, end: float | str | Quantity) -> Readout:
        """The largest value in a window."""
        return cls._window(formula, "peak", start, end)

    @classmethod
    def area(cls, formula: str, start: float | str | Quantity, end: float | str | Quantity) -> Readout:
        """The area under the curve in a window, value times the model's time unit."""
        return cls._window(formula, "area", start, end)

    @classmethod
    def half_time(cls, formula: str, start: float | str | Quantity, end: float | str | Quantity) -> Readout:
        """Time from the start of a window to half of its extreme change, in the model's time unit; NaN if flat."""
        return cls._window(formula, "half_time", start, end)

    @classmethod
    def _window(cls, formula: str, when: When, start: float | str | Quantity, end: float | str | Quantity) -> Readout:
        return cls(formula, when, None, _time(start), _time(end))

    def fold_over(self, reference: Changes) -> Readout:
        """Divided by the same read-out under ``reference``, for example ``{"IL7": 0}`` (see `Experiment.replacing`)."""
        return self._relative("fold", reference)

    def percent_of(self, reference: Changes) -> Readout:
        """In percent of the read-out under ``reference``."""
        return self._relative("percent", reference)

    def percent_inhibition(self, reference: Changes) -> Readout:
        """How much lower than under ``reference``, in percent; negative where it is higher."""
        return self._relative("percent_inhibition", reference)

    def _relative(self, how: Literal["fold", "percent", "percent_inhibition"], reference: Changes) -> Readout:
        if self.relative or self.of_maximum:
            raise InputError("a read-out can be relative to one thing only")
        if not reference:
            raise InputError("a reference needs at least one change, for example {'IL7': 0}")
        return replace(self, relative=Relative(how, Condition(reference)))

    def percent_of_maximum(self) -> Readout:
        """In percent of the largest response of the same curve."""
        if self.relative:
            raise InputError("a read-out can be relative to one thing only")
        return replace(self, of_maximum=True)

    def fraction_positive(self, threshold: float, sigma: float) -> Readout:
        """The fraction of cells above ``threshold`` when ln(value) varies over cells with ``sigma``."""
        if not (math.isfinite(threshold) and threshold > 0.0 and math.isfinite(sigma) and sigma > 0.0):
            raise InputError(f"a gate needs threshold > 0 and sigma > 0, got {threshold}, {sigma}")
        return replace(self, gate=Gate(threshold, sigma))

    @property
    def own_unit(self) -> str | None:
        """The unit the read-out itself decides, or ``None`` where it is that of the formula."""
        if self.of_maximum or (self.relative and self.relative.how != "fold"):
            return "%"
        if self.relative or self.gate:
            return ""
        return self.unit or None

    def __repr__(self) -> str:
        if self.when == "value":
            text = f"{self.formula!r} at {self.time}"
        elif self.when == "steady_state":
            text = f"{self.formula!r} at steady state"
        else:
            text = f"{self.when} of {self.formula!r} from {self.start} to {self.end}"
        if self.gate:
            text += f", fraction above {self.gate.threshold:g}"
        if self.relative:
            what = ", ".join(f"{name}={value}" for name, value in _plain(self.relative.reference))
            text += f", {self.relative.how.replace('_', ' ')} over {what}"
        if self.of_maximum:
            text += ", % of maximum"
        return f"Readout({text})"


def _plain(condition: Condition) -> list[tuple[str, str]]:
    return [(n, f"{v:g}" if isinstance(v, float) else str(v)) for n, v in condition.changes.items()]


def _time(value: float | str | Quantity) -> Quantity:
    given = quantity(value, "time of a read-out")
    if math.isnan(given.value):
        raise InputError("the time of a read-out must not be NaN")
    return given


# --- measuring ----------------------------------------------------------------------------------------------


def measure(
    model: Model,
    experiments: Sequence[Experiment],
    readout: Readout,
    *,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
    progress: bool | None = None,
) -> FloatArray:
    """The read-out of each experiment, shape ``(n_experiments,)``, relative to its reference where it has one.

    ``percent_of_maximum`` takes the largest of these values as 100; ``progress`` is that of `simulate_many`.

    Raises:
        SimulationError: a value is NaN, or a reference is 0.
    """
    values = _raw(model, experiments, readout, solver, parameters, progress)
    if readout.relative:
        reference = _raw(
            model, reference_experiments(experiments, readout.relative), readout, solver, parameters, progress
        )
        if np.any(reference == 0.0):
            raise SimulationError(
                f"{readout!r} is 0 under its reference in model {model.name!r}: a ratio to it has no meaning"
            )
        values = in_relation(readout.relative.how, values, reference)
    return percent_of_largest(values, what=f"{readout!r}: ") if readout.of_maximum else values


def percent_of_largest(
    values: FloatArray,
    among: FloatArray | None = None,
    *,
    what: str = "",
    error: type[KineticsError] = SimulationError,
) -> FloatArray:
    """Values in percent of the largest of them, or of the largest ``among`` others; same shape.

    Raises:
        SimulationError: the largest is not above 0; ``error`` instead, where the values were given and not computed.
    """
    largest = float(np.max(values if among is None else among))
    if not largest > 0.0:
        raise error(f"{what}the largest response is {largest:g}, so there is no percentage of it")
    return np.asarray(100.0 * values / largest)


def reference_experiments(experiments: Sequence[Experiment], relative: Relative) -> list[Experiment]:
    """What the experiments are compared with, one each, or one for all where they share it."""
    changes = dict(relative.reference.changes)
    against = [experiment.replacing(changes) for experiment in experiments]
    return against[:1] if all(experiment.periods == against[0].periods for experiment in against) else against


def in_relation(how: str, values: FloatArray, reference: FloatArray) -> FloatArray:
    """Values in the words of `Relative`: ``"fold"``, ``"percent"`` or ``"percent_inhibition"`` of a reference."""
    ratio = values / reference
    return {"fold": ratio, "percent": 100.0 * ratio, "percent_inhibition": 100.0 * (1.0 - ratio)}[how]


def _raw(
    model: Model,
    experiments: Sequence[Experiment],
    readout: Readout,
    solver: Solver | None,
    parameters: Mapping[str, float] | None,
    progress: bool | None,
) -> FloatArray:
    def run(times: FloatArray) -> list[FloatArray]:
        courses = simulate_many(
            model, experiments, times, {"readout": readout.formula}, solver=solver, parameters=parameters,
            progress=progress,
        )  # fmt: skip
        return [course.values[:, 0] for course in courses]

    if readout.when in ("value", "steady_state"):
        time = math.inf if readout.time is None else time_in(model, readout.time)
        values = np.array([column[-1] for column in run(np.array([time]))])
    else:
        assert readout.start is not None and readout.end is not None
        start, end = time_in(model, readout.start), time_in(model, readout.end)
        if not (start < end < math.inf):
            raise InputError(f"the window of {readout!r} must have start < end, both finite")
        jumps = {stage.start for experiment in experiments for stage in resolve(model, experiment)}
        edges = [start, *sorted(time for time in jumps if start < time < end), end]
        values = _refined(edges, run, readout.when)
    bad = np.nonzero(~np.isfinite(values))[0]
    if len(bad) and readout.when != "half_time":
        found = "NaN" if math.isnan(values[bad[0]]) else f"{values[bad[0]]:g}"
        raise SimulationError(f"{readout!r} of model {model.name!r} is {found} in experiment {int(bad[0]) + 1}")
    return values if readout.gate is None else readout.gate.fraction(values)


def _refined(edges: list[float], run: Callable[[FloatArray], list[FloatArray]], when: When) -> FloatArray:
    """Double the grid until the read-out stops changing.

    Periods that start inside the window (``edges``) may make the observable jump, so each stretch between them has
    a grid of its own, half of whose points crowd at its start, and ends just before the jump.
    """
    count, before, extra = 129, None, np.array([])
    while True:
        grids = []
        for left, right in itertools.pairwise(edges):
            early = left + (right - left) * np.concatenate(([0.0], np.geomspace(1e-5, 1.0, count // 2)))
            grid = np.union1d(early, np.linspace(left, right, count // 2 + 1))
            last = right - (2.0 * JUST_BEFORE * (right - left) if right < edges[-1] else 0.0)
            grid = np.union1d(grid, extra[(extra > left) & (extra < last)])
            if right < edges[-1]:
                grid[-1] = right - JUST_BEFORE * (right - left)
            grids.append(grid)
        ends = np.cumsum([len(grid) for grid in grids])[:-1]
        columns = run(np.concatenate(grids))
        values = np.array([_reduce(grids, np.split(column, ends), when) for column in columns])
        if before is not None:
            with np.errstate(invalid="ignore"):
                change = np.abs(values - before) > REFINE_TO * np.abs(values) + 1e-300
            if not np.any(change) or count >= MOST_POINTS:
                return values
        if when == "peak":  # an event may have put the highest point anywhere: close in on it
            times = np.concatenate(grids)
            tops = {int(np.argmax(column)) for column in columns}
            nearby = [np.linspace(times[max(i - 1, 0)], times[min(i + 1, len(times) - 1)], 17) for i in tops]
            extra = np.union1d(extra, np.concatenate(nearby))
        before, count = values, 2 * count - 1


def _reduce(grids: list[FloatArray], parts: list[FloatArray], when: When) -> float:
    """One number from the values on each stretch."""
    from scipy.interpolate import CubicSpline, PchipInterpolator

    if any(np.any(np.isnan(part)) for part in parts):
        return math.nan
    if when == "area":
        pieces = zip(grids, parts, strict=True)
        return math.fsum(float(CubicSpline(grid, part).integrate(grid[0], grid[-1])) for grid, part in pieces)
    if when == "peak":
        return max(_peak(grid, part) for grid, part in zip(grids, parts, strict=True))
    times, column = np.concatenate(grids), np.concatenate(parts)
    change = column - column[0]
    extreme = change[int(np.argmax(np.abs(change)))]
    if abs(extreme) <= 1e-12 * max(float(np.max(np.abs(column))), 1e-300):
        return math.nan
    fraction = change / extreme
    first = int(np.argmax(fraction >= 0.5))
    low, high = max(0, first - 3), min(len(times), first + 3)
    roots = PchipInterpolator(times[low:high], fraction[low:high] - 0.5).roots(extrapolate=False)
    inside = [root for root in roots if times[max(first - 1, 0)] <= root <= times[first]]
    return float((inside[0] if inside else times[first]) - times[0])


def _peak(times: FloatArray, column: FloatArray) -> float:
    """The vertex of the parabola through the highest point and its neighbours, where the curve is smooth there.

    At an end point, or beside a jump that an event makes, the highest point counts as it is.
    """
    top = int(np.argmax(column))
    if top < 2 or top > len(column) - 3:
        return float(column[top])
    bends = [np.polyfit(times[i - 1 : i + 2] - times[i], column[i - 1 : i + 2], 2)[0] for i in (top - 1, top, top + 1)]
    if not max(bends) < 0.0 or min(bends) < 3.0 * max(bends):
        return float(column[top])
    x, y = times[top - 1 : top + 2] - times[top], column[top - 1 : top + 2]
    a, b, c = np.polyfit(x, y, 2)
    return float(c - b * b / (4.0 * a)) if a < 0.0 else float(column[top])
