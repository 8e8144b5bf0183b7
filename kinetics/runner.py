"""Run resolved experiments on the engine, period by period."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kinetics.engine import Engine, Snapshot, Solver
from kinetics.errors import InputError, IntegrationFailed, InvalidModel, NoSteadyState
from kinetics.events import fire, triggers
from kinetics.expression import Expression, Number, evaluate
from kinetics.model import Model
from kinetics.schedule import SAME_TIME, Changes, Stage, check_value, same_time

FloatArray = npt.NDArray[np.float64]

STEADY_FACTOR = 100.0  # the drift allowed at steady state, in units of the relative tolerance
LONGEST_EQUILIBRATION = 1e10  # model time; no living system is meant to be slower


class Runner:
    """One model under one solver: runs experiments, reusing what periods share under one parameter set."""

    def __init__(self, model: Model, selections: Sequence[str], solver: Solver) -> None:
        """``selections`` are the engine's words for what is read, ``"time"`` first."""
        self.model, self.selections, self.solver = model, tuple(selections), solver
        self.engine: Engine = model.engine()
        self.clock = 0.0  # what `time` means in the formula of a change; the engine's own clock may be elsewhere
        description = model.description
        varying = any(e.kind == "stoichiometry" and e.rule for e in description.entities.values())
        self.shares = not description.events and not varying
        self._shared: dict[tuple[object, ...], tuple[Snapshot, list[FloatArray]]] = {}
        self._ruled_compartments = [
            e.id for e in description.entities.values() if e.kind == "compartment" and e.rule == "assignment"
        ]
        self._orders: dict[frozenset[str], tuple[str, ...]] = {}
        self.values: dict[str, float] = {}
        self.symbols: Mapping[str, float] = {}
        self.prepare({})

    def prepare(self, parameters: Mapping[str, float], symbols: Mapping[str, float] | None = None) -> None:
        """Take a parameter set: ``parameters`` of the model, ``symbols`` that only formulas know.

        Raises:
            UnknownName, InputError: a parameter is not the model's, cannot be set, or has no meaning.
        """
        values = {**self.model.values, **parameters}
        for name, value in values.items():
            entity = self.model.entity(name)
            if not isinstance(value, numbers.Real):
                raise InputError(f"value of {name!r} must be a number in the model's unit, got {value!r}")
            if not entity.settable:
                raise InputError(f"{name!r} of model {self.model.name!r} cannot be set: {entity.why_fixed}")
            check_value(self.model, name, float(value))
        self.values, self.symbols = values, symbols or {}
        self._shared.clear()

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
        self._reassign(changed, keep={*values, *self.values}, now=values)
        # Doses are concentrations: a volume that has just followed a parameter must not dilute them.
        self._set({name: value for name, value in values.items() if entities[name].kind == "species"})

    def _reassign(self, changed: Iterable[str], keep: Iterable[str] = (), now: Collection[str] = ()) -> None:
        """Evaluate again what initial assignments make of changed values; the engine does not.

        ``keep`` names what must not follow, ``now`` what was set together with the changes.
        """
        description, changed = self.model.description, set(changed)
        kept = {*changed, *keep}
        # An initial concentration stays what the file says when the volume changes, be it by a rule.
        resized = [name for name in changed if description.entities[name].kind == "compartment"]
        resized += [name for name in self._ruled_compartments if name in description.following(changed)]
        for name in resized:
            self._keep_concentrations(name, now)
        key = frozenset(changed) | {f"-{name}" for name in kept}
        if key not in self._orders:
            self._orders[key] = description.in_order(description.depends_on(changed) - kept)
        for name in self._orders[key]:
            formula = description.initial[name]
            if isinstance(formula, str):
                raise InvalidModel(f"the initial assignment of {name!r} cannot be evaluated: {formula}")
            value = self._value(formula)
            self.engine.set({description.entities[name].selection: value})
            if description.entities[name].kind == "compartment":
                self._keep_concentrations(name, now)

    def _keep_concentrations(self, compartment: str, now: Collection[str]) -> None:
        for item in self.model.description.entities.values():
            if item.kind != "species" or item.compartment != compartment or item.amount or item.id in now:
                continue
            stated = item.value if not item.stated_as_amount else None
            value = self.values.get(item.id, stated)
            if value is not None and item.rule != "assignment":
                self.engine.set({item.selection: float(value)})

    # changes

    def _value(self, formula: Expression) -> float:
        if isinstance(formula, Number):
            return formula.value
        environment: dict[str, npt.ArrayLike] = {
            name: self.clock if name == "$time" else self._current(name) for name in formula.names
        }
        return float(evaluate(formula, environment))

    def _current(self, name: str) -> float:
        """What a name means now: the model's own state first, then what only formulas know."""
        entity = self.model.description.entities.get(name)
        return self.symbols[name] if entity is None else self.engine.get(entity.selection)

    def _evaluated(self, changes: Changes) -> dict[str, float]:
        values: dict[str, float] = {}
        for target, change in changes:
            if isinstance(change, Expression):
                values[target] = self._value(change)
                check_value(self.model, target, values[target])
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
                    free = item.kind == "species" and not item.amount and item.rule != "assignment"
                    if free and item.compartment == name:
                        held[item.id] = self.engine.get(item.selection)
        self._set({**held, **values})

    # integration

    def _integrate(self, times: Sequence[float], experiment: str) -> FloatArray:
        self.engine.rescale(times[-1] - times[0])
        try:
            table = self.engine.run(times, self.selections)
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
        return np.array([[time, *(self.engine.get(selection) for selection in self.selections[1:])]])

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
            worst, moving, atol = 0.0, "", self.engine.rescale(span)
            for name in states:
                symbol = entities[name].engine_id  # of species: amounts, which is what the rates are of
                value, rate = self.engine.get(symbol), self.engine.rate(symbol)
                drift = abs(rate) * (time - start) / (abs(value) + 1e4 * atol)
                if not drift <= worst:  # NaN counts as the worst
                    worst, moving = drift, name
            if worst <= STEADY_FACTOR * self.solver.rtol:
                return self._now(time)
            if span >= LONGEST_EQUILIBRATION or math.isnan(worst):
                rate = self.engine.rate(entities[moving].engine_id)
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
                if math.isfinite(stages[index - 1].start):  # an event at this very time comes after the changes
                    self.clock = math.nextafter(stage.start, -math.inf)
                before = triggers(self.model.description.events, self._value)
                self.clock = stage.start
                self._apply(stage.changes)
                fire(self.model, before, self._value, self._set)
            else:
                self._apply(stage.changes)
            begin = stage.start
            if math.isinf(begin):
                self._equilibrate(0.0, experiment)
                parts.append(np.empty((0, len(self.selections))))
            else:
                parts.append(self._stage(begin, end, last, times, experiment))
            if not last and self.shares:
                self._shared[_stretch(stages, index + 1, times)] = (self.engine.snapshot(), list(parts))
        return np.concatenate(parts)

    def _resume(self, stages: tuple[Stage, ...], times: FloatArray, parts: list[FloatArray]) -> int:
        """Start from the longest stretch of periods that was run before; returns the index of the next stage."""
        if not self.shares:
            return 0
        for count in range(len(stages) - 1, 0, -1):
            known = self._shared.get(_stretch(stages, count, times))
            if known is not None:
                parts.extend(known[1])
                self.engine.restore(known[0])
                return count
        return 0

    def _switches(self, begin: float, end: float) -> FloatArray:
        """Times between ``begin`` and ``end`` at which something is switched by the clock, and just after them.

        Reading there keeps the engine from stepping over a pulse that is on and off again within one step.
        """
        found = []
        for formula in self.model.description.switches:
            value = self._value(formula)
            after = value + 1e-9 * max(abs(value), end - begin)
            found += [time for time in (value, after) if begin < time < end]
        return np.array(found)

    def _stage(self, begin: float, end: float, last: bool, times: FloatArray, experiment: str) -> FloatArray:
        if (
            not self.model.description.switches
            and last
            and len(times) == 1
            and begin < times[0] < math.inf
            and not same_time(begin, float(times[0]))
        ):  # a dose-response reads one time: no detours
            return self._integrate((begin, float(times[0])), experiment)[1:]
        for edge in (begin, end):  # a time that misses the edge of a period by rounding means the edge
            if math.isfinite(edge):
                near = np.abs(times - edge) <= SAME_TIME * abs(edge)
                times = np.where(near, edge, times) if np.any(near) else times
        wanted = times[(times >= begin) & ((times <= end) if last else (times < end))]
        finite = wanted[np.isfinite(wanted)]
        stop = (finite[-1] if len(finite) else begin) if last else end
        if not last and self.model.description.events:
            stop = math.nextafter(stop, begin)
        grid = np.union1d(np.concatenate(([begin], finite)), [stop])
        if self.model.description.switches and len(grid) > 1:
            grid = np.union1d(grid, self._switches(float(grid[0]), float(grid[-1])))
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


def _stretch(stages: tuple[Stage, ...], count: int, times: FloatArray) -> tuple[object, ...]:
    """What the first ``count`` periods depend on: themselves, where they end, and the times read within them."""
    end = stages[count].start
    inside = () if not len(times) or times[0] >= end else tuple(times[times < end].tolist())
    return (stages[:count], end, inside)
