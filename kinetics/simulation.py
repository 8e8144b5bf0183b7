"""Run experiments on models: ``simulate(model, experiment, times, observables)``.

Order at the start of each period, as in PEtab v2: the values of all changes are evaluated on the state just
before it, then all are applied at once, then the integration goes on; at the very start the model is first
brought to its initial state, and initial assignments that follow from changed values are evaluated again.
At the time where a period starts, read-outs show the state after its changes.
"""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from kinetics.engine import Engine, Snapshot, Solver
from kinetics.errors import InputError, IntegrationFailed, InvalidModel, NoSteadyState, UnknownName
from kinetics.events import fire, triggers
from kinetics.experiment import Added, Experiment, Period, Value
from kinetics.expression import Expression, Number, Symbol, evaluate
from kinetics.model import Model
from kinetics.timecourse import Status, TimeCourse
from kinetics.units import Quantity, convert, quantity

FloatArray = npt.NDArray[np.float64]

SAME_TIME = 1e-12  # relative; times that differ by rounding are one
STEADY_FACTOR = 100.0  # the drift allowed at steady state, in units of the relative tolerance
LONGEST_EQUILIBRATION = 1e10  # model time; no living system is meant to be slower


Changes = tuple[tuple[str, float | Expression], ...]  # what to set: values in the model's units, or formulas


@dataclass(frozen=True)
class Stage:
    """A period resolved against a model: when it starts, and what is set there in the model's units."""

    start: float
    changes: Changes


@dataclass(frozen=True)
class Reading:
    """What to read from the engine, and how observables follow from it."""

    names: tuple[str, ...]
    formulas: tuple[Expression, ...]
    symbols: tuple[str, ...]  # entities the formulas need
    selections: tuple[str, ...]  # the engine's words for them; "time" first

    @classmethod
    def of(cls, model: Model, observables: Iterable[str] | Mapping[str, str]) -> Reading:
        if isinstance(observables, str):
            observables = (observables,)
        texts = dict(observables) if isinstance(observables, Mapping) else {name: name for name in observables}
        if not texts:
            raise InputError("nothing to observe: pass at least one species, parameter, readout or formula")
        formulas = tuple(model.formula(text, f"observable {name!r}") for name, text in texts.items())
        symbols = tuple(sorted(set().union(*(formula.names for formula in formulas)) - {"$time"}))
        model.require(symbols)
        selections = ("time", *(model.entity(name).selection for name in symbols))
        return cls(tuple(texts), formulas, symbols, selections)

    def evaluate(self, table: FloatArray) -> FloatArray:
        """Observables, shape ``(n_times, n_observables)``, from the engine's columns."""
        if len(self.formulas) == 1 and len(self.symbols) == 1 and isinstance(self.formulas[0], Symbol):
            return table[:, 1:]  # a symbol as it is, the common case
        environment: dict[str, npt.ArrayLike] = {"$time": table[:, 0]}
        for index, name in enumerate(self.symbols):
            environment[name] = table[:, index + 1]
        values = np.empty((len(table), len(self.formulas)))
        for index, formula in enumerate(self.formulas):
            with np.errstate(all="ignore"):
                values[:, index] = evaluate(formula, environment)
        return values


# --- what is asked, in the model's units --------------------------------------------------------------------


def time_in(model: Model, value: float | str | Quantity, what: str = "time") -> float:
    """A time in the model's unit; a plain number is taken to be in it."""
    given = quantity(value, what)
    if math.isnan(given.value):
        raise InputError(f"{what} must not be NaN")
    return convert(given, model.time_unit, what=what)


def value_in(model: Model, target: str, value: float | str | Quantity) -> float:
    """A dose or parameter value in the model's unit."""
    entity = model.entity(target)
    number = convert(
        quantity(value, f"value of {target!r}"),
        entity.unit,
        molar_mass=model.molar_masses.get(target),
        what=f"value of {target!r}",
    )
    _check_value(model, target, number)
    return number


def _check_value(model: Model, target: str, number: float) -> None:
    kind = model.entity(target).kind
    if not math.isfinite(number):
        raise InputError(f"value of {target!r} must be finite, got {number}")
    if kind == "species" and number < 0.0:
        raise InputError(f"the concentration of {target!r} must not be negative, got {number:g}")
    if kind == "compartment" and number <= 0.0:
        raise InputError(f"the size of compartment {target!r} must be positive, got {number:g}")


