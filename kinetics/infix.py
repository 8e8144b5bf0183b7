"""Expressions as text: the infix notation of SBML Level 3, which `kinetics.formula` and libSBML read back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import cast

from kinetics.expression import MINUS_ONE, TIME, Call, Expression, Number, Symbol, nodes

# PEtab gives && and || the same precedence, SBML different ones: parentheses suit both.
_PRECEDENCE = {
    "or": 1,
    "and": 1,
    "<": 4,
    "<=": 4,
    ">": 4,
    ">=": 4,
    "==": 4,
    "!=": 4,
    "+": 5,
    "*": 6,
    "/": 6,
    "^": 8,
}
_INFIX_WORD = {"and": "&&", "or": "||"}


def format_number(value: float) -> str:
    """The shortest text that reads back as the same double; ``inf`` and ``nan`` by name."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def to_infix(root: Expression) -> str:
    """The expression as text."""
    done: dict[Expression, tuple[str, int]] = {}
    for node in nodes((root,)):
        done[node] = _infix(node, done)
    return done[root][0]


def _infix(node: Expression, done: Mapping[Expression, tuple[str, int]]) -> tuple[str, int]:
    if isinstance(node, Number):
        return format_number(node.value), 10 if node.value >= 0 else 6
    if isinstance(node, Symbol):
        return "time" if node is TIME else node.name, 10
    op = cast(Call, node).op

    def text(arg: Expression, above: int) -> str:
        inner, precedence = done[arg]
        return inner if precedence > above else f"({inner})"

    if op == "+":
        parts = text(node.args[0], 4)
        for arg in node.args[1:]:
            term = text(arg, 4)
            parts += f" - {term[1:]}" if term.startswith("-") else f" + {term}"
        return parts, 5
    if op == "*":
        first = node.args[0]
        sign = "-" if first is MINUS_ONE else ""
        factors = [done[first][0] if isinstance(first, Number) else text(first, 5)]
        factors += [text(arg, 5) for arg in node.args[1:]]
        return sign + " * ".join(factors[1:] if sign else factors), 6
    if op == "/":
        return f"{text(node.args[0], 5)} / {text(node.args[1], 6)}", 6
    if op == "^":
        return f"{text(node.args[0], 8)} ^ {text(node.args[1], 8)}", 8
    if op in _PRECEDENCE and len(node.args) == 2:
        precedence = _PRECEDENCE[op]
        left, right = (text(arg, precedence) for arg in node.args)
        return f"{left} {_INFIX_WORD.get(op, op)} {right}", precedence
    if op in ("and", "or"):
        return f" {_INFIX_WORD[op]} ".join(text(arg, _PRECEDENCE[op]) for arg in node.args), _PRECEDENCE[op]
    if op == "not":
        return f"!({done[node.args[0]][0]})", 9
    if op in _PRECEDENCE:  # a chain of comparisons: infix has no form for it but the pairs
        pairs = [f"({done[a][0]}) {op} ({done[b][0]})" for a, b in itertools.pairwise(node.args)]
        return " && ".join(pairs), 1
    return f"{op}({', '.join(done[arg][0] for arg in node.args)})", 10
