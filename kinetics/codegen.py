"""Compile expressions to numpy functions.

The source is written from expression nodes alone: quantities appear as ``a0, a1, ...``, never by their own
names, so no text of a model or formula is ever executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from kinetics.errors import FormulaError
from kinetics.expression import BOOLEAN, OPERATIONS, Call, Expression, FloatArray, Number, Symbol, nodes

Compiled = Callable[[Sequence[npt.ArrayLike] | FloatArray], FloatArray]
Kernel = Callable[[Sequence[Any] | FloatArray, FloatArray], None]

_DEEPEST = 12  # nested operations on one line; Python's parser gives up at about 100 parentheses


def compile_numpy(expressions: Sequence[Expression], argnames: Sequence[str]) -> Compiled:
    """A function of values, in the order of ``argnames``, that computes all expressions at once.

    The function takes a sequence of numbers or arrays that broadcast to some shape, or an array of shape
    ``(n_args, *shape)``, and returns an array ``(n_expressions, *shape)``.  Subexpressions are computed once.

    Raises:
        FormulaError: an expression mentions a symbol that is not in ``argnames``.
    """
    kernel = compile_kernel(expressions, argnames)
    n = len(expressions)

    def compiled(values: Sequence[npt.ArrayLike] | FloatArray) -> FloatArray:
        if isinstance(values, np.ndarray):
            shape = values.shape[1:]
        else:
            values = [np.float64(value) if isinstance(value, float) else np.asarray(value, float) for value in values]
            shape = np.broadcast_shapes(*(np.shape(value) for value in values))
        result = np.empty((n, *shape))
        with np.errstate(all="ignore"):
            kernel(values, result)
        return result

    return compiled


def compile_kernel(expressions: Sequence[Expression], argnames: Sequence[str]) -> Kernel:
    """The bare function behind `compile_numpy`, for inner loops: ``kernel(values, out)`` fills ``out``.

    It checks nothing, and the caller sees to numpy's warnings; ``out`` has shape ``(n_expressions, *shape)``.

    Raises:
        FormulaError: an expression mentions a symbol that is not in ``argnames``.
    """
    known = set(argnames)
    for expression in expressions:
        if missing := sorted(expression.names - known):
            raise FormulaError(f"cannot compile {str(expression)[:200]}: no argument for {', '.join(missing)}")
    body = _body(expressions, {name: f"a{i}" for i, name in enumerate(argnames)})
    namespace: dict[str, Any] = dict(_GLOBALS)
    # Compiling our own syntax tree; see the module docstring.
    exec(compile(body, "<expressions>", "exec"), namespace)
    return cast(Kernel, namespace["kernel"])


def _body(expressions: Sequence[Expression], arguments: Mapping[str, str]) -> str:
    order = nodes(expressions)
    uses: dict[Expression, int] = {}
    for node in order:
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    used = frozenset().union(*(expression.names for expression in expressions)) if expressions else frozenset()
    unpacked = ", ".join(text if name in used else "_" for name, text in arguments.items())
    lines = ["def kernel(values, out):"]
    if arguments:
        lines.append(f"    {unpacked}{',' if len(arguments) == 1 else ''} = values")
    text: dict[Expression, str] = {}
    depth: dict[Expression, int] = {}
    for node in order:
        if isinstance(node, Number):
            text[node], depth[node] = _number(node.value), 0
        elif isinstance(node, Symbol):
            text[node], depth[node] = arguments[node.name], 0
        else:
            code = _operation(cast(Call, node), [text[arg] for arg in node.args])
            level = 1 + max(depth[arg] for arg in node.args)
            if uses.get(node, 0) > 1 or level >= _DEEPEST:
                name = f"t{len(lines)}"
                lines.append(f"    {name} = {code}")
                text[node], depth[node] = name, 0
            else:
                text[node], depth[node] = code, level
    lines += [f"    out[{i}] = {text[expression]}" for i, expression in enumerate(expressions)]
    if len(lines) == 1:
        lines.append("    pass")
    return "\n".join(lines)


def _number(value: float) -> str:
    if np.isnan(value):
        return "nan"
    if np.isinf(value):
        return "inf" if value > 0 else "(-inf)"
    return f"({value!r})" if value < 0 else repr(value)


_COMPARISONS = frozenset(("<", "<=", ">", ">=", "==", "!="))


def _operation(node: Call, args: list[str]) -> str:
    op = node.op
    if op in ("+", "*"):
        return "(" + f" {op} ".join(args) + ")"
    if op == "/":
        return f"divide({args[0]}, {args[1]})" if isinstance(node.args[1], Number) else f"({args[0]} / {args[1]})"
    if op == "^":
        if isinstance(node.args[1], Number):
            exponent = node.args[1].value
            if exponent == 2.0 and args[0].isidentifier():
                return f"({args[0]} * {args[0]})"
            if exponent == -1.0:
                return f"(1.0 / {args[0]})"
        return f"power({args[0]}, {args[1]})"
    if op in _COMPARISONS and len(args) == 2:
        return f"(({args[0]} {op} {args[1]}) * 1.0)"
    if op == "piecewise":
        code = args[-1]
        for i in range(len(args) - 3, -1, -2):
            condition = node.args[i + 1]
            truth = args[i + 1]
            if not (isinstance(condition, Call) and condition.op in BOOLEAN and truth.endswith(" * 1.0)")):
                truth = f"({truth} != 0.0)"
            else:
                truth = truth[1 : -len(" * 1.0)")]
            code = f"where({truth}, {args[i]}, {code})"
        return code
    return f"{_NAMES[op]}({', '.join(args)})"


# Operations by a name that Python can spell.
_NAMES = {
    op: op if op.isidentifier() and op not in ("and", "or", "not") else f"op{i}" for i, op in enumerate(OPERATIONS)
}
_GLOBALS: dict[str, Any] = {
    "__builtins__": {},
    "inf": np.inf,
    "nan": np.nan,
    "where": np.where,
    "power": np.power,
    "divide": np.divide,
    **{_NAMES[op]: function for op, (function, _) in OPERATIONS.items()},
}