def _change(model: Model, target: str, value: Value) -> float | Expression:
    entity = model.entity(target)
    if not entity.settable:
        reason = "an assignment rule determines it" if entity.rule == "assignment" else f"it is a {entity.kind}"
        raise InputError(f"{target!r} of model {model.name!r} cannot be set: {reason}")
    if isinstance(value, Added):
        return Symbol(target) + value_in(model, target, value.amount)
    if isinstance(value, str | Expression):
        formula = model.formula(value, f"value of {target!r}") if isinstance(value, str) else value
        if isinstance(formula, Number):
            _check_value(model, target, formula.value)
            return formula.value
        return formula
    return value_in(model, target, value)


Resolved = dict[int, tuple[Period, float, Changes]]


def resolve(model: Model, experiment: Experiment | None, seen: Resolved | None = None) -> tuple[Stage, ...]:
    """The periods in order of time, in the model's units; periods that start together become one.

    Args:
        seen: remembers periods by identity, so that what many experiments share is resolved once.

    Raises:
        UnknownName, UnitError, InputError: a change cannot be applied to this model.
    """
    seen = {} if seen is None else seen
    if experiment is not None and not isinstance(experiment, Experiment):
        raise InputError(f"expected an Experiment, got {experiment!r}")
    merged: dict[float, Changes] = {}
    for period in (experiment or Experiment()).periods:
        if id(period) not in seen:  # the entry keeps the period alive, so its id stays its own
            seen[id(period)] = (period, *_resolved(model, period))
        _, start, changes = seen[id(period)]
        start = next((other for other in merged if _same(start, other)), start)
        merged[start] = _joined(start, merged[start] + changes) if start in merged else changes
    if not any(math.isfinite(start) for start in merged):
        merged[0.0] = ()
    return tuple(Stage(start, merged[start]) for start in sorted(merged))


def _same(one: float, other: float) -> bool:
    return one == other or (
        math.isfinite(one) and math.isfinite(other) and abs(one - other) <= SAME_TIME * max(abs(one), abs(other))
    )


def _resolved(model: Model, period: Period) -> tuple[float, Changes]:
    start = time_in(model, period.start, "start of a period") if math.isfinite(period.start.value) else -math.inf
    changes = [
        (target, _change(model, target, value))
        for condition in period.conditions
        for target, value in condition.changes.items()
    ]
    return start, _joined(start, tuple(changes))


def _joined(start: float, changes: Changes) -> Changes:
    """Changes in order of name; refuses a target that is set twice."""
    ordered = sorted(changes, key=lambda change: change[0])
    for (one, _), (other, _) in itertools.pairwise(ordered):
        if one == other:
            raise InputError(f"{one!r} is set twice at time {start:g}")
    return tuple(ordered)


def _times(model: Model, times: npt.ArrayLike | Iterable[str], start: float) -> FloatArray:
    raw: list[float | str | Quantity]
    if isinstance(times, str | int | float | Quantity):
        raw = [times]
    else:
        try:
            raw = list(cast("Iterable[float | str | Quantity]", times))
        except TypeError:
            raise InputError(f"times must be numbers or text with a unit, got {times!r}") from None
    values = np.array([time_in(model, item) for item in raw], dtype=np.float64)
    if len(values) == 0:
        raise InputError("times are empty: pass at least one time to read at")
    with np.errstate(invalid="ignore"):
        rising = np.diff(values) > 0.0
    if not np.all(rising):
        raise InputError(f"times must increase strictly, got {_short(values)}")
    if values[0] < start and not _same(float(values[0]), start):
        raise InputError(f"times must not lie before the first period ({start:g}), got {values[0]:g}")
    return values


def _short(values: FloatArray) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    return f"[{shown}{', ...' if len(values) > 8 else ''}]"


# --- the run ------------------------------------------------------------------------------------------------


