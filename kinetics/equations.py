"""A model as ordinary differential equations: SBML in, expressions out.

Every quantity goes by its SBML id and means what it means in the model's own formulas: a species is its
concentration, or its amount where the model says ``hasOnlySubstanceUnits``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kinetics.differentiation import gradient
from kinetics.errors import InvalidModel, UnsupportedModel
from kinetics.expression import (
    ONE,
    TIME_NAME,
    ZERO,
    Expression,
    Number,
    Symbol,
    add,
    divide,
    multiply,
    substitute,
    substitute_all,
)
from kinetics.mathml import FunctionTable, from_mathml
from kinetics.sbml_library import libsbml_module

MISSING = Number(float("nan"))


@dataclass(frozen=True)
class Event:
    """When the trigger becomes true, the targets get new values, all at the same time."""

    trigger: Expression
    assignments: Mapping[str, Expression]
    delay: Expression | None
    plain: bool  # values of the trigger time, no priority: nothing that could reorder or postpone it


@dataclass(frozen=True)
class Equations:
    """``dx/dt = rates(x, assigned, constants, time)`` from ``x(0) = initial``.

    Attributes:
        sbml: the model with local parameters promoted to global ones (``k`` of ``J1`` is ``J1_k``).
        rates: state -> time derivative, in states, constants and time (assigned quantities written out).
        assigned: quantity with an assignment rule -> formula in states, constants and time.
        constants: what does not change in time by itself: parameters, compartments, fixed species,
            stoichiometries with an id.
        initial: state or constant -> value at the start; a number, or a formula in other quantities.
        sizes: state -> its size as amount per unit of the state's value (the compartment, or 1).
        reactions: reaction -> rate, in states, constants and time.
        exchanges: state -> reaction -> amount of the state made per unit of the reaction; states that a rate
            rule or a growing compartment changes as well are left out.
        events: the model's events.
    """

    sbml: str
    rates: Mapping[str, Expression]
    assigned: Mapping[str, Expression]
    constants: tuple[str, ...]
    initial: Mapping[str, Expression]
    sizes: Mapping[str, Expression]
    exchanges: Mapping[str, Mapping[str, Expression]]
    reactions: Mapping[str, Expression]
    events: tuple[Event, ...] = field(default=())

    @property
    def states(self) -> tuple[str, ...]:
        """Quantities that change by a rate or an event, in the order of the model."""
        return tuple(self.rates)

    def inline(self, formula: Expression) -> Expression:
        """The formula with assigned quantities written out: states, constants and time remain."""
        return substitute(formula, self.assigned)

    @cached_property
    def jacobian(self) -> Mapping[str, Mapping[str, Expression]]:
        """State -> state or constant -> non-zero partial derivative of the state's rate."""
        wanted = (*self.states, *self.constants)
        return {state: gradient(rate, wanted) for state, rate in self.rates.items()}

    def started(self, changes: Mapping[str, Expression] | None = None) -> dict[str, Expression]:
        """Every state, constant and assigned quantity at the start, with formulas written out.

        ``changes`` replace initial values; what remains free in the results are the quantities whose initial
        value is a number (so that a caller may give another), and names foreign to the model.

        Raises:
            InvalidModel: the initial formulas need each other in a circle.
        """
        formulas = {**self.initial, **(changes or {})}
        # A quantity set to itself is one whose own formula is switched off: it becomes free.
        formulas = {name: MISSING if formula is Symbol(name) else formula for name, formula in formulas.items()}
        at_start = {TIME_NAME: ZERO}
        done: dict[str, Expression] = {}
        for name in _sorted_by_need({**formulas, **self.assigned}):
            formula = formulas.get(name, self.assigned.get(name, MISSING))
            if formula is MISSING or (isinstance(formula, Number) and name not in (changes or {})):
                done[name] = Symbol(name)
            else:
                done[name] = substitute(formula, {**{n: done.get(n, Symbol(n)) for n in formula.names}, **at_start})
        return done

    def defaults(self) -> dict[str, float]:
        """The numbers that the model itself gives for what `started` leaves free."""
        return {name: value.value for name, value in self.initial.items() if isinstance(value, Number)}


def _sorted_by_need(formulas: Mapping[str, Expression]) -> list[str]:
    """Names such that each comes after those that its formula mentions."""
    order: dict[str, None] = {}
    for root in formulas:
        path: list[tuple[str, bool]] = [(root, False)]
        waiting: set[str] = set()
        while path:
            name, ready = path.pop()
            if ready:
                waiting.discard(name)
                order[name] = None
            elif name not in order:
                if name in waiting:
                    raise InvalidModel(f"the value of {name!r} depends on itself")
                waiting.add(name)
                path.append((name, True))
                path.extend(
                    (need, False) for need in sorted(formulas[name].names) if need in formulas and need not in order
                )
    return list(order)


