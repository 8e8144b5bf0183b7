"""Definitions that go round in circles, which crash the engine or keep it busy for ever.

libSBML finds most of them; what it leaves out are the orders of Level 1 and early Level 2, circles through
``rateOf``, and functions that are no circle but double in size at every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kinetics.dependencies import Parts, formulas, nodes
from kinetics.errors import InvalidModel, UnsupportedModel
from kinetics.sbml_library import libsbml_module

# Limits of what libSBML and the engine do in reasonable time; no published model comes near them.
MAX_TERMS = 300_000  # of all formulas together, written out: the engine compiles 50 000 in 2 s
MAX_LEVELS = 2_000  # of nesting, written out: the engine's stack overflows between 2 000 and 5 000
MAX_CALLS = 1_500  # pairs of functions: libSBML needs 0.5 s for 1 200 and 21 s for 5 000
MAX_PAIRS = 50_000  # pairs of rules: libSBML needs 2.5 s for 45 000, the engine 10 s
_ENOUGH = 10**12  # sizes are not counted beyond; they would double without end


def sort_callees_first(graph: Mapping[str, Iterable[str]]) -> tuple[list[str], list[str]]:
    """Order the nodes of a graph so that what a node needs precedes it.

    Returns:
        The order and no circle, or an order that is not complete and one circle, such as ``["a", "b", "a"]``.
    """
    done: dict[str, bool] = {}  # False while the node is on the path
    order: list[str] = []
    for root in graph:
        if root in done:
            continue
        done[root] = False
        path = [(root, iter(graph[root]))]  # by hand: chains are longer than Python may recurse
        while path:
            node, targets = path[-1]
            for target in targets:
                if target not in graph:
                    continue
                if target not in done:
                    done[target] = False
                    path.append((target, iter(graph[target])))
                    break
                if not done[target]:
                    names = [name for name, _ in path]
                    return order, [*names[names.index(target) :], target]
            else:
                path.pop()
                done[node] = True
                order.append(node)
    return order, []


def _arrows(circle: list[str]) -> str:
    shown = circle if len(circle) <= 12 else [*circle[:10], "...", circle[-1]]
    return " -> ".join(name if name == "..." else repr(name) for name in shown)


def check_assignments(model: Any, origin: str) -> dict[str, set[str]]:
    """Refuse values that are defined by way of themselves.

    Such circles go through initial assignments, assignment rules, kinetic laws, rates of change
    (``rateOf``) and the compartment whose size turns an amount into a concentration.

    Returns:
        For each symbol that is defined by a formula, the symbols it needs at the same instant.

    Raises:
        InvalidModel: names the circle.
    """
    parts = Parts(model)
    graph: dict[str, set[str]] = {}
    for source in (parts.assigned, parts.initial, parts.laws, parts.stoichiometries):
        for key, used in source.items():
            graph.setdefault(key, set()).update(used)
    for i in range(model.getNumSpecies()):
        species = model.getSpecies(i)
        key, home = species.getId(), parts.sized(species.getCompartment())
        rate = f"rateOf({key})"
        if key in parts.rates:
            graph[rate] = set(parts.rates[key])
        else:
            graph[rate] = {name for change in parts.changing(species) for name in change}
        if home is None or species.getHasOnlySubstanceUnits():
            continue
        if key not in parts.rates:
            graph[rate].add(home)
        given = parts.assigned.keys() | parts.initial.keys()
        if (key not in given and species.isSetInitialAmount()) or (
            home in parts.assigned and key not in parts.assigned and key not in parts.rates
        ):  # its concentration is its amount over the size
            graph.setdefault(key, set()).add(home)
    for key, used in parts.rates.items():
        graph.setdefault(f"rateOf({key})", set()).update(used)
    _, circle = sort_callees_first(graph)
    if circle:
        raise InvalidModel(f"{origin}: values are defined by way of themselves: {_arrows(circle)}")
    return graph


class Sizes:
    """How large formulas become when the engine writes out the functions and rules they name."""

    def __init__(self, functions: Mapping[str, tuple[list[str], Any]]) -> None:
        self.functions = functions
        # function -> own terms, own depth, and for each argument how often and how deep it appears
        self._known: dict[str, tuple[int, int, list[tuple[int, int]]]] = {}

    def add(self, key: str) -> None:
        """Measure a function; the functions it calls must have been added before."""
        arguments, body = self.functions[key]
        appearances = self.expand(body)
        own = appearances.pop("", (0, 0))
        uses = [appearances.pop(argument, (0, 0)) for argument in arguments]
        terms = own[0] + sum(times for times, _ in appearances.values())
        self._known[key] = terms, own[1], uses

    def expand(self, math: Any) -> dict[str, tuple[int, int]]:
        """How often and how deep each name appears with functions written out; "" is all that is no name."""
        import libsbml

        found: dict[str, tuple[int, int]] = {}
        open_ones = [(math, 1, 1)]
        while open_ones:
            node, times, level = open_ones.pop()
            times = min(times, _ENOUGH)
            kind, name = node.getType(), node.getName()
            children = [node.getChild(i) for i in range(node.getNumChildren())]
            if kind == libsbml.AST_FUNCTION and name in self._known:
                terms, deep, uses = self._known[name]
                self._count(found, "", times * terms, level + deep)
                for child, (again, below) in zip(children, uses, strict=False):
                    open_ones.append((child, times * again, level + below))
            else:
                self._count(found, name if kind == libsbml.AST_NAME else "", times, level)
                # a sum of n terms becomes n - 1 nested sums of two
                step = max(1, len(children) - 1)
                open_ones += [(child, times, level + step) for child in children]
        return found

    @staticmethod
    def _count(found: dict[str, tuple[int, int]], key: str, times: int, level: int) -> None:
        before = found.get(key, (0, 0))
        found[key] = min(before[0] + times, _ENOUGH), max(before[1], level)


def check_formulas(model: Any, origin: str) -> list[int]:
    """Refuse formulas that libSBML or the engine cannot work through: circles, explosions, gaps.

    To be called before libSBML checks or flattens the model, which may take minutes or crash otherwise.

    Returns:
        The number of terms of every formula with its functions (not its rules) written out.

    Raises:
        InvalidModel: functions or values are defined by way of themselves; operators lack operands.
        UnsupportedModel: a formula has an empty part, or is too large.
    """
    libsbml = libsbml_module()

    for where, _, formula in formulas(model):
        if any(node.getType() == libsbml.AST_UNKNOWN for node in nodes(formula)):
            raise UnsupportedModel(f"{origin}: cannot be simulated here: an empty formula in the {where}")
        if not formula.isWellFormedASTNode():  # libSBML's check of units crashes on operators without operands
            shown = libsbml.formulaToL3String(formula)[:80]
            raise InvalidModel(
                f"{origin}: expected as many operands as each operator takes in the {where}, got {shown}"
            )
    functions = check_functions(model, origin)
    return check_sizes(model, check_assignments(model, origin), functions, origin)


def check_functions(model: Any, origin: str) -> Sizes:
    """Refuse functions that call themselves.

    Returns:
        The sizes of all functions, for `check_sizes`.

    Raises:
        InvalidModel: names the circle.
        UnsupportedModel: functions call each other in more than `MAX_CALLS` pairs.
    """
    libsbml = libsbml_module()

    functions = {}
    for i in range(model.getNumFunctionDefinitions()):
        function = model.getFunctionDefinition(i)
        if function.isSetMath() and function.getBody() is not None:
            arguments = [function.getArgument(j).getName() for j in range(function.getNumArguments())]
            functions[function.getId()] = (arguments, function.getBody())
    calls = {
        key: frozenset(node.getName() for node in nodes(body) if node.getType() == libsbml.AST_FUNCTION)
        for key, (_, body) in functions.items()
    }
    order, circle = sort_callees_first(calls)
    if circle:
        raise InvalidModel(f"{origin}: functions call themselves: {_arrows(circle)}")
    if _pairs(order, calls, MAX_CALLS) > MAX_CALLS:
        raise UnsupportedModel(
            f"{origin}: expected at most {MAX_CALLS:,} pairs of functions that call each other, directly or not"
        )
    sizes = Sizes(functions)
    for key in order:
        sizes.add(key)
    return sizes


def _pairs(order: Iterable[str], graph: Mapping[str, Iterable[str]], most: int) -> int:
    """Number of pairs (a, b) where a needs b, directly or not; counting stops beyond ``most``."""
    behind: dict[str, set[str]] = {}
    count = 0
    for key in order:
        near = [target for target in graph[key] if target in behind]
        behind[key] = set(near).union(*(behind[target] for target in near))
        count += len(behind[key])
        if count > most:
            break
    return count


def check_sizes(model: Any, graph: Mapping[str, Iterable[str]], sizes: Sizes, origin: str) -> list[int]:
    """Refuse formulas that explode when functions and rules are written out, which the engine does.

    Thirty rules that each name the one before twice make a formula of a thousand million terms.

    Args:
        model: a ``libsbml.Model`` without circles.
        graph: what `check_assignments` returned.
        sizes: what `check_functions` returned.
        origin: what error messages call the model.

    Returns:
        The number of terms of every formula with its functions (not its rules) written out.

    Raises:
        UnsupportedModel: names the formula.
    """
    order, _ = sort_callees_first(graph)
    if _pairs(order, graph, MAX_PAIRS) > MAX_PAIRS:
        raise UnsupportedModel(
            f"{origin}: expected at most {MAX_PAIRS:,} pairs of rules, initial assignments and kinetic laws "
            "that build on each other, directly or not"
        )
    found = [(where, symbol, sizes.expand(math)) for where, symbol, math in formulas(model) if not math.isLambda()]
    defined = {symbol: names for _, symbol, names in found if symbol}
    known: dict[str, tuple[int, int]] = {}  # symbol -> terms and depth, all written out

    def written_out(names: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
        terms = sum(times * known.get(name, (1, 0))[0] for name, (times, _) in names.items())
        deep = max((level + known.get(name, (1, 0))[1] for name, (_, level) in names.items()), default=0)
        return min(terms, _ENOUGH), deep

    for symbol in order:
        if symbol in defined:
            known[symbol] = written_out(defined[symbol])
    total = 0
    for where, _, names in found:
        terms, deep = written_out(names)
        total += terms
        if total > MAX_TERMS:
            raise UnsupportedModel(
                f"{origin}: expected formulas of at most {MAX_TERMS:,} terms in all, with functions and rules "
                f"written out; the {where} brings them to {total:,}"
            )
        if deep > MAX_LEVELS:
            raise UnsupportedModel(
                f"{origin}: expected formulas nested at most {MAX_LEVELS:,} deep, with functions and rules "
                f"written out; the {where} is nested {deep:,} deep"
            )
    return [sum(times for times, _ in names.values()) for _, _, names in found]