class _Run:
    """One parameter set of one model: runs experiments, reusing what periods share."""

    def __init__(self, model: Model, reading: Reading, solver: Solver, parameters: Mapping[str, float]) -> None:
        self.model, self.reading, self.solver = model, reading, solver
        self.values = {**model.values, **parameters}
        for name, value in self.values.items():
            entity = model.entity(name)
            if not isinstance(value, numbers.Real):
                raise InputError(f"value of {name!r} must be a number in the model's unit, got {value!r}")
            if not entity.settable:
                raise InputError(f"{name!r} of model {model.name!r} cannot be set: an assignment rule determines it")
            _check_value(model, name, float(value))
        self.engine: Engine = model.engine()
        self.clock = 0.0  # what `time` means in the formula of a change; the engine's own clock may be elsewhere
        description = model.description
        varying = any(e.kind == "stoichiometry" and e.rule for e in description.entities.values())
        self.shares = not description.events and not varying
        self._shared: dict[tuple[object, ...], tuple[Snapshot, FloatArray]] = {}

    # initial state

    def _begin(self, changes: Changes) -> None:
        self.engine.reset(self.solver)
        self.engine.set_time(self.clock)
        if self.values:
            self._set(self.values)
            self._reassign(self.values)
        values = self._evaluated(changes)
        self._set(values)
        entities = self.model.description.entities
        changed = {name for name in values if entities[name].constant or entities[name].kind != "species"}
        self._reassign(changed, keep={*values, *self.values})

    def _reassign(self, changed: Iterable[str], keep: Iterable[str] = ()) -> None:
        """Evaluate again what initial assignments make of changed values; the engine does not."""
        description, changed = self.model.description, set(changed)
        kept = {*changed, *keep}
        for name in changed:  # an initial concentration stays what the file says when the volume changes
            if description.entities[name].kind == "compartment":
                self._keep_concentrations(name, kept)
        for name in description.in_order(description.depends_on(changed) - kept):
            formula = description.initial[name]
            if isinstance(formula, str):
                raise InvalidModel(f"the initial assignment of {name!r} cannot be evaluated: {formula}")
            value = self._value(formula)
            self.engine.set({description.entities[name].selection: value})
            if description.entities[name].kind == "compartment":
                self._keep_concentrations(name, kept)

    def _keep_concentrations(self, compartment: str, kept: set[str]) -> None:
        for item in self.model.description.entities.values():
            stated = item.kind == "species" and not item.amount and not item.stated_as_amount
            if stated and item.compartment == compartment and item.id not in kept and item.value is not None:
                if not item.rule:
                    self.engine.set({item.selection: item.value})

    # changes

    def _value(self, formula: Expression) -> float:
        if isinstance(formula, Number):
            return formula.value
        environment: dict[str, npt.ArrayLike] = {
            name: self.clock if name == "$time" else self.engine.get(self.model.entity(name).selection)
            for name in formula.names
        }
        return float(evaluate(formula, environment))

    def _evaluated(self, changes: Changes) -> dict[str, float]:
        values: dict[str, float] = {}
        for target, change in changes:
            if isinstance(change, Expression):
                values[target] = self._value(change)
                _check_value(self.model, target, values[target])
            else:
                values[target] = change
        return values

    def _set(self, values: Mapping[str, float]) -> None:
        """Compartments first, then parameters, then species, so that concentrations meet the new volumes."""
        order = {"compartment": 0, "parameter": 1, "species": 2}
        entities = self.model.description.entities
        for name in sorted(values, key=lambda item: order[entities[item].kind]):
            self.engine.set({entities[name].selection: float(values[name])})

    def _apply(self, changes: Changes) -> None:
        if not changes:
            return
        values = self._evaluated(changes)
        entities = self.model.description.entities
        if len(values) == 1 and entities[changes[0][0]].kind == "species":
            self.engine.set({entities[changes[0][0]].selection: values[changes[0][0]]})
            return
        held: dict[str, float] = {}
        for name in values:
            if entities[name].kind == "compartment":  # concentrations stay, amounts follow the new volume
                for item in entities.values():
                    if item.kind == "species" and item.compartment == name and not item.amount and not item.rule:
                        held[item.id] = self.engine.get(item.selection)
        self._set({**held, **values})

    # integration

    def _integrate(self, times: Sequence[float], experiment: str) -> FloatArray:
        self.engine.rescale()
        try:
            table = self.engine.run(times, self.reading.selections)
        except IntegrationFailed as error:
            raise self._failure(str(error), times, experiment) from None
        return table

    def _failure(self, text: str, times: Sequence[float], experiment: str) -> IntegrationFailed:
        values = ", ".join(f"{name}={value:g}" for name, value in list(self.values.items())[:8])
        return IntegrationFailed(
            f"model {self.model.name!r}, experiment {experiment or 'unnamed'!r}, between times {times[0]:g} and "
            f"{times[-1]:g}{' with ' + values if values else ''}: {text} Try looser tolerances "
            f"(now rtol={self.solver.rtol:g}, atol={self.solver.atol:g}), more max_steps, or check for values "
            "that grow without bound."
        )

    def _now(self, time: float) -> FloatArray:
        self.engine.set_time(time)
        return np.array([[time, *(self.engine.get(selection) for selection in self.reading.selections[1:])]])

    def _equilibrate(self, start: float, experiment: str) -> FloatArray:
        """Integrate until the present drift, kept up for the whole time spent, would not matter any more."""
        entities = self.model.description.entities
        states = self.model.description.states
        unit = self.model.time_unit or "time units"
        time, span, worst, moving = start, 10.0, math.inf, ""
        while True:
            try:
                self._integrate((time, time + span), experiment)
            except IntegrationFailed as error:
                raise NoSteadyState(
                    f"model {self.model.name!r}, experiment {experiment or 'unnamed'!r}: no steady state within "
                    f"{time - start:g} {unit}{f'; {moving!r} moved last' if moving else ''}. {error}"
                ) from None
            time += span
            worst, moving, atol = 0.0, "", self.engine.rescale()
            for name in states:
                entity = entities[name]
                value, rate = self.engine.get(entity.engine_id), self.engine.get(f"{entity.engine_id}'")
                if entity.kind == "species" and entity.rule == "rate" and not entity.amount:
                    value = self.engine.get(entity.selection)
                drift = abs(rate) * (time - start) / (abs(value) + 1e4 * atol)
                if not drift <= worst:  # NaN counts as the worst
                    worst, moving = drift, name
            if worst <= STEADY_FACTOR * self.solver.rtol:
                return self._now(time)
            if span >= LONGEST_EQUILIBRATION or math.isnan(worst):
                rate = self.engine.get(f"{entities[moving].engine_id}'")
                raise NoSteadyState(
                    f"model {self.model.name!r}, experiment {experiment or 'unnamed'!r}: no steady state after "
                    f"{time - start:g} {unit}; {moving!r} still changes, at {rate:g} per {unit} "
                    f"(value {self.engine.get(entities[moving].engine_id):g})"
                )
            span *= 10.0

    def __call__(self, stages: tuple[Stage, ...], times: FloatArray, experiment: str) -> FloatArray:
        """The engine's columns at ``times``, shape ``(n_times, n_selections)``."""
        parts: list[FloatArray] = []
        first = self._resume(stages, times, parts)
        for index in range(first, len(stages)):
            stage = stages[index]
            last = index + 1 == len(stages)
            end = math.inf if last else stages[index + 1].start
            self.clock = 0.0 if math.isinf(stage.start) else stage.start
            self.engine.set_time(self.clock)
            if index == 0:
                self._begin(stage.changes)
            elif self.model.description.events:
                before = triggers(self.model.description.events, self._value)
                self._apply(stage.changes)
                fire(self.model, before, self._value, self._set)
            else:
                self._apply(stage.changes)
            begin = stage.start
            if math.isinf(begin):
                self._equilibrate(0.0, experiment)
                parts.append(np.empty((0, len(self.reading.selections))))
            else:
                parts.append(self._stage(begin, end, last, times, experiment))
            if not last and self.shares:
                self._shared[(stages[: index + 1], end)] = (self.engine.snapshot(), parts[-1])
        return np.concatenate(parts)

    def _resume(self, stages: tuple[Stage, ...], times: FloatArray, parts: list[FloatArray]) -> int:
        """Start from the longest stretch of periods that was run before; returns the index of the next stage."""
        for count in range(len(stages) - 1, 0, -1):
            if (stages[:count], stages[count].start) in self._shared:
                for index in range(1, count + 1):
                    parts.append(self._shared[(stages[:index], stages[index].start)][1])
                self.engine.restore(self._shared[(stages[:count], stages[count].start)][0])
                return count
        return 0

    def _stage(self, begin: float, end: float, last: bool, times: FloatArray, experiment: str) -> FloatArray:
        if (
            last and len(times) == 1 and begin < times[0] < math.inf and not _same(begin, float(times[0]))
        ):  # a dose-response reads one time: no detours
            return self._integrate((begin, float(times[0])), experiment)[1:]
        for edge in (begin, end):  # a time that misses the edge of a period by rounding means the edge
            if math.isfinite(edge):
                near = np.abs(times - edge) <= SAME_TIME * abs(edge)
                times = np.where(near, edge, times) if np.any(near) else times
        wanted = times[(times >= begin) & ((times <= end) if last else (times < end))]
        finite = wanted[np.isfinite(wanted)]
        stop = (finite[-1] if len(finite) else begin) if last else end
        grid = np.union1d(np.concatenate(([begin], finite)), [stop])
        table: FloatArray
        if len(grid) > 1:
            table = self._integrate(grid.tolist(), experiment)
        elif self.model.description.events and len(finite):  # events at the very start need a step to happen
            table = self._integrate([begin, begin + 1.0], experiment)[:1]
        else:
            table = self._now(begin)
        rows = table[np.searchsorted(grid, finite)] if len(finite) else table[:0]
        if len(wanted) > len(finite):  # a time of +inf asks for the steady state
            final = self._equilibrate(float(stop), experiment)
            final[0, 0] = math.inf
            rows = np.concatenate((rows, final))
        return rows


