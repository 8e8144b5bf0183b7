"""What a model is made of, as frozen tables: the names, kinds, values, units and rules of an SBML file."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from kinetics.dependencies import names_in
from kinetics.errors import UnsupportedModel
from kinetics.expression import TIME, Call, Expression, nodes
from kinetics.mathml import FunctionTable, from_mathml
from kinetics.rewriting import CLOCKLESS
from kinetics.sbml_library import libsbml_module
from kinetics.units import unit_name

Kind = Literal["species", "parameter", "compartment", "stoichiometry", "reaction"]


@dataclass(frozen=True)
class Entity:
    """One name of the model that has a value."""

    id: str
    kind: Kind
    name: str  # the name for people; the id where the file gives none
    value: float | None  # as the file states it; concentration for species unless `amount`; None: not stated
    terms: tuple[tuple[str, float, int, float], ...] | None  # unit as (kind, exponent, scale, multiplier); None: none
    constant: bool
    rule: Literal["", "assignment", "rate"]
    assigned_initially: bool  # an initial assignment gives its value
    compartment: str = ""  # of a species
    amount: bool = False  # the symbol of this species means its amount, not its concentration
    stated_as_amount: bool = False  # the file states an initial amount, which a change of volume leaves alone
    boundary: bool = False  # a species whose value reactions do not change
    sbo: int = -1

    @property
    def unit(self) -> str:
        """The unit in words such as ``"nM"``; ``""`` where dimensionless or not declared."""
        return unit_name(self.terms) if self.terms else ""

    @property
    def declares_unit(self) -> bool:
        """Whether the file says in which unit the value is (dimensionless counts)."""
        return self.terms is not None

    @property
    def selection(self) -> str:
        """The engine's word for the value of this symbol."""
        return f"[{self.engine_id}]" if self.kind == "species" and not self.amount else self.engine_id

    @property
    def engine_id(self) -> str:
        """Its name in the engine; of a species: the amount."""
        return CLOCKLESS if self.id == "time" else self.id

    @property
    def why_fixed(self) -> str:
        """Why an experiment cannot set it."""
        return "an assignment rule determines it" if self.rule == "assignment" else f"it is a {self.kind}"

    @property
    def settable(self) -> bool:
        """Whether an experiment can set it."""
        return self.rule != "assignment" and self.kind in ("species", "parameter", "compartment")


@dataclass(frozen=True)
class Event:
    """An event; text in the place of a formula says why it cannot be read."""

    id: str
    trigger: Expression | str
    assignments: tuple[tuple[str, Expression | str], ...]
    delayed: bool
    priority: Expression | str | None = None
    persistent: bool = True
    at_trigger: bool = True  # assignments use the values at the time of the trigger


@dataclass(frozen=True)
class Description:
    """The tables of a model."""

    id: str
    title: str
    entities: Mapping[str, Entity]
    initial: Mapping[str, Expression | str]  # initial assignments; text: why it cannot be read
    assignments: Mapping[str, Expression | str]  # assignment rules, likewise
    events: tuple[Event, ...]
    time_terms: tuple[tuple[str, float, int, float], ...] | None
    notes: str
    laws: Mapping[str, frozenset[str]] = field(default_factory=dict)  # reaction -> symbols of its kinetic law
    switches: tuple[Expression, ...] = ()  # what time is compared with: numbers, or formulas in constants

    def of_kind(self, kind: Kind) -> tuple[str, ...]:
        return tuple(entity.id for entity in self.entities.values() if entity.kind == kind)

    @property
    def time_unit(self) -> str:
        """``"min"``, ``"h"``, ...; ``""`` where the file declares none."""
        return unit_name(self.time_terms) if self.time_terms else ""

    @functools.cached_property
    def states(self) -> tuple[str, ...]:
        """What changes by itself: floating species and everything under a rate rule."""
        return tuple(
            entity.id
            for entity in self.entities.values()
            if entity.rule == "rate"
            or (entity.kind == "species" and not entity.boundary and not entity.constant and not entity.rule)
        )

    def depends_on(self, names: Iterable[str]) -> frozenset[str]:
        """Initial assignments whose value follows from ``names``, directly or through other assignments."""
        return self.following(names) & self.initial.keys()

    def following(self, names: Iterable[str]) -> frozenset[str]:
        """What is assigned, at the start or always, and follows from ``names``."""
        reached = set(names)
        users: dict[str, set[str]] = {}
        for table in (self.initial, self.assignments):
            for target, formula in table.items():
                if not isinstance(formula, str):
                    for symbol in formula.names:
                        users.setdefault(symbol, set()).add(target)
        for reaction, symbols in self.laws.items():
            for symbol in symbols:
                users.setdefault(symbol, set()).add(reaction)
        for entity in self.entities.values():  # a concentration follows from the volume, or is assigned for any volume
            assigned = entity.id in self.initial and not entity.amount
            if entity.kind == "species" and (entity.stated_as_amount or assigned):
                users.setdefault(entity.compartment, set()).add(entity.id)
        frontier = list(reached)
        while frontier:
            for target in users.get(frontier.pop(), ()):
                if target not in reached:
                    reached.add(target)
                    frontier.append(target)
        return frozenset(reached - set(names))

    def in_order(self, targets: Iterable[str]) -> tuple[str, ...]:
        """Initial assignments ordered so that each comes after those it needs."""
        wanted, ordered, seen = set(targets), [], set()

        def visit(name: str) -> None:
            if name in seen:
                return
            seen.add(name)
            formula = self.initial.get(name, self.assignments.get(name, ""))
            if not isinstance(formula, str):
                for symbol in sorted(formula.names):
                    visit(symbol)
                    if symbol in self.entities and self.entities[symbol].compartment:
                        visit(self.entities[symbol].compartment)
            if name in wanted:
                ordered.append(name)

        for name in sorted(wanted):
            visit(name)
        return tuple(ordered)


