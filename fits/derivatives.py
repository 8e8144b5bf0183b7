"""Exact derivatives of a trial's outputs by the parameters of the problem.

The states come from the engine; their sensitivities follow from the variational equations along the trajectory
(`kinetics.variational`), through periods, doses, pre-equilibration and initial values; observables, sigmas and
parameters that only enter formulas are algebra on top.  Where a derivative is not certain, ``inexact`` says so and
the caller takes finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.parameters import ParameterSet
from fits.trial import Trial
from kinetics.codegen import Compiled, compile_numpy
from kinetics.differentiation import gradient
from kinetics.engine import Snapshot, Solver
from kinetics.equations import Equations, read_equations
from kinetics.errors import IntegrationFailed, KineticsError
from kinetics.expression import TIME_NAME, Expression, Symbol
from kinetics.model import Model
from kinetics.runner import Runner
from kinetics.schedule import Stage
from kinetics.slopes import jump, starting_point
from kinetics.steady_state import SteadyState
from kinetics.variational import Variational

FloatArray = npt.NDArray[np.float64]
Slopes = dict[tuple[str, str], float]

TOLERANCE = 1e-6  # of one step of the variational equations


def _given(target: str) -> str:
    """The name under which a number that a condition sets enters formulas, so that conditions share code."""
    return f"given:{target}"


def _as_formulas(stage: Stage) -> tuple[dict[str, Expression], dict[str, float]]:
    """A stage's changes as formulas, and the numbers they stand for."""
    formulas: dict[str, Expression] = {}
    numbers: dict[str, float] = {}
    for target, change in stage.changes:
        if isinstance(change, Expression):
            formulas[target] = change
        else:
            formulas[target] = Symbol(_given(target))
            numbers[_given(target)] = change
    return formulas, numbers


@dataclass(eq=False)
class _Point:
    """Where a simulation stands: values and slopes by name, and the engine's own state."""

    values: dict[str, float]
    slopes: Slopes
    snapshot: Snapshot | None


