"""A model that carries its own derivatives: SBML in, SBML with exact forward sensitivities out.

For every *column* (a parameter) each state ``x_i`` that can depend on it gets a companion ``s_i = dx_i/dcolumn``
that obeys ``ds/dt = J s + (df/dc) w``: ``J`` is the Jacobian, ``c`` runs over the constants of the model that
move with the column and ``w = dc/dcolumn`` is a settable weight.  The companions are parameters with rate
rules, so any SBML simulator integrates them, under its own error control.  Multiply weights and initial
values by the parameter's value and everything is a derivative by its natural logarithm: the companions are
then scaled like the states.

What the engine has to do for one block::

    start = starting_point(equations, columns)             # once; again for every other set of initial formulas
    values, slopes = start(numbers)                        # per evaluation
    runner: set every values[...] and block.settings(slopes, scale), then simulate and read block.names

At the start of a later period `jump` gives the new values and slopes.  Where derivatives are not certain
(switches at times or states that move with the column) `SensitivityModel.inexact` says why, column by column,
and the caller takes finite differences there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kinetics.differentiation import gradient
from kinetics.equations import Equations
from kinetics.errors import InputError
from kinetics.expression import Call, Expression, Symbol, add, nodes, rebuild
from kinetics.mathml import to_mathml
from kinetics.reach import Changes, Reach, needed_states, reaches
from kinetics.sbml_library import libsbml_module
from kinetics.slopes import Slopes

FEW_STATES = 50  # companions in one block: beyond it the dense solver's cost per column rises (measured)
LONG = 40  # operations that a name for a repeated formula has to save


@dataclass(frozen=True)
class Block:
    """An SBML document that carries the derivatives for some columns.

    Attributes:
        names: (state, column) -> id of the companion; a pair that is missing is identically zero.
        weights: (constant, column) -> id of the parameter that holds d(constant)/d(column).
    """

    sbml: str
    columns: tuple[str, ...]
    names: Mapping[tuple[str, str], str]
    weights: Mapping[tuple[str, str], str]

    def settings(self, slopes: Slopes, scale: Mapping[str, float] | None = None) -> dict[str, float]:
        """What to set in the engine, by id: all companions and weights.

        ``slopes`` holds d(quantity)/d(column) of states and constants, zero where it has no entry.  ``scale``
        multiplies by column: the parameter's value for derivatives by its logarithm.

        Raises:
            InputError: a slope that is not zero belongs to a pair that this block takes for zero; the formula
                it comes from was not among those given to `sensitivity_model`.
        """
        ids = {**self.names, **self.weights}
        for pair, slope in slopes.items():
            if slope != 0.0 and pair in self._zero:
                raise InputError(f"{pair[0]!r} moves with {pair[1]!r}, which the derivatives were not prepared for")
        return {name: slopes.get(pair, 0.0) * (scale or {}).get(pair[1], 1.0) for pair, name in ids.items()}

    _zero: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)  # pairs that cannot move


@dataclass(frozen=True)
class SensitivityModel:
    """Blocks of columns, and the columns whose derivatives are not certain (with the reason)."""

    equations: Equations
    columns: tuple[str, ...]
    blocks: tuple[Block, ...]
    inexact: Mapping[str, str]

    @property
    def exact(self) -> bool:
        """Whether every column has exact derivatives."""
        return not self.inexact

    @property
    def why(self) -> str:
        """The reasons against exactness, or nothing."""
        return "; ".join(sorted(set(self.inexact.values())))


def sensitivity_model(
    equations: Equations,
    columns: Sequence[str],
    *,
    starts: Sequence[Changes] = (),
    jumps: Sequence[Changes] = (),
    outputs: Iterable[str] | None = None,
    block_size: int | None = None,
) -> SensitivityModel:
    """Build the documents that carry d(state)/d(column).

    Args:
        equations: of the model, from `kinetics.equations.read_equations`.
        columns: constants of the model, or any other names that formulas in ``starts`` and ``jumps`` use;
            ``init_S`` means the initial value of state ``S``.
        starts: formulas that will replace initial values (one mapping per condition).
        jumps: formulas that will set quantities at the start of later periods.
        outputs: quantities that will be read; derivatives that none of them needs are left out.
        block_size: columns in a block; by default as many as keep the solver fast.

    Raises:
        UnknownName: a column is no constant of the model and in none of the formulas.
    """
    found = reaches(equations, columns, starts, jumps)
    needed = needed_states(equations, outputs, jumps)
    inexact = {column: moved.inexact for column, moved in found.items() if moved.inexact}
    usable = [column for column in columns if column not in inexact]
    groups = _group({column: len(needed.intersection(found[column].states)) for column in usable}, block_size)
    blocks = tuple(_Writer(equations, {c: found[c] for c in group}, needed).block() for group in groups)
    return SensitivityModel(equations, tuple(columns), blocks, inexact)


def _group(sizes: Mapping[str, int], block_size: int | None) -> list[list[str]]:
    """Columns in blocks: of ``block_size``, or filled up to `FEW_STATES` companions."""
    columns = [column for column in sizes if sizes[column]]  # the others change nothing
    if block_size is not None:
        if block_size < 1:
            raise InputError(f"block_size must be at least 1, got {block_size}")
        return [columns[i : i + block_size] for i in range(0, len(columns), block_size)]
    groups: list[list[str]] = []
    room = 0
    for column in sorted(columns, key=lambda c: (sizes[c], columns.index(c))):
        if sizes[column] > room:
            groups.append([])
            room = max(FEW_STATES, sizes[column])
        groups[-1].append(column)
        room -= sizes[column]
    return groups


class _Writer:
    """Adds the companions of some columns to the model's document."""

    def __init__(self, equations: Equations, reaches: Mapping[str, Reach], needed: frozenset[str]) -> None:
        self.equations, self.reaches = equations, reaches
        self.taken = {*equations.states, *equations.constants, *equations.assigned}
        self.names: dict[tuple[str, str], str] = {}
        self.weights: dict[tuple[str, str], str] = {}
        for column, moved in reaches.items():
            for constant in moved.constants:
                self.weights[constant, column] = f"w_{constant}_{column}"
            for state in moved.states:
                if state in needed:
                    self.names[state, column] = f"d_{state}_{column}"

    def block(self) -> Block:
        import libsbml

        document = libsbml.readSBMLFromString(self.equations.sbml)
        model = document.getModel()
        self._settle_ids(model)
        equations = self.equations
        rates = {pair: self._slope(equations.jacobian[pair[0]], pair[1]) for pair in self.names}
        jumps: list[dict[tuple[str, str], Expression]] = []
        for event in equations.events:
            changes = {
                name: gradient(value, (*equations.states, *equations.constants))
                for name, value in event.assignments.items()
            }
            jumps.append({pair: self._slope(changes[pair[0]], pair[1]) for pair in self.names if pair[0] in changes})
        everything = [*rates.values(), *(value for jump in jumps for value in jump.values())]
        short, parts = _shortened(everything, equations.assigned, self._fresh)
        for name in self.weights.values():
            _add_parameter(model, name, constant=True)
        for name, formula in parts.items():
            _add_parameter(model, name)
            _add_rule(model.createAssignmentRule(), name, formula)
        for pair, rate in rates.items():
            _add_parameter(model, self.names[pair])
            _add_rule(model.createRateRule(), self.names[pair], short[rate])
        for i, jump in enumerate(jumps):
            for pair, value in jump.items():
                _add_rule(model.getEvent(i).createEventAssignment(), self.names[pair], short[value])
        zero = frozenset(
            (quantity, column)
            for column, moved in self.reaches.items()
            for quantity in {*equations.states, *equations.constants}.difference(moved.states, moved.constants)
        )
        return Block(libsbml.writeSBMLToString(document), tuple(self.reaches), self.names, self.weights, zero)

    def _slope(self, partials: Mapping[str, Expression], column: str) -> Expression:
        """The chain rule: sum of partial derivative times companion or weight."""
        companions = {q: n for (q, c), n in (*self.weights.items(), *self.names.items()) if c == column}
        return add(*(slope * Symbol(companions[by]) for by, slope in partials.items() if by in companions))

    def _settle_ids(self, model: Any) -> None:
        elements = model.getListOfAllElements()
        self.taken |= {elements.get(i).getIdAttribute() for i in range(elements.getSize())}
        for table in (self.names, self.weights):
            for pair, name in table.items():
                table[pair] = self._fresh(name)

    def _fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def _shortened(
    roots: Sequence[Expression], assigned: Mapping[str, Expression], fresh: Callable[[str], str]
) -> tuple[dict[Expression, Expression], dict[str, Expression]]:
    """Roots in which long repeated parts are symbols, and those parts by name, in order of need.

    Written out, a shared formula can be exponentially larger than its graph.  Short ones are left in place:
    the engine's compiler finds them again, and loads faster without names.
    """
    order = nodes(roots)
    uses: dict[Expression, int] = {}
    for node in order:
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    in_model = {formula: name for name, formula in assigned.items() if isinstance(formula, Call)}
    size: dict[Expression, int] = {}
    short: dict[Expression, Expression] = {}
    parts: dict[str, Expression] = {}
    for node in order:
        if node in in_model:
            short[node], size[node] = Symbol(in_model[node]), 1
            continue
        size[node] = 1 + sum(size[arg] for arg in node.args)
        changed = any(short[arg] is not arg for arg in node.args)
        short[node] = rebuild(node, [short[arg] for arg in node.args]) if changed else node
        if size[node] * (uses.get(node, 0) - 1) > LONG:
            name = fresh(f"part_{len(parts)}")
            parts[name] = short[node]
            short[node], size[node] = Symbol(name), 1
    return short, parts


def _add_parameter(model: Any, name: str, *, constant: bool = False) -> None:
    parameter = model.createParameter()
    parameter.setId(name)
    parameter.setValue(0.0)
    parameter.setConstant(constant)


def _add_rule(rule: Any, target: str, formula: Expression) -> None:
    libsbml = libsbml_module()

    rule.setVariable(target)
    rule.setMath(libsbml.readMathMLFromString(to_mathml(formula)))