def read_equations(sbml: str) -> Equations:
    """The equations of a checked and flattened SBML document.

    Raises:
        InvalidModel: the text is not SBML with a model.
        UnsupportedModel: delays, algebraic rules, fast reactions: not ordinary differential equations.
    """
    libsbml = libsbml_module()

    document = libsbml.readSBMLFromString(sbml)
    model = document.getModel()
    if model is None:
        raise InvalidModel("expected an SBML document with a model, got something else")
    if any(law.getNumParameters() or law.getNumLocalParameters() for law in _kinetic_laws(model)):
        properties = libsbml.ConversionProperties()
        properties.addOption("promoteLocalParameters", True)
        document.convert(properties)
        sbml = libsbml.writeSBMLToString(document)
    return _Reader(model, sbml).equations()


def _kinetic_laws(model: Any) -> Iterable[Any]:
    laws = (model.getReaction(i).getKineticLaw() for i in range(model.getNumReactions()))
    return [law for law in laws if law is not None]


class _Reader:
    """Walks over a libSBML model once; what it finds becomes `Equations`."""

    def __init__(self, model: Any, sbml: str) -> None:
        self.model, self.sbml = model, sbml
        self.functions = _function_table(model)
        self.assigned: dict[str, Expression] = {}
        self.rate_rules: dict[str, Expression] = {}
        for rule in _elements(model.getListOfRules()):
            if rule.isAlgebraic():
                raise UnsupportedModel(
                    "the model has an algebraic rule; only ordinary differential equations work here"
                )
            if rule.isSetMath():
                target = self.assigned if rule.isAssignment() else self.rate_rules
                target[rule.getVariable()] = self.math(rule)
        self.initial_assignments = {
            item.getSymbol(): self.math(item)
            for item in _elements(model.getListOfInitialAssignments())
            if item.isSetMath()
        }
        self.initial: dict[str, Expression] = {}
        self.quantities: list[str] = []  # all that is not assigned, in the model's order
        self.size_of: dict[str, Expression] = {}  # species -> compartment, or 1

    def math(self, element: Any) -> Expression:
        try:
            return from_mathml(element.getMath(), self.functions)
        except UnsupportedModel as error:
            where = element.getId() or element.getElementName()
            raise UnsupportedModel(f"in {where}: {error}") from None

    def equations(self) -> Equations:
        model = self.model
        for item in _elements(model.getListOfCompartments()):
            # Sizes below three dimensions have no default; before L3 a three-dimensional one has size 1 by default.
            self.quantity(item.getId(), Number(item.getSize()) if item.isSetSize() else _default_size(item))
        for item in _elements(model.getListOfSpecies()):
            self.species(item)
        for item in _elements(model.getListOfParameters()):
            self.quantity(item.getId(), Number(item.getValue()) if item.isSetValue() else MISSING)
        exchanges, rates_of_reactions = self.reactions()
        events = tuple(self.event(item) for item in _elements(model.getListOfEvents()))
        # Assigned quantities and reaction rates become formulas in states, constants and time.
        inlined: dict[str, Expression] = {}
        for name in _sorted_by_need({**self.assigned, **rates_of_reactions}):
            formula = self.assigned[name] if name in self.assigned else rates_of_reactions[name]
            inlined[name] = substitute(formula, inlined)
        assigned = {name: inlined[name] for name in inlined if name in self.assigned}
        rates: dict[str, Expression] = {**self.rate_rules}
        for name, made in exchanges.items():
            terms = (multiply(factor, Symbol(reaction)) for reaction, factor in made.items())
            rates[name] = divide(add(*terms), self.size_of[name])
        names = list(rates)
        rates = dict(zip(names, substitute_all([rates[name] for name in names], inlined), strict=True))
        by_event = {name for event in events for name in event.assignments}
        diluted = self.dilution(rates, inlined)
        states = [name for name in self.quantities if name in rates or name in by_event]
        return Equations(
            sbml=self.sbml,
            rates={name: rates.get(name, ZERO) for name in states},
            assigned=assigned,
            constants=tuple(name for name in self.quantities if name not in rates and name not in by_event),
            initial=self.initial,
            sizes={name: self.size_of.get(name, ONE) for name in states},
            exchanges={
                name: {reaction: substitute(factor, inlined) for reaction, factor in made.items()}
                for name, made in exchanges.items()
                if name not in diluted
            },
            reactions={name: inlined[name] for name in rates_of_reactions},
            events=tuple(
                Event(
                    substitute(event.trigger, inlined),
                    {name: substitute(value, inlined) for name, value in event.assignments.items()},
                    event.delay and substitute(event.delay, inlined),
                    event.plain,
                )
                for event in events
            ),
        )

    def quantity(self, name: str, value: Expression) -> None:
        if name not in self.assigned:
            self.quantities.append(name)
            self.initial[name] = self.initial_assignments.get(name, value)

    def species(self, item: Any) -> None:
        name, compartment = item.getId(), Symbol(item.getCompartment())
        home = self.model.getCompartment(item.getCompartment())
        in_amount = item.getHasOnlySubstanceUnits() or (home is not None and home.getSpatialDimensions() == 0)
        self.size_of[name] = ONE if in_amount else compartment
        value: Expression = MISSING
        if item.isSetInitialAmount():
            value = divide(item.getInitialAmount(), self.size_of[name])
        elif item.isSetInitialConcentration():
            value = Number(item.getInitialConcentration()) * (compartment if in_amount else ONE)
        self.quantity(name, value)

    def reactions(self) -> tuple[dict[str, dict[str, Expression]], dict[str, Expression]]:
        """Species -> reaction -> amount made per unit of the reaction, and reaction -> rate."""
        model = self.model
        exchanges: dict[str, dict[str, Expression]] = {}
        rates: dict[str, Expression] = {}
        for reaction in _elements(model.getListOfReactions()):
            law = reaction.getKineticLaw()
            if reaction.isSetFast() and reaction.getFast():
                raise UnsupportedModel(f"reaction {reaction.getId()!r} is fast; only ordinary rates work here")
            rates[reaction.getId()] = self.math(law) if law is not None and law.isSetMath() else MISSING
            sides = ((reaction.getListOfReactants(), -1.0), (reaction.getListOfProducts(), 1.0))
            for reference, sign in ((item, sign) for side, sign in sides for item in _elements(side)):
                stoichiometry = self.stoichiometry(reference)
                species = model.getSpecies(reference.getSpecies())
                name = species.getId()
                if (
                    species.getBoundaryCondition()
                    or species.getConstant()
                    or name in self.assigned
                    or name in self.rate_rules
                ):
                    continue
                factor = species.getConversionFactor() or model.getConversionFactor()
                scale = Symbol(factor) if factor else ONE
                made = exchanges.setdefault(name, {})
                made[reaction.getId()] = made.get(reaction.getId(), ZERO) + multiply(sign, stoichiometry, scale)
        return exchanges, rates

    def stoichiometry(self, reference: Any) -> Expression:
        if reference.isSetStoichiometryMath():  # Level 2
            return self.math(reference.getStoichiometryMath())
        set_value = reference.isSetStoichiometry() or self.model.getLevel() < 3
        value = Number(reference.getStoichiometry()) if set_value else MISSING
        name = reference.getId() if self.model.getLevel() >= 3 else ""
        if not name:
            return value
        variable = name in self.assigned or name in self.rate_rules or name in self.initial_assignments
        self.quantity(name, value)
        return Symbol(name) if variable or not reference.getConstant() else value

    def dilution(self, rates: dict[str, Expression], inlined: Mapping[str, Expression]) -> set[str]:
        """Concentrations change when their compartment grows: d(n/V)/dt = n'/V - (n/V) V'/V.  Which did?"""
        diluted = set()
        for name, size in self.size_of.items():
            if not isinstance(size, Symbol) or name in self.rate_rules or name in self.assigned:
                continue
            if size.name in rates:
                growth = rates[size.name]
            elif size.name in inlined:
                volume = inlined[size.name]
                slopes = gradient(volume, (*rates, TIME_NAME))
                growth = add(*(slope * rates.get(by, ONE) for by, slope in slopes.items()))
            else:
                continue
            if growth is not ZERO:
                loss = Symbol(name) * growth / substitute(size, inlined)
                rates[name] = substitute(rates.get(name, ZERO), inlined) - loss
                diluted.add(name)
        return diluted

    def event(self, item: Any) -> Event:
        values = {
            assignment.getVariable(): self.math(assignment)
            for assignment in _elements(item.getListOfEventAssignments())
            if assignment.isSetMath()
        }
        trigger, delay = item.getTrigger(), item.getDelay()
        plain = (item.getLevel() < 3 or not item.isSetPriority()) and item.getUseValuesFromTriggerTime()
        return Event(
            self.math(trigger) if trigger is not None and trigger.isSetMath() else ZERO,
            values,
            self.math(delay) if delay is not None and delay.isSetMath() else None,
            bool(plain),
        )


