"""The derivatives of expressions, as expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from kinetics.errors import FormulaError
from kinetics.expression import (
    BOOLEAN,
    ONE,
    STEPS,
    ZERO,
    Call,
    Expression,
    Symbol,
    add,
    call,
    divide,
    multiply,
    nodes,
    power,
)


def differentiate(root: Expression, name: str) -> Expression:
    """The partial derivative with respect to one symbol; see `gradient`."""
    return gradient(root, (name,)).get(name, ZERO)


def gradient(root: Expression, names: Iterable[str]) -> dict[str, Expression]:
    """The partial derivatives with respect to several symbols that are not identically zero.

    Works backwards through the shared expression, so all derivatives together cost a few times the formula.
    Steps (comparisons, floor, sign) count as constant: where they jump there is no derivative.  A power with a
    varying exponent has derivative 0 in the exponent at base 0, the limit a Hill term needs.

    Raises:
        FormulaError: a factorial depends on one of the names.
    """
    wanted = frozenset(names) & root.names
    if not wanted:
        return {}
    order = [node for node in nodes((root,)) if not wanted.isdisjoint(node.names)]
    pending: dict[Expression, list[Expression]] = {root: [ONE]}
    result: dict[str, list[Expression]] = {}
    for node in reversed(order):
        contributions = pending.pop(node, None)
        if contributions is None:
            continue
        adjoint = add(*contributions)
        if adjoint is ZERO:
            continue
        if isinstance(node, Symbol):
            result.setdefault(node.name, []).append(adjoint)
        elif cast(Call, node).op in ("piecewise", "min", "max"):
            # Branch by branch, so that the unused branch cannot contribute 0 * inf.
            for name, slope in _branches(cast(Call, node), wanted).items():
                result.setdefault(name, []).append(multiply(adjoint, slope))
        else:
            for arg, slope in _slopes(cast(Call, node), wanted):
                if slope is not ZERO:
                    pending.setdefault(arg, []).append(multiply(adjoint, slope))
    summed = {name: add(*parts) for name, parts in result.items()}
    return {name: slope for name, slope in summed.items() if slope is not ZERO}


def _branches(node: Call, wanted: frozenset[str]) -> dict[str, Expression]:
    args = node.args
    if node.op != "piecewise":
        compare = "<=" if node.op == "min" else ">="
        rest = call(node.op, *args[1:])
        args = (args[0], call(compare, args[0], rest), rest)
    slopes = [gradient(value, wanted) for value in args[::2]]
    found = {}
    for name in sorted(set().union(*slopes)):
        parts: list[Expression] = []
        for i, condition in enumerate(args[1::2]):
            parts += [slopes[i].get(name, ZERO), condition]
        found[name] = call("piecewise", *parts, slopes[-1].get(name, ZERO))
    return found


_UNARY_SLOPES: dict[str, Callable[[Expression], Expression]] = {
    "exp": lambda x: call("exp", x),
    "ln": lambda x: 1.0 / x,
    "log10": lambda x: 1.0 / (math.log(10.0) * x),
    "log2": lambda x: 1.0 / (math.log(2.0) * x),
    "sqrt": lambda x: 0.5 / call("sqrt", x),
    "abs": lambda x: call("sign", x),
    "sin": lambda x: call("cos", x),
    "cos": lambda x: -call("sin", x),
    "tan": lambda x: 1.0 + call("tan", x) ** 2,
    "sinh": lambda x: call("cosh", x),
    "cosh": lambda x: call("sinh", x),
    "tanh": lambda x: 1.0 - call("tanh", x) ** 2,
    "arcsin": lambda x: 1.0 / call("sqrt", 1.0 - x**2),
    "arccos": lambda x: -1.0 / call("sqrt", 1.0 - x**2),
    "arctan": lambda x: 1.0 / (1.0 + x**2),
    "arcsinh": lambda x: 1.0 / call("sqrt", x**2 + 1.0),
    "arccosh": lambda x: 1.0 / (call("sqrt", x - 1.0) * call("sqrt", x + 1.0)),
    "arctanh": lambda x: 1.0 / (1.0 - x**2),
}


def _slopes(node: Call, wanted: frozenset[str]) -> Iterator[tuple[Expression, Expression]]:
    """Each argument that depends on ``wanted`` with the derivative of the node with respect to it."""
    op, args = node.op, node.args
    active = [not wanted.isdisjoint(arg.names) for arg in args]
    if op == "+":
        yield from ((arg, ONE) for arg, on in zip(args, active, strict=True) if on)
    elif op == "*":
        for i, arg in enumerate(args):
            if active[i]:
                yield arg, multiply(*args[:i], *args[i + 1 :])
    elif op == "/":
        top, bottom = args
        if active[0]:
            yield top, divide(ONE, bottom)
        if active[1]:
            yield bottom, -divide(top, bottom**2)
    elif op == "^":
        base, exponent = args
        if active[0]:
            yield base, exponent * power(base, exponent - 1.0)
        if active[1]:
            yield exponent, call("piecewise", node * call("ln", base), call(">", base, 0.0), ZERO)
    elif op in _UNARY_SLOPES:
        yield args[0], _UNARY_SLOPES[op](args[0])
    elif op not in BOOLEAN and op not in STEPS:
        raise FormulaError(f"{op!r} has no derivative here, needed with respect to {', '.join(sorted(wanted))}")
