"""What can depend on what in a model, by structure alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kinetics.discontinuity import why_inexact
from kinetics.equations import Equations
from kinetics.errors import UnknownName
from kinetics.expression import Expression
from kinetics.slopes import starting_formulas

Changes = Mapping[str, Expression]  # quantity -> formula that sets it


@dataclass(frozen=True)
class Reach:
    """What moves with a column, in the order of the model, and why its derivatives are not certain ("": they are)."""

    constants: tuple[str, ...]
    states: tuple[str, ...]
    inexact: str


def reach(equations: Equations, column: str, starts: Iterable[Changes] = (), jumps: Iterable[Changes] = ()) -> Reach:
    """The constants and states that can depend on a column.

    ``starts`` are formulas that replace initial values, ``jumps`` formulas applied when a later period starts.
    """
    moved: set[str] = {column} & {*equations.constants, *equations.states}
    for start in (*starts, {}):
        formulas = starting_formulas(equations, (column,), start)
        moved |= {name for name, formula in formulas.items() if column in formula.names}
    moved -= set(equations.assigned)
    changes = [event.assignments for event in equations.events]
    changes += [{name: equations.inline(formula) for name, formula in jump.items()} for jump in jumps]
    links = [(name, formula.names) for change in (equations.rates, *changes) for name, formula in change.items()]
    grown = True
    while grown:
        new = {name for name, needs in links if column in needs or not moved.isdisjoint(needs)} - moved
        moved |= new
        grown = bool(new)
    return Reach(
        tuple(name for name in equations.constants if name in moved),
        tuple(name for name in equations.states if name in moved),
        why_inexact(equations, frozenset(moved)),
    )


def reaches(
    equations: Equations, columns: Sequence[str], starts: Sequence[Changes] = (), jumps: Sequence[Changes] = ()
) -> dict[str, Reach]:
    """The `reach` of every column.

    Raises:
        UnknownName: a column is no constant of the model, no ``init_S`` of a state, and in none of the formulas.
    """
    foreign = {name for change in (*starts, *jumps) for formula in change.values() for name in formula.names}
    known = {*equations.constants, *(f"init_{state}" for state in equations.states), *foreign}
    for column in columns:
        if column not in known:
            raise UnknownName("parameter", column, sorted(known), "the model's constants")
    return {column: reach(equations, column, starts, jumps) for column in columns}


def needed_states(equations: Equations, outputs: Iterable[str] | None, jumps: Sequence[Changes] = ()) -> frozenset[str]:
    """The states that ``outputs`` depend on at any time; all states for ``None``."""
    if outputs is None:
        return frozenset(equations.states)
    needs = {name: set(rate.names) for name, rate in equations.rates.items()}
    for change in (*(event.assignments for event in equations.events), *jumps):
        for name, formula in change.items():
            needs.setdefault(name, set()).update(equations.inline(formula).names)
    wanted: set[str] = set()
    stack = list(outputs)
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack.extend(equations.assigned[name].names if name in equations.assigned else needs.get(name, ()))
    return frozenset(wanted & set(equations.states))