class ModelDerivatives:
    """What all trials of one model share: its equations, their derivatives compiled, and a runner for its states."""

    def __init__(
        self, model: Model, trials: Sequence[Trial], parameters: ParameterSet, overrides: Sequence[str], solver: Solver
    ) -> None:
        self.model, self.overrides = model, tuple(overrides)
        self.equations: Equations = read_equations(model.sbml)
        free = set(parameters.names)
        starts: list[dict[str, Expression]] = []
        jumps: list[dict[str, Expression]] = []
        mentioned: set[str] = set()
        unsure = ""
        for trial in trials:
            for index, stage in enumerate(trial.stages):
                formulas = _as_formulas(stage)[0]
                mentioned |= set().union(*(formula.names for formula in formulas.values())) if formulas else set()
                if index:
                    jumps.append(formulas)
                    continue
                settings, doses = self._split(formulas)
                read = set().union(*(formula.names for formula in formulas.values())) if formulas else set()
                if read & settings.keys():  # the numbers before the change are not those after it
                    settings = {
                        name: formula for name, formula in settings.items() if not formula.names & settings.keys()
                    }
                starts.append(settings)
                jumps.append(doses)
                both = read & set(self._split(formulas)[0])
                if both:
                    unsure = f"a condition changes {sorted(both)[0]!r} and reads it at the same time"
        self.fixed = {
            name: float(value)
            for name, value in {
                **model.values,
                **{p.id: p.nominal for p in parameters.parameters if not p.estimate and p.id in overrides},
            }.items()
        }
        known = {*self.equations.constants, *self.equations.states, *self.equations.initial}
        self.columns = tuple(
            name for name in parameters.names if (name in overrides and name in known) or (name in mentioned & free)
        )
        # A parameter that bears the name of a state is its initial value; the equations call that init_<state>.
        states = set(self.equations.states)
        self.tokens = tuple(f"init_{name}" if name in states else name for name in self.columns)
        self.inexact: dict[str, str] = {}
        self.why = unsure  # why nothing at all can be derived here
        starts.append(self._replaced({}))
        self.variational: Variational | None = None
        if self.equations.events:
            self.why = "the model has events, which may jump"
        if not self.why:
            self.variational = Variational(self.equations, self.tokens, starts=starts, jumps=jumps)
            why = self.variational.inexact
            self.inexact = {
                name: why[token] for name, token in zip(self.columns, self.tokens, strict=True) if token in why
            }
        entities = model.description.entities
        self.states = self.equations.states
        selections = [entities[name].selection if name in entities else name for name in self.states]
        self.runner = Runner(model, ["time", *selections], solver)
        self._starts: dict[object, object] = {}
        self._jumps: dict[object, object] = {}
        self._steady: SteadyState | None = None

    def _split(self, formulas: Mapping[str, Expression]) -> tuple[dict[str, Expression], dict[str, Expression]]:
        """Changes of the first stage: constants, which initial assignments follow, and states, which they do not."""
        states = set(self.equations.states)
        settings = {name: formula for name, formula in formulas.items() if name not in states}
        return settings, {name: formula for name, formula in formulas.items() if name in states}

    def _replaced(self, changes: Mapping[str, Expression]) -> dict[str, Expression]:
        """Changes of the first stage, and fixed values of what the model would compute."""
        defaults = self.equations.defaults()
        computed = {
            name: Symbol(_given(name))
            for name in self.fixed
            if name not in defaults and name in self.equations.initial and name not in changes
        }
        return {**computed, **changes}

    def start(self, stage: Stage, values: Mapping[str, float]) -> _Point:
        """Values and slopes where an experiment begins."""
        formulas, numbers = _as_formulas(stage)
        settings, doses = self._split(formulas)
        settings = self._replaced(settings)
        key = tuple(sorted(settings.items(), key=lambda item: item[0]))
        if key not in self._starts:
            self._starts[key] = starting_point(self.equations, self.tokens, settings)
        numbers.update({_given(name): value for name, value in self.fixed.items()})
        numbers.update({token: values[name] for name, token in zip(self.columns, self.tokens, strict=True)})
        begin = self._starts[key]({**self.fixed, **values, **numbers})  # type: ignore[operator]  # compiled when first used
        point = _Point(begin[0], begin[1], None)
        self._change(doses, numbers, 0.0 if math.isinf(stage.start) else stage.start, point, values)
        return point

    def jumped(self, stage: Stage, point: _Point, values: Mapping[str, float]) -> None:
        """Apply the changes of a later stage to values and slopes."""
        formulas, numbers = _as_formulas(stage)
        self._change(formulas, numbers, 0.0 if math.isinf(stage.start) else stage.start, point, values)

    def _change(
        self,
        formulas: Mapping[str, Expression],
        numbers: Mapping[str, float],
        time: float,
        point: _Point,
        values: Mapping[str, float],
    ) -> None:
        if not formulas:
            return
        key = tuple(sorted(formulas.items(), key=lambda item: item[0]))
        if key not in self._jumps:
            self._jumps[key] = jump(self.equations, self.tokens, formulas)
        foreign = {name: value for name, value in values.items() if name not in point.values}
        found = self._jumps[key](  # type: ignore[operator]  # compiled when first used
            {**foreign, **point.values, **numbers, TIME_NAME: time}, point.slopes
        )
        point.values.update(found[0])
        point.slopes.update(found[1])

    def steady(self) -> SteadyState:
        if self._steady is None:
            assert self.variational is not None
            self._steady = SteadyState(self.equations, self.variational.constants)
        return self._steady