def simulate_many(
    model: Model,
    experiments: Sequence[Experiment],
    times: npt.ArrayLike | Sequence[str],
    observables: Iterable[str] | Mapping[str, str],
    *,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
) -> list[TimeCourse]:
    """Several experiments at the same times.  Periods they have in common are integrated once.

    Sharing changes nothing: the result is that of single runs to the last bit.  Models with events are run from
    the start each time, because pending events cannot be handed on.

    Arguments and errors are those of `simulate`.
    """
    if isinstance(observables, str):
        observables = (observables,)
    reading = Reading.of(model, observables)
    settings = solver or Solver()
    run = _Run(model, reading, settings, parameters or {})
    texts = list(observables.values()) if isinstance(observables, Mapping) else list(reading.names)
    units = tuple(model.unit_of(text) for text in texts)
    results = []
    seen: Resolved = {}
    grids: dict[float, FloatArray] = {}
    for experiment in experiments:
        stages = resolve(model, experiment, seen)
        start = next(stage.start for stage in stages if math.isfinite(stage.start))
        if start not in grids:
            grids[start] = _times(model, times, start)
        grid = grids[start]
        with run.engine.lock:
            table = run(_until(stages, grid[-1]), grid, experiment.id)
        results.append(
            TimeCourse(
                grid,
                reading.evaluate(table),
                reading.names,
                units,
                model.time_unit,
                model.name,
                experiment.id,
                settings,
                Status.STEADY if np.isinf(grid[-1]) else Status.COMPLETED,
            )
        )
    return results


