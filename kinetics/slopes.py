"""Derivatives at fixed times: of starting values, of changes between periods, of readouts.

A *slope* is d(quantity)/d(column), kept in a mapping from (quantity, column); a pair that is missing is zero.
All functions here compile their formulas once and are then called with numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kinetics.codegen import compile_numpy
from kinetics.differentiation import gradient
from kinetics.equations import Equations
from kinetics.errors import MissingValue
from kinetics.expression import Expression, Symbol, evaluate

Slopes = Mapping[tuple[str, str], float]
Point = tuple[dict[str, float], dict[tuple[str, str], float]]  # values and slopes


def starting_formulas(
    equations: Equations, columns: Sequence[str], changes: Mapping[str, Expression] | None = None
) -> dict[str, Expression]:
    """Starting values as formulas in free numbers; a column is free even if the model computes it.

    ``init_S`` among the columns stands for the initial value of the state ``S``.
    """
    replaced: dict[str, Expression] = dict(changes or {})
    for column in columns:
        state = column.removeprefix("init_")
        if column in equations.initial:
            replaced.setdefault(column, Symbol(column))
        elif column.startswith("init_") and state in equations.initial:
            replaced.setdefault(state, Symbol(column))
    return equations.started(replaced)


def starting_point(
    equations: Equations, columns: Sequence[str], changes: Mapping[str, Expression] | None = None
) -> Callable[[Mapping[str, float]], Point]:
    """How a simulation starts, as a function of numbers.

    The function takes values by name: any of those that the model gives as numbers (others keep the model's
    value), every column, and what ``changes`` mention.  It returns the value of every state, constant and
    assigned quantity at the start, and its slopes for every column.  This replaces the engine's initial
    assignments, which do not follow when a parameter is set.

    Raises, when called:
        MissingValue: a needed name has no value in the model nor in the numbers.
    """
    formulas = starting_formulas(equations, columns, changes)
    defaults = equations.defaults()
    pairs, partials = [], []
    for name, formula in formulas.items():
        for column, slope in gradient(formula, columns).items():
            pairs.append((name, column))
            partials.append(slope)
    arguments = sorted(frozenset().union(*(formula.names for formula in formulas.values())))
    names = list(formulas)
    compiled = compile_numpy([*formulas.values(), *partials], arguments)
    # A column that the model computes starts from what the model makes of it, unless a number is given.
    computed = {name: f for name, f in equations.started().items() if name in arguments and name not in defaults}

    def start(numbers: Mapping[str, float]) -> Point:
        merged = {**defaults, **numbers}
        for name, formula in computed.items():
            if name not in numbers:
                merged[name] = float(evaluate(formula, merged))
        for name in arguments:
            if name not in merged and name.removeprefix("init_") in defaults:
                merged[name] = merged[name.removeprefix("init_")]
        if missing := [name for name in arguments if name not in merged]:
            raise MissingValue(f"the start of the simulation needs a value for {', '.join(missing)}")
        result = compiled([merged[name] for name in arguments]).tolist()
        return dict(zip(names, result, strict=False)), dict(zip(pairs, result[len(names) :], strict=True))

    return start


def jump(
    equations: Equations, columns: Sequence[str], changes: Mapping[str, Expression]
) -> Callable[[Mapping[str, float], Slopes], Point]:
    """What changes when ``changes`` are applied, all at once, between two periods.

    A formula may use states, constants, assigned quantities, time (``"$time"``) and columns.  The function
    takes values and slopes from before, and returns those of the changed quantities: ``s' = dg/dx s + dg/dp``.
    All other values and slopes stay as they are.
    """
    formulas = {name: equations.inline(formula) for name, formula in changes.items()}
    partials = [
        (name, by, slope) for name, f in formulas.items() for by, slope in gradient(f, f.names - {"$time"}).items()
    ]
    arguments = sorted(frozenset().union(*(formula.names for formula in formulas.values())))
    compiled = compile_numpy([*formulas.values(), *(slope for *_, slope in partials)], arguments)
    foreign = set(columns) - {*equations.states, *equations.constants}

    def apply(values: Mapping[str, float], slopes: Slopes) -> Point:
        if missing := [name for name in arguments if name not in values]:
            raise MissingValue(f"the change needs a value for {', '.join(missing)}")
        result = compiled([values[name] for name in arguments]).tolist()
        after = dict.fromkeys(((name, column) for name in changes for column in columns), 0.0)
        for (name, by, _), partial in zip(partials, result[len(formulas) :], strict=True):
            for column in columns:
                inner = float(by == column) if by in foreign else slopes.get((by, column), 0.0)
                if inner != 0.0:
                    after[name, column] += partial * inner
        return dict(zip(formulas, result, strict=False)), after

    return apply


def derivatives(formula: Expression, names: Sequence[str]) -> dict[str, Expression]:
    """The partial derivatives of a readout's formula by the given names that are not zero."""
    return gradient(formula, names)
