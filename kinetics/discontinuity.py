"""Where a model switches, and whether derivatives survive it.

Between switches a state is differentiable in the parameters.  At a switch whose moment moves with a parameter
the derivative jumps, which plain sensitivity equations miss; at a switch with a fixed moment, or where the two
sides meet, they do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kinetics.equations import Equations
from kinetics.expression import BOOLEAN, STEPS, TIME_NAME, Call, Expression, Symbol, nodes, substitute

_COMPARISONS = frozenset(("<", "<=", ">", ">="))


def why_inexact(equations: Equations, moved: frozenset[str]) -> str:
    """Why derivatives by something that moves these states and constants are not certain; "" if they are."""
    dynamic = {TIME_NAME, *equations.states}
    for condition in switches(equations.rates.values()):
        if not moved.isdisjoint(condition.names) and not dynamic.isdisjoint(condition.names):
            return f"the rates switch at a moment that moves with the parameter: {_short(condition)}"
    sizes = {size.name for size in equations.sizes.values() if isinstance(size, Symbol)}
    for event in equations.events:
        needs = event.trigger.names | (event.delay.names if event.delay is not None else frozenset())
        if not moved.isdisjoint(needs):
            return f"an event fires at a moment that moves with the parameter: {_short(event.trigger)}"
        if not event.plain:
            return f"an event has a priority or a delayed evaluation: {_short(event.trigger)}"
        if not sizes.isdisjoint(event.assignments):
            return f"an event changes the size of a compartment: {_short(event.trigger)}"
        for condition in switches(event.assignments.values()):
            if not moved.isdisjoint(condition.names):
                return f"the effect of an event switches with the parameter: {_short(condition)}"
    return ""


def switches(formulas: Iterable[Expression]) -> Iterator[Expression]:
    """Conditions and steps at which the formulas may jump; kinks (abs, min, max) are none."""
    roots = list(formulas)
    judged: set[Expression] = set()
    for node in nodes(roots):
        if isinstance(node, Call) and node.op == "piecewise":
            conditions = node.args[1::2]
            if len(conditions) == 1 and _continuous(node.args[0], conditions[0], node.args[2]):
                continue  # the two sides meet
            judged.update(conditions)
            yield from conditions
    used_as_number = {arg for node in nodes(roots) for arg in _numeric_arguments(node)} | set(roots)
    for node in nodes(roots):
        if isinstance(node, Call) and (node.op in STEPS or (node.op in BOOLEAN and node in used_as_number)):
            if node not in judged:
                yield node


def _numeric_arguments(node: Expression) -> tuple[Expression, ...]:
    if not isinstance(node, Call) or node.op in ("and", "or", "not"):
        return ()
    return (*node.args[:-1:2], node.args[-1]) if node.op == "piecewise" else node.args


def _continuous(inside: Expression, condition: Expression, outside: Expression) -> bool:
    """Whether both values agree where the condition changes, by putting its border into both."""
    if not isinstance(condition, Call) or condition.op not in _COMPARISONS or len(condition.args) != 2:
        return False
    for one, other in (condition.args, condition.args[::-1]):
        if isinstance(one, Symbol) and one.name not in other.names:
            border = {one.name: other}
            if substitute(inside, border) is substitute(outside, border):
                return True
    return False


def _short(formula: Expression) -> str:
    text = str(formula)
    return text if len(text) <= 80 else text[:77] + "..."
