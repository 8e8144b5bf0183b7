"""Which values of an SBML model a result depends on, and which of them the file does not give.

Some valid models leave values out and never need them, so a missing value is no fault of the model: it
is a fault of a request whose result depends on it.  `missing_behind` tells.

A species has two quantities, an amount and a concentration, of which its identifier means one (SBML's
``hasOnlySubstanceUnits``).  Here ``S`` is what the identifier means in the formulas of the model,
``[S]`` is the concentration and ``amount(S)`` the amount.  A local parameter ``k`` of reaction ``J`` is
``J.k``; the stoichiometry of ``S`` in ``J`` is its own identifier or, without one, ``J.S``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kinetics.errors import InvalidModel
from kinetics.sbml_library import libsbml_module

Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Dependencies:
    """What each symbol of a model depends on, at any time of a simulation."""

    graph: Mapping[str, frozenset[str]]  # symbol -> symbols that its value or its derivative names
    missing: Mapping[str, str]  # symbol without a value -> what it is, in words

    def missing_behind(self, wanted: Iterable[str]) -> frozenset[str]:
        """Identifiers of missing values among the symbols behind the wanted ones."""
        return frozenset(_identifier(name) for name in self.behind(wanted) & self.missing.keys())

    @property
    def missing_ids(self) -> frozenset[str]:
        """Identifiers of all missing values."""
        return frozenset(_identifier(name) for name in self.missing)

    def behind(self, wanted: Iterable[str]) -> frozenset[str]:
        """All symbols that the wanted ones depend on, themselves included."""
        seen: set[str] = set()
        open_ones = list(wanted)
        while open_ones:
            name = open_ones.pop()
            if name not in seen:
                seen.add(name)
                open_ones.extend(self.graph.get(name, ()))
        return frozenset(seen)


def dependencies(sbml: str) -> Mapping[str, frozenset[str]]:
    """For each symbol the symbols that its value or its derivative depends on (one step).

    Beside identifiers there are the nodes ``[S]``, ``amount(S)`` and ``start(S)``, the initial value.
    """
    return _read(sbml).graph


def missing_behind(sbml: str, wanted: Iterable[str]) -> frozenset[str]:
    """Missing values that the wanted results depend on.

    Args:
        sbml: a flat model, as `kinetics.validation.read_sbml` returns it.
        wanted: species, ``[species]``, ``amount(species)``, parameters, compartments, reactions.

    Returns:
        Identifiers without a value; empty when the results are determined.
    """
    return _read(sbml).missing_behind(wanted)


def _identifier(name: str) -> str:
    """``S`` of ``start(S)``, the node that stands for the initial value of species S."""
    return name[6:-1] if name.startswith("start(") else name


@lru_cache(maxsize=32)
def _read(sbml: str) -> Dependencies:
    libsbml = libsbml_module()

    model = libsbml.readSBMLFromString(sbml).getModel()
    if model is None:
        raise InvalidModel("expected SBML with a model in it")
    return analyse(model)


def names_in(math: Any) -> frozenset[str]:
    """Symbols a formula (``libsbml.ASTNode``) names; ``rateOf(x)`` for a derivative it names.

    Functions of the model are not looked into: they cannot name symbols of the model.
    """
    libsbml = libsbml_module()

    names = set()
    for node in nodes(math):
        kind = node.getType()
        if kind == libsbml.AST_NAME:
            names.add(node.getName())
        elif kind == libsbml.AST_FUNCTION_RATE_OF:
            names.add(f"rateOf({node.getChild(0).getName()})")
            names.discard(node.getChild(0).getName())
    return frozenset(names)


def nodes(math: Any) -> Iterator[Any]:
    """The nodes of a formula, parents first; those below ``rateOf`` are left out."""
    libsbml = libsbml_module()

    open_ones = [math] if math is not None else []
    while open_ones:
        node = open_ones.pop()
        yield node
        if node.getType() != libsbml.AST_FUNCTION_RATE_OF:
            open_ones.extend(node.getChild(i) for i in range(node.getNumChildren()))


def formulas(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Every formula of a ``libsbml.Model``: words for where it is, the symbol it defines or "", ``ASTNode``."""

    def of(part: Any, where: str, symbol: str = "") -> Iterator[tuple[str, str, Any]]:
        if part is not None and part.isSetMath():
            yield where, symbol, part.getMath()

    for function in _items(model.getNumFunctionDefinitions(), model.getFunctionDefinition):
        yield from of(function, f"function {function.getId()!r}", function.getId())
    for start in _items(model.getNumInitialAssignments(), model.getInitialAssignment):
        yield from of(start, f"initial assignment of {start.getSymbol()!r}", start.getSymbol())
    for rule in _items(model.getNumRules(), model.getRule):
        where = f"rule of {rule.getVariable()!r}" if not rule.isAlgebraic() else "algebraic rule"
        yield from of(rule, where, rule.getVariable() if rule.isAssignment() else "")
    for constraint in _items(model.getNumConstraints(), model.getConstraint):
        yield from of(constraint, "constraint")
    for reaction in _items(model.getNumReactions(), model.getReaction):
        yield from of(reaction.getKineticLaw(), f"kinetic law of {reaction.getId()!r}", reaction.getId())
        for reference in _references(reaction):
            yield from of(reference.getStoichiometryMath(), f"stoichiometry of {reference.getSpecies()!r}")
    for event in _items(model.getNumEvents(), model.getEvent):
        where = f"event {event.getId()!r}" if event.isSetId() else "event"
        yield from of(event.getTrigger(), f"trigger of {where}")
        yield from of(event.getDelay(), f"delay of {where}")
        yield from of(event.getPriority(), f"priority of {where}")
        for change in _items(event.getNumEventAssignments(), event.getEventAssignment):
            yield from of(change, f"assignment of {change.getVariable()!r} in {where}")