def _until(stages: tuple[Stage, ...], last: float) -> tuple[Stage, ...]:
    """Periods that start after the last time are not run."""
    return tuple(stage for stage in stages if stage.start <= last)


def simulate(
    model: Model,
    experiment: Experiment | None = None,
    times: npt.ArrayLike | Sequence[str] = (),
    observables: Iterable[str] | Mapping[str, str] = (),
    *,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
) -> TimeCourse:
    """Run one experiment on a model and read it at some times.

    Args:
        experiment: what is done to the cells; ``None`` runs the model as it is, from time 0.
        times: strictly increasing, numbers in the model's time unit or text with a unit; ``inf`` as the last one
            asks for the steady state.
        observables: species, parameters, readouts or formulas; or formulas by name.  Species are
            concentrations, or amounts where the model says so.
        solver: tolerances; the default is rtol 1e-8, atol 1e-12.
        parameters: values that replace the model's before anything else, in its units.

    Returns:
        Values of shape ``(n_times, n_observables)`` with units.

    Raises:
        InputError, UnknownName, UnitError: the request cannot be meant.
        MissingValue: the result depends on a value the model leaves out.
        IntegrationFailed, NoSteadyState: the computation failed.

    Example:
        >>> model = Model.load("il7_stat5_imatinib")
        >>> course = simulate(model, Experiment.steps(("30 min", {"IL7": "1 ng/ml"})), [0, 10, 30], ["pSTAT5_total"])
        >>> course["pSTAT5_total"].shape
        (3,)
    """
    if not isinstance(model, Model):
        raise UnknownName("model object", repr(model)[:40], ("Model.load(...)",))
    names: Iterable[str] | Mapping[str, str] = observables or tuple(model.readouts) or model.species
    return simulate_many(model, [experiment or Experiment()], times, names, solver=solver, parameters=parameters)[0]
