"""One experiment of a problem, compiled: how it is simulated, and how its measurements follow from it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.problem import Measurement, Observable, Problem
from kinetics.codegen import Compiled, compile_numpy
from kinetics.errors import FormulaError, InputError
from kinetics.expression import TIME_NAME, Expression, Number, Symbol, substitute
from kinetics.formula import parse
from kinetics.model import Model
from kinetics.runner import Runner
from kinetics.schedule import Stage, resolve, same_time

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]


def written_out(problem: Problem, model: Model, row: Measurement) -> tuple[Expression, Expression]:
    """Formulas of a measurement's observable and sigma, with its placeholders filled in.

    Raises:
        FormulaError, UnknownName: a formula cannot be read, or names what neither model nor problem knows.
    """
    observable = problem.observables[row.observable]
    names = {parameter.id for parameter in problem.parameters.parameters}
    fillers: dict[str, Expression | float] = {}
    for placeholders, overrides in (
        (observable.observable_placeholders, row.observable_overrides),
        (observable.noise_placeholders, row.noise_overrides),
    ):
        for placeholder, override in zip(placeholders, overrides, strict=True):
            if isinstance(override, str):
                if override not in names and override not in model.description.entities:
                    near = difflib.get_close_matches(override, names, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise FormulaError(
                        f"observable {observable.id!r}: {placeholder!r} is set to {override!r}, which is no parameter "
                        f"of problem {problem.id!r}{hint}"
                    )
                fillers[placeholder] = Symbol(override)
            else:
                fillers[placeholder] = Number(float(override))
    known = names | fillers.keys()
    formula = substitute(model.formula(observable.formula, f"observable {observable.id!r}", known), fillers)
    noise = parse(observable.noise)
    if observable.id in noise.names:  # the noise may be relative to the observable itself
        noise = substitute(noise, {observable.id: formula})
        known = known | formula.names
    noise = substitute(_checked(noise, model, observable, known), fillers)
    return formula, noise


def _checked(noise: Expression, model: Model, observable: Observable, known: set[str] | frozenset[str]) -> Expression:
    unknown = sorted(noise.names - known - model.description.entities.keys() - {TIME_NAME})
    if unknown:
        if unknown[0] in model.readouts:
            return model.formula(observable.noise, f"noise of observable {observable.id!r}", known)
        near = difflib.get_close_matches(unknown[0], known | model.description.entities.keys(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise FormulaError(f"the noise formula of observable {observable.id!r} names undefined {unknown[0]!r}{hint}")
    return noise


@dataclass(frozen=True, eq=False)
class Trial:
    """One experiment on one model, and the measurements made in it.

    ``rows`` are positions in the problem's measurements; ``formula``, ``noise`` and ``when`` say for each of them which
    compiled output and which time it is read from.
    """

    experiment: str
    model: Model
    stages: tuple[Stage, ...]
    times: FloatArray  # (n_times,), strictly increasing
    rows: IntArray  # (n_rows,)
    formulas: tuple[Expression, ...]  # unique formulas of observables and sigmas
    formula: IntArray  # (n_rows,)
    noise: IntArray  # (n_rows,)
    when: IntArray  # (n_rows,)
    symbols: tuple[str, ...]  # entities of the model that the formulas need
    parameters: tuple[str, ...]  # names of the problem that the formulas need, and the model lacks
    compiled: Compiled

    def outputs(self, table: FloatArray, columns: Sequence[int], values: Mapping[str, float]) -> FloatArray:
        """All formulas at all times, shape ``(n_formulas, n_times)``.

        ``table`` holds the engine's columns, time first; ``columns`` are those of ``symbols``.
        """
        arguments: list[npt.ArrayLike] = [table[:, 0], *(table[:, column] for column in columns)]
        arguments += [values[name] for name in self.parameters]
        result = self.compiled(arguments)
        if result.ndim == 1:  # nothing depends on time
            result = np.repeat(result[:, None], len(table), axis=1)
        return result


def trials_of(problem: Problem) -> list[Trial]:
    """The experiments of a problem, in the order in which its measurements mention them.

    Raises:
        What the formulas and schedules raise when they do not fit the model.
    """
    names = {parameter.id for parameter in problem.parameters.parameters}
    groups: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(problem.measurements):
        groups.setdefault((row.model, row.experiment), []).append(index)
    return [_trial(problem, indices, names) for indices in groups.values()]


def _trial(problem: Problem, indices: list[int], names: set[str]) -> Trial:
    first = problem.measurements[indices[0]]
    model = problem.model_of(first)
    foreign = names - model.description.entities.keys()
    stages = resolve(model, problem.experiments[first.experiment], symbols=foreign)
    start = next(stage.start for stage in stages if math.isfinite(stage.start))
    read_at = {i: _snapped(problem.measurements[i].time, stages) for i in indices}
    times = np.unique(list(read_at.values()))
    if times[0] < start and not same_time(float(times[0]), start):
        raise InputError(
            f"experiment {first.experiment!r} of problem {problem.id!r} starts at {start:g}, but something was "
            f"measured at {times[0]:g}"
        )
    order: dict[Expression, int] = {}
    seen: dict[tuple[object, ...], tuple[int, int]] = {}
    picks = []
    for index in indices:
        row = problem.measurements[index]
        key = (row.observable, row.observable_overrides, row.noise_overrides)
        if key not in seen:
            pair = written_out(problem, model, row)
            seen[key] = (order.setdefault(pair[0], len(order)), order.setdefault(pair[1], len(order)))
        picks.append((*seen[key], int(np.searchsorted(times, read_at[index]))))
    formulas = tuple(order)
    needed = frozenset().union(*(formula.names for formula in formulas)) - {TIME_NAME}
    symbols = tuple(sorted(needed & model.description.entities.keys()))
    parameters = tuple(sorted(needed - set(symbols)))
    table = np.array(picks, dtype=np.intp).reshape(len(picks), 3)
    return Trial(
        first.experiment,
        model,
        tuple(stage for stage in stages if stage.start <= times[-1]),
        times,
        np.array(indices, dtype=np.intp),
        formulas,
        table[:, 0],
        table[:, 1],
        table[:, 2],
        symbols,
        parameters,
        compile_numpy(formulas, [TIME_NAME, *symbols, *parameters]),
    )


def _snapped(time: float, stages: Sequence[Stage]) -> float:
    """A time that misses the start of a period by rounding means the start."""
    return next((stage.start for stage in stages if same_time(time, stage.start)), time)


def runner_for(trials: Sequence[Trial], solver: object, given: Collection[str] = ()) -> tuple[Runner, dict[str, int]]:
    """One runner that reads what all trials of a model need, and the column of each symbol.

    ``given`` names values that the model may leave out, because the problem states them.
    """
    from kinetics.engine import Solver

    assert isinstance(solver, Solver)
    model = trials[0].model
    symbols = sorted(set().union(*(trial.symbols for trial in trials)))
    for trial in trials:
        model.require(trial.symbols, {*given, *(name for name, _ in trial.stages[0].changes)})
    selections = ["time", *(model.entity(name).selection for name in symbols)]
    return Runner(model, selections, solver), {name: index + 1 for index, name in enumerate(symbols)}