def _default_size(compartment: Any) -> Expression:
    return ONE if compartment.getLevel() == 2 and compartment.getSpatialDimensions() == 3 else MISSING


def _elements(items: Any) -> list[Any]:
    return [items.get(i) for i in range(items.size())]


def _function_table(model: Any) -> FunctionTable:
    definitions = {item.getId(): item for item in _elements(model.getListOfFunctionDefinitions())}
    table: dict[str, tuple[tuple[str, ...], Expression]] = {}

    def define(name: str, above: tuple[str, ...]) -> None:
        if name in table or name not in definitions:
            return
        if name in above:
            raise InvalidModel(f"the function {name!r} calls itself")
        item = definitions[name]
        for called in _called(item.getBody()):
            define(called, (*above, name))
        arguments = tuple(item.getArgument(i).getName() for i in range(item.getNumArguments()))
        table[name] = arguments, from_mathml(item.getBody(), table)

    for name, item in definitions.items():
        if item.isSetMath() and item.getBody() is not None:
            define(name, ())
    return table


def _called(root: Any) -> set[str]:
    """Names of the functions that a formula calls."""
    libsbml = libsbml_module()

    found, stack = set(), [root]
    while stack:
        node = stack.pop()
        if node.getType() == libsbml.AST_FUNCTION:
            found.add(node.getName())
        stack.extend(node.getChild(i) for i in range(node.getNumChildren()))
    return found