def _terms(definition: Any) -> tuple[tuple[str, float, int, float], ...] | None:
    libsbml = libsbml_module()

    if definition is None or definition.getNumUnits() == 0:
        return None
    units = [definition.getUnit(index) for index in range(definition.getNumUnits())]
    kinds = [libsbml.UnitKind_toString(unit.getKind()) for unit in units]
    if "(Invalid UnitKind)" in kinds:
        return None
    return tuple(
        (kind, unit.getExponentAsDouble(), unit.getScale(), unit.getMultiplier())
        for kind, unit in zip(kinds, units, strict=True)
    )


def functions_of(model: Any) -> FunctionTable:
    """Function definitions, in the order of the file (each may call those before it)."""
    table: dict[str, tuple[tuple[str, ...], Expression]] = {}
    pending = [model.getFunctionDefinition(index) for index in range(model.getNumFunctionDefinitions())]
    while pending:  # later levels allow any order: go round until nothing more can be read
        left = []
        for definition in pending:
            body = definition.getBody()
            if body is None:
                continue
            arguments = tuple(definition.getArgument(index).getName() for index in range(definition.getNumArguments()))
            try:
                table[definition.getId()] = (arguments, from_mathml(body, table))
            except UnsupportedModel:
                left.append(definition)
        if len(left) == len(pending):
            break
        pending = left
    return table


def _formula(math: Any, functions: FunctionTable) -> Expression | str:
    if math is None:
        return "it has no formula"
    try:
        return from_mathml(math, functions)
    except UnsupportedModel as error:
        return str(error)


def _species(species: Any, model: Any, rules: Mapping[str, str], initially: frozenset[str]) -> Entity:
    compartment = model.getCompartment(species.getCompartment())
    amount = species.getHasOnlySubstanceUnits() or (compartment is not None and compartment.getSpatialDimensions() == 0)
    size = compartment.getSize() if compartment is not None and compartment.isSetSize() else None
    value: float | None = None
    if species.isSetInitialAmount():
        value = species.getInitialAmount()
        if not amount:
            value = value / size if size else None
    elif species.isSetInitialConcentration():
        value = species.getInitialConcentration()
        if amount:
            value = value * size if size is not None else None
    definition = species.getDerivedUnitDefinition()
    return Entity(
        species.getId(),
        "species",
        species.getName() or species.getId(),
        value,
        _terms(definition),
        species.getConstant(),
        rules.get(species.getId(), ""),  # type: ignore[arg-type]  # "assignment" or "rate"
        species.getId() in initially,
        species.getCompartment(),
        amount,
        species.isSetInitialAmount(),
        species.getBoundaryCondition(),
        species.getSBOTerm(),
    )