class TrialDerivatives:
    """A trial's outputs and their derivatives at given parameters."""

    def __init__(
        self,
        trial: Trial,
        parameters: ParameterSet,
        overrides: Sequence[str],
        solver: Solver,
        shared: dict[object, object],
        trials: Sequence[Trial] = (),
    ) -> None:
        self.trial = trial
        key = ("model", id(trial.model))
        if key not in shared:
            group = [other for other in trials if other.model is trial.model] or [trial]
            shared[key] = ModelDerivatives(trial.model, group, parameters, overrides, solver)
        self.model: ModelDerivatives = shared[key]  # type: ignore[assignment]  # shared holds several kinds of things
        self._points: dict[object, _Point] = shared.setdefault(("points", id(trial.model)), {})  # type: ignore[assignment]  # shared holds several kinds of things
        self._meshes: dict[int, FloatArray] = {}
        equations = self.model.equations
        free = set(parameters.names)
        inlined = [equations.inline(formula) for formula in trial.formulas]
        needed = set().union(*(formula.names for formula in inlined)) - {TIME_NAME}
        self.symbols = tuple(name for name in equations.states if name in needed)
        self.constants = tuple(name for name in equations.constants if name in needed)
        own = set(self.symbols) | set(self.constants)
        self.foreign = tuple(sorted(needed - own))
        moved = set(self.model.variational.constants) if self.model.variational else set()
        moved |= {name for name in self.constants if name in self.model.columns}
        by = [
            *self.symbols,
            *(name for name in self.constants if name in moved),
            *(n for n in self.foreign if n in free),
        ]
        self._by, self._of = [], []
        partials: list[Expression] = []
        for number, formula in enumerate(inlined):
            for name, slope in gradient(formula, by).items():
                self._by.append(name)
                self._of.append(number)
                partials.append(slope)
        arguments = [TIME_NAME, *self.symbols, *self.constants, *self.foreign]
        self._outputs: Compiled = compile_numpy(inlined, arguments)
        self._partials: Compiled = compile_numpy(partials, arguments)
        direct = {name for name in self._by if name in free}
        self.names = tuple(name for name in parameters.names if name in self.model.columns or name in direct)
        self._column = {name: index for index, name in enumerate(self.names)}
        self.why = self.model.why
        if not self.why and (math.isinf(trial.stages[0].start) or math.isinf(trial.times[-1])):
            try:
                self.model.steady()
            except KineticsError as error:
                self.why = str(error)
        self.inexact = {name: why for name, why in self.model.inexact.items() if name in self._column}
        if self.why:
            self.inexact = dict.fromkeys(self.names, self.why)

    def clear(self) -> None:
        """Forget what was shared under other parameters."""
        self._points.clear()

    def __call__(self, values: Mapping[str, float]) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
        """Outputs ``(n_formulas, n_times)`` and slopes ``(n_formulas, n_times, n_names)`` by plain parameters.

        Raises:
            SimulationError, InputError: it cannot be simulated at these values.
        """
        model, trial, runner = self.model, self.trial, self.model.runner
        with runner.engine.lock:
            runner.prepare({name: values[name] for name in model.overrides}, values)
            states, slopes = self._integrate(values)
        foreign = [values[name] for name in self.foreign]
        place = {name: index for index, name in enumerate(model.states)}
        arguments: list[npt.ArrayLike] = [trial.times, *(states[:, place[name]] for name in self.symbols)]
        arguments += [self._constants[:, index] for index in range(len(self.constants))]
        arguments += foreign
        count = len(trial.times)
        outputs = _over_times(self._outputs(arguments), count)
        partials = _over_times(self._partials(arguments), count)  # (n_partials, n_times)
        found = np.zeros((len(trial.formulas), count, len(self.names)))
        into = [self._column[name] for name in model.columns]
        for name, number, partial in zip(self._by, self._of, partials, strict=True):
            if name in place:
                found[number][:, into] += partial[:, None] * slopes[:, place[name], :]
            elif name in self._column and name in self.foreign:
                found[number][:, self._column[name]] += partial
            else:  # a constant, and what it moves with
                found[number][:, into] += partial[:, None] * self._weights[:, self.constants.index(name), :]
        return outputs, found, self.names

    def _integrate(self, values: Mapping[str, float]) -> tuple[FloatArray, FloatArray]:
        """States ``(n_times, n_states)`` and their slopes ``(n_times, n_states, n_columns)`` at the trial's times."""
        trial, model, runner = self.trial, self.model, self.model.runner
        variational = model.variational
        assert variational is not None
        shape = (len(trial.times), len(model.states))
        states, slopes = np.empty(shape), np.zeros((*shape, len(model.columns)))
        point: _Point | None = None
        # Constants may change from period to period, and with them what they move with.
        self._constants = np.empty((len(trial.times), len(self.constants)))
        self._weights = np.zeros((len(trial.times), len(self.constants), len(model.columns)))
        first = 0
        for count in range(len(trial.stages) - 1, 0, -1):  # what an earlier trial shares with this one
            known = self._points.get(self._stretch(count))
            if known is not None and trial.times[0] >= trial.stages[count].start:
                point = _Point(dict(known.values), dict(known.slopes), known.snapshot)
                assert known.snapshot is not None
                runner.engine.restore(known.snapshot)
                first = count
                break
        for index in range(first, len(trial.stages)):
            stage = trial.stages[index]
            last = index + 1 == len(trial.stages)
            end = math.inf if last else trial.stages[index + 1].start
            runner.clock = 0.0 if math.isinf(stage.start) else stage.start
            runner.engine.set_time(runner.clock)
            if point is None:
                runner._begin(stage.changes)
                point = model.start(stage, values)
            else:
                runner._apply(stage.changes)
                model.jumped(stage, point, values)
            inside = (trial.times >= stage.start) & (trial.times < end) if not last else trial.times >= stage.start
            for column, name in enumerate(self.constants):
                self._constants[inside, column] = point.values[name]
                self._weights[inside, column] = [point.slopes.get((name, token), 0.0) for token in model.tokens]
            if math.isinf(stage.start):
                self._equilibrated(point, 0.0)
            else:
                self._stage(index, point, inside, None if last else end, states, slopes)
            if not last and trial.times[0] >= end:
                self._points[self._stretch(index + 1)] = _Point(
                    dict(point.values), dict(point.slopes), runner.engine.snapshot()
                )
        return states, slopes

    def _stretch(self, count: int) -> tuple[object, ...]:
        return (self.trial.stages[:count], self.trial.stages[count].start)

    def _equilibrated(self, point: _Point, time: float) -> None:
        """Values and slopes once nothing changes any more, by the implicit derivative of the steady state."""
        model, runner = self.model, self.model.runner
        variational = model.variational
        assert variational is not None
        weights, start_slopes = variational.arrays(point.slopes)
        start = np.array([point.values[name] for name in model.states])
        row = runner._equilibrate(time, self.trial.experiment)
        steady = row[0, 1:]
        found = model.steady().slopes(steady, point.values, weights, start, start_slopes)
        self._settle(point, steady, found)

    def _settle(self, point: _Point, states: FloatArray, slopes: FloatArray) -> None:
        """The end of a stage becomes the beginning of the next."""
        for row, name in enumerate(self.model.states):
            point.values[name] = float(states[row])
            for column, by in enumerate(self.model.tokens):
                point.slopes[name, by] = float(slopes[row, column])

    def _stage(
        self,
        index: int,
        point: _Point,
        inside: npt.NDArray[np.bool_],
        end: float | None,
        states: FloatArray,
        slopes: FloatArray,
    ) -> None:
        """Integrate a stage; writes what is read within it, and leaves the point at its end."""
        trial, model, runner = self.trial, self.model, self.model.runner
        variational = model.variational
        assert variational is not None
        begin = trial.stages[index].start
        wanted = trial.times[inside]
        finite = wanted[np.isfinite(wanted)]
        grid = np.unique(np.concatenate(([begin], finite, [] if end is None else [end])))
        weights, start = variational.arrays(point.slopes)
        if len(grid) == 1:
            here = np.array([[point.values[name] for name in model.states]])
            values, found = here, start[None]
        else:
            snapshot = runner.engine.snapshot()
            sampled: list[tuple[FloatArray, FloatArray]] = []

            def trajectory(times: FloatArray) -> FloatArray:
                runner.engine.restore(snapshot)
                table = runner._integrate(times.tolist(), trial.experiment)[:, 1:]
                sampled[:] = [(times, table)]
                return table

            constants = point.values
            try:
                result = variational.solve(
                    trajectory, grid, constants, weights, start, tolerance=TOLERANCE, mesh=self._meshes.get(index)
                )
            except IntegrationFailed as error:
                raise IntegrationFailed(f"experiment {trial.experiment!r}: {error}") from None
            if index not in self._meshes and self._learning:
                self._meshes[index] = result.mesh
            found = result.values
            if not sampled:
                trajectory(grid)
            values = sampled[0][1][np.searchsorted(sampled[0][0], grid)]
        places = np.searchsorted(grid, finite)
        rows = np.nonzero(inside)[0]
        states[rows[: len(finite)]] = values[places]
        slopes[rows[: len(finite)]] = found[places]
        self._settle(point, values[-1], found[-1])
        if len(wanted) > len(finite):
            self._equilibrated(point, float(grid[-1]))
            states[rows[-1]] = [point.values[name] for name in model.states]
            slopes[rows[-1]] = [[point.slopes.get((name, by), 0.0) for by in model.tokens] for name in model.states]

    _learning = False

    def learn(self, values: Mapping[str, float]) -> None:
        """Take the meshes from a reference point, so that later evaluations need one trajectory each.

        Always from the same point: a mesh taken along the search would make results depend on their history.
        """
        self._learning = True
        try:
            self(values)
        except KineticsError:
            self._meshes.clear()
        finally:
            self._learning = False


def _over_times(result: FloatArray, count: int) -> FloatArray:
    return result if result.ndim > 1 else np.repeat(result[:, None], count, axis=1)