def _references(reaction: Any) -> Iterator[Any]:
    yield from _items(reaction.getNumReactants(), reaction.getReactant)
    yield from _items(reaction.getNumProducts(), reaction.getProduct)


def _items(count: int, get: Any) -> Iterator[Any]:
    return (get(i) for i in range(count))


class Parts:
    """Rules, assignments and reactions of a libSBML model by the symbol they determine."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.assigned: dict[str, frozenset[str]] = {}  # by assignment rules
        self.rates: dict[str, frozenset[str]] = {}  # by rate rules
        self.initial: dict[str, frozenset[str]] = {}  # by initial assignments
        self.events: Graph = {}
        self.laws: dict[str, frozenset[str]] = {}  # symbols of kinetic laws; local ones as J.k
        self.lawless: set[str] = set()
        # species -> (reaction, name of the stoichiometry) of every reaction that changes it
        self.changes: dict[str, list[tuple[str, str]]] = {}
        self.stoichiometries: dict[str, frozenset[str]] = {}
        self.missing: dict[str, str] = {}
        self._rules()
        for reaction in _items(model.getNumReactions(), model.getReaction):
            self._reaction(reaction)
        self._events()

    def _rules(self) -> None:
        model = self.model
        for rule in _items(model.getNumRules(), model.getRule):
            if rule.isSetMath() and not rule.isAlgebraic():
                kind = self.rates if rule.isRate() else self.assigned
                kind[rule.getVariable()] = names_in(rule.getMath())
        for start in _items(model.getNumInitialAssignments(), model.getInitialAssignment):
            if start.isSetMath():
                self.initial[start.getSymbol()] = names_in(start.getMath())

    def _events(self) -> None:
        for event in _items(self.model.getNumEvents(), self.model.getEvent):
            around: set[str] = set()
            for part in (event.getTrigger(), event.getDelay(), event.getPriority()):
                if part is not None and part.isSetMath():
                    around |= names_in(part.getMath())
            for change in _items(event.getNumEventAssignments(), event.getEventAssignment):
                if change.isSetMath():
                    self.events.setdefault(change.getVariable(), set()).update(around, names_in(change.getMath()))

    def _reaction(self, reaction: Any) -> None:
        key = reaction.getId()
        law = reaction.getKineticLaw()
        if law is None or not law.isSetMath():
            self.lawless.add(key)
        else:
            local = {parameter.getId() for parameter in self._locals(law, key)}
            used = names_in(law.getMath())
            self.laws[key] = frozenset(f"{key}.{name}" if name in local else name for name in used)
        for reference in _references(reaction):
            self._reference(reference, key)

    def _locals(self, law: Any, reaction: str) -> Iterator[Any]:
        # Level 3 has local parameters, Level 1 and 2 plain parameters inside the law
        number = law.getNumLocalParameters() or law.getNumParameters()
        get = law.getLocalParameter if law.getNumLocalParameters() else law.getParameter
        for parameter in _items(number, get):
            if not parameter.isSetValue():
                name = f"{reaction}.{parameter.getId()}"
                self.missing[name] = f"local parameter {parameter.getId()!r} of reaction {reaction!r} has no value"
            yield parameter

    def _reference(self, reference: Any, reaction: str) -> None:
        species = reference.getSpecies()
        name = reference.getId() if reference.isSetId() else f"{reaction}.{species}"
        self.changes.setdefault(species, []).append((reaction, name))
        math = reference.getStoichiometryMath()
        if math is not None and math.isSetMath():
            self.stoichiometries[name] = names_in(math.getMath())
        elif name not in self.assigned and name not in self.initial:
            # Levels 1 and 2 have the default 1, Level 3 has none
            if reference.getLevel() >= 3 and not reference.isSetStoichiometry():
                self.missing[name] = f"stoichiometry of {species!r} in reaction {reaction!r} has no value"

    def changing(self, species: Any) -> list[tuple[str, str]]:
        """Reactions (with stoichiometries) that change a species."""
        key = species.getId()
        if species.getBoundaryCondition() or species.getConstant() or key in self.assigned or key in self.rates:
            return []
        return self.changes.get(key, [])

    def sized(self, key: str) -> str | None:
        """The compartment, if it has a size that relates amounts to concentrations."""
        compartment = self.model.getCompartment(key)
        if compartment is None or (
            compartment.isSetSpatialDimensions() and compartment.getSpatialDimensionsAsDouble() == 0
        ):
            return None
        return key


def analyse(model: Any) -> Dependencies:
    """Dependencies and missing values of a flat ``libsbml.Model``."""
    parts = Parts(model)
    graph: Graph = {}
    missing = parts.missing
    for source in (
        parts.assigned,
        parts.rates,
        parts.initial,
        parts.laws,
        parts.stoichiometries,
        parts.events,
    ):
        for key, used in source.items():
            graph.setdefault(key, set()).update(used)
    for species in _items(model.getNumSpecies(), model.getSpecies):
        _add_species(species, parts, graph)

    given = parts.assigned.keys() | parts.initial.keys()
    for compartment in _items(model.getNumCompartments(), model.getCompartment):
        key = compartment.getId()
        # In Level 1 a volume left out is 1; from Level 2 on a size has no default
        if key not in given and not compartment.isSetSize() and model.getLevel() > 1 and parts.sized(key):
            missing[key] = f"compartment {key!r} has no size"
    for parameter in _items(model.getNumParameters(), model.getParameter):
        if parameter.getId() not in given and not parameter.isSetValue():
            missing[parameter.getId()] = f"parameter {parameter.getId()!r} has no value"
    for species in _items(model.getNumSpecies(), model.getSpecies):
        key = species.getId()
        if key not in given and not species.isSetInitialAmount() and not species.isSetInitialConcentration():
            missing[f"start({key})"] = f"species {key!r} has no initial value"
    for key in parts.lawless:
        missing[key] = f"reaction {key!r} has no kinetic law"

    frozen = {}
    for key, used in graph.items():  # a derivative depends on what its variable depends on
        frozen[key] = frozenset(name[7:-1] if name.startswith("rateOf(") else name for name in used)
    return Dependencies(frozen, dict(missing))


def _add_species(species: Any, parts: Parts, graph: Graph) -> None:
    """Edges between a species' identifier, amount, concentration and what determines them."""
    key, home = species.getId(), parts.sized(species.getCompartment())
    amount, concentration, start = f"amount({key})", f"[{key}]", f"start({key})"
    only_amount = species.getHasOnlySubstanceUnits()
    meant, other = (amount, concentration) if only_amount else (concentration, amount)
    size = {home} if home else set()
    edges: Graph = {amount: set(), concentration: set()}
    # Rules, initial assignment and events name the identifier but determine both quantities
    graph[start] = graph.pop(key, set())
    graph[key] = {meant}

    by_rule = key in parts.assigned or key in parts.rates
    changing = parts.changing(species)
    if by_rule:  # the rule is about what the identifier means; the rest follows through the size
        edges[other] |= {meant} | size
    else:
        if key in parts.initial:
            as_amount = only_amount
        else:
            as_amount = species.isSetInitialAmount() or (not species.isSetInitialConcentration() and only_amount)
        moving = home is not None and (home in parts.assigned or home in parts.rates or home in parts.events)
        if changing or as_amount or moving:  # the state is the amount
            edges[concentration] |= {amount} | size
            if not as_amount:
                edges[amount] |= size
        else:
            edges[amount] |= {concentration} | size
        for reaction, stoichiometry in changing:
            edges[amount] |= {reaction, stoichiometry}
        if changing:
            factor = species.getConversionFactor() or parts.model.getConversionFactor()
            if factor:
                edges[amount].add(factor)
        if key in parts.events and not only_amount:
            edges[amount] |= size
    for quantity, targets in edges.items():
        graph[quantity] = targets | {start}