def describe_sbml(sbml: str) -> Description:
    """The tables of a checked, flat SBML text."""
    libsbml = libsbml_module()

    document = libsbml.readSBMLFromString(sbml)
    model = document.getModel()
    functions = functions_of(model)
    rules: dict[str, str] = {}
    assignments: dict[str, Expression | str] = {}
    for rule in (model.getRule(index) for index in range(model.getNumRules())):
        if rule.isRate():
            rules[rule.getVariable()] = "rate"
        elif rule.isAssignment():
            rules[rule.getVariable()] = "assignment"
            assignments[rule.getVariable()] = _formula(rule.getMath(), functions)
    initial: dict[str, Expression | str] = {}
    for index in range(model.getNumInitialAssignments()):
        assignment = model.getInitialAssignment(index)
        if assignment.isSetMath():
            initial[assignment.getSymbol()] = _formula(assignment.getMath(), functions)
    initially = frozenset(initial)

    entities: dict[str, Entity] = {}
    for index in range(model.getNumCompartments()):
        item = model.getCompartment(index)
        entities[item.getId()] = Entity(
            item.getId(), "compartment", item.getName() or item.getId(),
            item.getSize() if item.isSetSize() else None, _terms(item.getDerivedUnitDefinition()),
            item.getConstant(), rules.get(item.getId(), ""),  # type: ignore[arg-type]  # "assignment" or "rate"
            item.getId() in initially, sbo=item.getSBOTerm(),
        )  # fmt: skip
    for index in range(model.getNumSpecies()):
        species = _species(model.getSpecies(index), model, rules, initially)
        entities[species.id] = species
    for index in range(model.getNumParameters()):
        item = model.getParameter(index)
        entities[item.getId()] = Entity(
            item.getId(), "parameter", item.getName() or item.getId(),
            item.getValue() if item.isSetValue() else None,
            _terms(item.getDerivedUnitDefinition()) if item.isSetUnits() else None,
            item.getConstant(), rules.get(item.getId(), ""),  # type: ignore[arg-type]  # "assignment" or "rate"
            item.getId() in initially, sbo=item.getSBOTerm(),
        )  # fmt: skip
    for index in range(model.getNumReactions()):
        reaction = model.getReaction(index)
        entities[reaction.getId()] = Entity(
            reaction.getId(), "reaction", reaction.getName() or reaction.getId(), None, None, False, "", False,
            sbo=reaction.getSBOTerm(),
        )  # fmt: skip
        sides = [(reaction.getNumReactants, reaction.getReactant), (reaction.getNumProducts, reaction.getProduct)]
        for count, get in sides:
            for number in range(count()):
                reference = get(number)
                if reference.isSetIdAttribute():
                    entities[reference.getIdAttribute()] = Entity(
                        reference.getIdAttribute(), "stoichiometry", reference.getIdAttribute(),
                        reference.getStoichiometry() if reference.isSetStoichiometry() else None, None,
                        reference.getConstant(), rules.get(reference.getIdAttribute(), ""),  # type: ignore[arg-type]  # "assignment" or "rate"
                        reference.getIdAttribute() in initially,
                    )  # fmt: skip
    events = tuple(_event(model.getEvent(index), functions) for index in range(model.getNumEvents()))
    time_terms = _time_terms(model, document.getLevel())
    return Description(
        model.getIdAttribute() or "model",
        model.getName() or model.getIdAttribute() or "model",
        MappingProxyType(entities),
        MappingProxyType(initial),
        MappingProxyType(assignments),
        events,
        time_terms,
        model.getNotesString() or "",
        _laws(model),
        _switches(model, events, assignments.values(), functions) if "symbols/time" in sbml else (),
    )


def _event(event: Any, functions: FunctionTable) -> Event:
    trigger = event.getTrigger()
    assignments = (event.getEventAssignment(index) for index in range(event.getNumEventAssignments()))
    return Event(
        event.getIdAttribute(),
        _formula(trigger.getMath() if trigger is not None else None, functions),
        tuple((item.getVariable(), _formula(item.getMath(), functions)) for item in assignments if item.isSetMath()),
        event.isSetDelay() and event.getDelay().isSetMath(),
        _formula(event.getPriority().getMath(), functions) if event.isSetPriority() else None,
        trigger.getPersistent() if trigger is not None and trigger.isSetPersistent() else True,
        event.getUseValuesFromTriggerTime(),
    )


def _laws(model: Any) -> dict[str, frozenset[str]]:
    """The symbols of each kinetic law: what an initial assignment depends on that reads a reaction."""
    found = {}
    for reaction in (model.getReaction(index) for index in range(model.getNumReactions())):
        law = reaction.getKineticLaw()
        if law is not None and law.isSetMath():
            found[reaction.getId()] = names_in(law.getMath())
    return found


def _switches(
    model: Any, events: Iterable[Event], assignments: Iterable[Expression | str], functions: FunctionTable
) -> tuple[Expression, ...]:
    """Everything that time is compared with, in events, rules and kinetic laws.

    The engine finds a switch by a change of sign from one step to the next, and steps over one that is
    undone again in between; so the times of such switches have to be known.
    """
    formulas: list[Expression | str] = [event.trigger for event in events]
    formulas += assignments
    for index in range(model.getNumRules()):
        if model.getRule(index).isRate():
            formulas.append(_formula(model.getRule(index).getMath(), functions))
    for index in range(model.getNumReactions()):
        law = model.getReaction(index).getKineticLaw()
        if law is not None:
            formulas.append(_formula(law.getMath(), functions))
    known = {model.getParameter(i).getId() for i in range(model.getNumParameters())}
    found: dict[Expression, None] = {}
    for node in nodes([formula for formula in formulas if isinstance(formula, Expression)]):
        if isinstance(node, Call) and node.op in ("<", "<=", ">", ">=", "==", "!="):
            for one, other in ((node.args[0], node.args[-1]), (node.args[-1], node.args[0])):
                if one is TIME and TIME not in (other,) and other.names <= known:
                    found[other] = None
    return tuple(found)


def _time_terms(model: Any, level: int) -> tuple[tuple[str, float, int, float], ...] | None:
    if level >= 3:
        if not model.isSetTimeUnits():
            return None
        name = model.getTimeUnits()
    else:
        name = "time"
    definition = model.getUnitDefinition(name)
    if definition is not None:
        return _terms(definition)
    if name in ("time", "second"):  # L1 and L2: seconds unless redefined
        return (("second", 1.0, 0, 1.0),)
    return (("dimensionless", 1.0, 0, 1.0),) if name == "dimensionless" else None
