"""Definitions that go round in circles, which crash the engine or keep it busy for ever.

libSBML finds most of them; what it leaves out are the orders of Level 1 and early Level 2, circles through
``rateOf``, and functions that are no circle but double in size at every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kinetics.dependencies import Parts, formulas, nodes
from kinetics.errors import InvalidModel

MAX_EXPANDED = 1_000_000  # nodes of one formula once the functions it calls are written out
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


def check_assignments(model: Any, origin: str) -> None:
    """Refuse values that are defined by way of themselves.

    Such circles go through initial assignments, assignment rules, kinetic laws, rates of change
    (``rateOf``) and the compartment whose size turns an amount into a concentration.

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


def check_functions(model: Any, origin: str) -> list[int]:
    """Refuse functions that call themselves, and formulas that explode when functions are written out.

    Thirty functions that each call the one before twice make a formula of a thousand million terms.

    Returns:
        The number of terms of every formula with its functions written out.

    Raises:
        InvalidModel: names the circle, or the formula.
    """
    import libsbml

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

    sizes: dict[str, tuple[int, tuple[int, ...]]] = {}  # own nodes, and how often each argument appears

    def expand(math: Any) -> dict[str, int]:
        """Nodes of a formula with its functions written out: by name of argument, "" for all else."""
        weights: dict[str, int] = {}
        open_ones = [(math, 1)]
        while open_ones:
            node, weight = open_ones.pop()
            weight = min(weight, _ENOUGH)
            kind, name = node.getType(), node.getName()
            children = [node.getChild(i) for i in range(node.getNumChildren())]
            if kind == libsbml.AST_FUNCTION and name in sizes:
                own, uses = sizes[name]
                weights[""] = weights.get("", 0) + weight * own
                open_ones += [(child, weight * use) for child, use in zip(children, uses, strict=False)]
            else:
                key = name if kind == libsbml.AST_NAME else ""
                weights[key] = weights.get(key, 0) + weight
                open_ones += [(child, weight) for child in children]
        return weights

    for key in order:
        arguments, body = functions[key]
        weights = expand(body)
        sizes[key] = weights.get("", 0), tuple(weights.get(argument, 0) for argument in arguments)
    total = []
    for where, math in formulas(model):
        size = sum(expand(math).values())
        if size > MAX_EXPANDED:
            raise InvalidModel(
                f"{origin}: expected formulas of at most {MAX_EXPANDED:,} terms with all functions written out, "
                f"got {size:.3g} in the {where}"
            )
        total.append(size)
    return total
