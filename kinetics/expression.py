"""Formulas as immutable, shared expressions: build, evaluate, substitute.

An `Expression` is a `Number`, a `Symbol` or a `Call` of an operation.  Equal expressions are one object
(hash-consing), so ``is`` compares them, a dictionary can be keyed by them, and a subexpression that occurs a
hundred times is differentiated, evaluated and written once.  Build them with Python operators and `call`::

    >>> s, k = Symbol("S"), Symbol("K_m")
    >>> rate = 3.0 * s / (k + s)
    >>> str(rate)
    '3 * S / (K_m + S)'
    >>> float(evaluate(rate, {"S": 1.0, "K_m": 2.0}))
    1.0

Truth values are the numbers 0 and 1.  Nothing here executes text: `kinetics.formula` parses, `kinetics.infix` and
`kinetics.mathml` write, `kinetics.differentiation` differentiates and `kinetics.codegen` compiles to numpy.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, Union, cast

import numpy as np
import numpy.typing as npt

from kinetics.errors import FormulaError

FloatArray = npt.NDArray[np.float64]
Operand = Union["Expression", float, int]

AVOGADRO = 6.02214179e23  # the value that SBML Level 3 fixes for its avogadro symbol, whatever CODATA says now
TIME_NAME = "$time"  # the key of time in environments; no SBML id can be spelt so


class Expression:
    """An immutable formula; see `Number`, `Symbol`, `Call`."""

    __slots__ = ("__weakref__", "_digest", "_names", "args")

    args: tuple[Expression, ...]
    _digest: bytes
    _names: frozenset[str]

    def __setattr__(self, key: str, value: object) -> None:
        raise AttributeError(f"expressions are immutable, cannot set {key!r}")

    @property
    def names(self) -> frozenset[str]:
        """The symbols that the expression mentions (time as ``"$time"``)."""
        return self._names

    def __add__(self, other: Operand) -> Expression:
        return add(self, other)

    def __radd__(self, other: Operand) -> Expression:
        return add(other, self)

    def __sub__(self, other: Operand) -> Expression:
        return add(self, multiply(-1.0, other))

    def __rsub__(self, other: Operand) -> Expression:
        return add(other, multiply(-1.0, self))

    def __mul__(self, other: Operand) -> Expression:
        return multiply(self, other)

    def __rmul__(self, other: Operand) -> Expression:
        return multiply(other, self)

    def __truediv__(self, other: Operand) -> Expression:
        return divide(self, other)

    def __rtruediv__(self, other: Operand) -> Expression:
        return divide(other, self)

    def __pow__(self, other: Operand) -> Expression:
        return power(self, other)

    def __rpow__(self, other: Operand) -> Expression:
        return power(other, self)

    def __neg__(self) -> Expression:
        return multiply(-1.0, self)

    def __str__(self) -> str:
        from kinetics.infix import to_infix  # which in turn knows all kinds of expressions

        return to_infix(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


# Interning: keyed by what makes two nodes equal; weak, so a long session does not grow without bound.
_interned: weakref.WeakValueDictionary[tuple[object, ...], Expression] = weakref.WeakValueDictionary()


def _intern(key: tuple[object, ...], make: Callable[[], Expression]) -> Expression:
    node = _interned.get(key)
    return node if node is not None else _interned.setdefault(key, make())


def _set(node: Expression, **slots: object) -> None:
    for name, value in slots.items():
        object.__setattr__(node, name, value)


class Number(Expression):
    """A constant."""

    __slots__ = ("value",)
    value: float

    def __new__(cls, value: float) -> Self:
        value = float(value)
        text = repr(value)  # as key it keeps -0.0 apart from 0.0 and makes one node of all NaNs

        def make() -> Expression:
            node = object.__new__(cls)
            _set(node, args=(), value=value, _names=frozenset(), _digest=b"0" + text.encode())
            return node

        return cast(Self, _intern((cls, text), make))

    def __reduce__(self) -> tuple[Any, ...]:
        return Number, (self.value,)


class Symbol(Expression):
    """A named quantity."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, name: str) -> Self:
        def make() -> Expression:
            node = object.__new__(cls)
            _set(node, args=(), name=name, _names=frozenset((name,)), _digest=b"1" + name.encode())
            return node

        return cast(Self, _intern((cls, name), make))

    def __reduce__(self) -> tuple[Any, ...]:
        return Symbol, (self.name,)


class Call(Expression):
    """An operation on expressions.  Made by `call` and the operators, which simplify and check."""

    __slots__ = ("op",)
    op: str

    def __new__(cls, op: str, args: tuple[Expression, ...]) -> Self:
        def make() -> Expression:
            node = object.__new__(cls)
            # The digest orders the terms of sums and products: the same in every process, unlike an id.
            hashed = hashlib.blake2b(op.encode(), digest_size=8)
            for arg in args:
                hashed.update(b"|" + arg._digest)
            names = args[0]._names.union(*(arg._names for arg in args[1:])) if args else frozenset()
            for arg in args:  # share the set with an argument that mentions everything: less memory
                if arg._names == names:
                    names = arg._names
            _set(node, args=args, op=op, _names=names, _digest=b"2" + hashed.digest())
            return node

        return cast(Self, _intern((op, *args), make))

    def __reduce__(self) -> tuple[Any, ...]:
        return Call, (self.op, self.args)


ZERO, ONE, MINUS_ONE = Number(0.0), Number(1.0), Number(-1.0)
TIME = Symbol(TIME_NAME)
CONSTANTS: dict[str, Number] = {
    "pi": Number(math.pi),
    "exponentiale": Number(math.e),
    "infinity": Number(math.inf),
    "notanumber": Number(math.nan),
    "true": ONE,
    "false": ZERO,
    "avogadro": Number(AVOGADRO),
}


def expression(value: Operand) -> Expression:
    """An expression from an expression or a number."""
    return value if isinstance(value, Expression) else Number(value)


def add(*terms: Operand) -> Expression:
    """The sum; numbers are added up, equal terms are collected, ``x - x`` is 0."""
    constant = 0.0
    coefficients: dict[Expression, float] = {}
    for term in _flat("+", terms):
        if isinstance(term, Number):
            constant += term.value
        else:
            coefficient, rest = _split(term)
            coefficients[rest] = coefficients.get(rest, 0.0) + coefficient
    parts = [multiply(c, rest) for rest, c in coefficients.items() if c != 0.0]
    parts.sort(key=_order)
    if constant != 0.0:
        parts.append(Number(constant))
    if not parts:
        return ZERO
    return parts[0] if len(parts) == 1 else Call("+", tuple(parts))


def multiply(*factors: Operand) -> Expression:
    """The product as coefficient * symbols / denominators; a factor 0 makes it 0."""
    coefficient = 1.0
    over: list[Expression] = []
    under: list[Expression] = []
    for factor in _flat("*", factors):
        if isinstance(factor, Number):
            coefficient *= factor.value
        elif isinstance(factor, Call) and factor.op == "/":
            for part in _flat("*", (factor.args[0],)):
                if isinstance(part, Number):
                    coefficient *= part.value
                else:
                    over.append(part)
            under.extend(_flat("*", (factor.args[1],)))
        else:
            over.append(factor)
    if coefficient == 0.0:
        return ZERO
    top = _product(coefficient, over)
    return Call("/", (top, _product(1.0, under))) if under else top


def divide(numerator: Operand, denominator: Operand) -> Expression:
    """The quotient; a numerical factor of the denominator moves into the numerator."""
    below = expression(denominator)
    if isinstance(below, Number):
        if below.value == 0.0:  # keeps 1/0 and 0/0 what arithmetic makes of them
            return Call("/", (expression(numerator), below))
        above = expression(numerator)
        if isinstance(above, Number):
            return Number(above.value / below.value)
        coefficient, rest = _split(above)  # one rounding, as in coefficient / denominator
        return multiply(coefficient / below.value, rest)
    coefficient, rest = _split(below)
    if isinstance(rest, Call) and rest.op == "/":  # a / (b / c) = a * c / b
        return multiply(numerator, 1.0 / coefficient, rest.args[1], divide(ONE, rest.args[0]))
    if coefficient != 1.0:
        return divide(multiply(numerator, 1.0 / coefficient), rest)
    return multiply(numerator, Call("/", (ONE, rest)))


def power(base: Operand, exponent: Operand) -> Expression:
    """``base ^ exponent``."""
    a, b = expression(base), expression(exponent)
    if isinstance(b, Number):
        if b.value == 0.0:
            return ONE
        if b.value == 1.0:
            return a
        if isinstance(a, Number):
            return _fold("^", (a, b))
        if isinstance(a, Call) and a.op == "^" and isinstance(a.args[1], Number):
            inner = a.args[1].value
            if inner.is_integer() and b.value.is_integer():  # (x^0.5)^2 is not x for x < 0
                return power(a.args[0], inner * b.value)
    if a is ONE:
        return ONE
    return Call("^", (a, b))


def _flat(op: str, args: Iterable[Operand]) -> Iterator[Expression]:
    for arg in args:
        node = expression(arg)
        if isinstance(node, Call) and node.op == op:
            yield from node.args  # nodes are canonical: their arguments are flat already
        else:
            yield node


def _split(term: Expression) -> tuple[float, Expression]:
    """A term as numerical coefficient and rest."""
    if isinstance(term, Call):
        if term.op == "*" and isinstance(term.args[0], Number):
            rest = term.args[1:]
            return term.args[0].value, rest[0] if len(rest) == 1 else Call("*", rest)
        if term.op == "/" and not isinstance(term.args[1], Number):
            top = term.args[0]
            if isinstance(top, Number) and top is not ONE:
                return top.value, Call("/", (ONE, term.args[1]))
            coefficient, rest_top = _split(top)
            if coefficient != 1.0:
                return coefficient, Call("/", (rest_top, term.args[1]))
    return 1.0, term


def _product(coefficient: float, factors: list[Expression]) -> Expression:
    powers: dict[Expression, float] = {}
    for factor in factors:
        if isinstance(factor, Call) and factor.op == "^" and isinstance(factor.args[1], Number):
            base, exponent = factor.args[0], factor.args[1].value
        else:
            base, exponent = factor, 1.0
        if base in powers and not (exponent > 0 and powers[base] > 0):
            powers[factor] = powers.get(factor, 0.0) + 1.0  # x^2 * x^-2 is not 1 at 0: leave it
        else:
            powers[base] = powers.get(base, 0.0) + exponent
    parts = sorted((power(base, exponent) for base, exponent in powers.items()), key=_order)
    if coefficient != 1.0 or not parts:
        parts.insert(0, Number(coefficient))
    return parts[0] if len(parts) == 1 else Call("*", tuple(parts))


def _order(node: Expression) -> bytes:
    return node._digest


# --- operations ---------------------------------------------------------------------------------------------

Function = Callable[..., Any]


def _truth(function: Function) -> Function:
    return lambda *args: function(*args) * 1.0


def _pairwise(function: Function) -> Function:
    """``a < b < c`` as SBML means it: every neighbouring pair."""
    return lambda *args: np.logical_and.reduce([function(a, b) for a, b in itertools.pairwise(args)]) * 1.0


def _piecewise(*args: Any) -> Any:
    value = args[-1]
    for i in range(len(args) - 3, -1, -2):
        value = np.where(np.not_equal(args[i + 1], 0.0), args[i], value)
    return value


def _factorial(x: Any) -> Any:
    return np.vectorize(lambda v: math.gamma(v + 1.0) if 0.0 <= v <= 170.0 else math.nan, otypes=[float])(x)


def _pow(a: Any, b: Any) -> Any:
    return np.power(np.asarray(a, float), b)


# name -> (numpy function, number of arguments or None for one or more)
OPERATIONS: dict[str, tuple[Function, int | None]] = {
    "+": (lambda *args: functools.reduce(np.add, args), None),
    "*": (lambda *args: functools.reduce(np.multiply, args), None),
    "/": (np.true_divide, 2),
    "^": (_pow, 2),
    "<": (_pairwise(np.less), None),
    "<=": (_pairwise(np.less_equal), None),
    ">": (_pairwise(np.greater), None),
    ">=": (_pairwise(np.greater_equal), None),
    "==": (_pairwise(np.equal), None),
    "!=": (_truth(np.not_equal), 2),
    "and": (_truth(lambda *args: np.logical_and.reduce([np.not_equal(a, 0.0) for a in args])), None),
    "or": (_truth(lambda *args: np.logical_or.reduce([np.not_equal(a, 0.0) for a in args])), None),
    "not": (_truth(lambda a: np.equal(a, 0.0)), 1),
    "piecewise": (_piecewise, None),  # value, condition, value, condition, ..., otherwise
    "min": (lambda *args: functools.reduce(np.minimum, args), None),
    "max": (lambda *args: functools.reduce(np.maximum, args), None),
    "exp": (np.exp, 1),
    "ln": (np.log, 1),
    "log10": (np.log10, 1),
    "log2": (np.log2, 1),
    "sqrt": (np.sqrt, 1),
    "abs": (np.abs, 1),
    "sign": (np.sign, 1),
    "floor": (np.floor, 1),
    "ceil": (np.ceil, 1),
    "factorial": (_factorial, 1),
    "sin": (np.sin, 1),
    "cos": (np.cos, 1),
    "tan": (np.tan, 1),
    "sinh": (np.sinh, 1),
    "cosh": (np.cosh, 1),
    "tanh": (np.tanh, 1),
    "arcsin": (np.arcsin, 1),
    "arccos": (np.arccos, 1),
    "arctan": (np.arctan, 1),
    "arcsinh": (np.arcsinh, 1),
    "arccosh": (np.arccosh, 1),
    "arctanh": (np.arctanh, 1),
}
BOOLEAN = frozenset(("<", "<=", ">", ">=", "==", "!=", "and", "or", "not"))
STEPS = frozenset(("sign", "floor", "ceil"))  # piecewise constant: derivative 0 between their jumps


def _quotient(a: Expression, b: Expression) -> Expression:
    ratio = a / b
    return call("piecewise", call("floor", ratio), call(">=", ratio, 0.0), call("ceil", ratio))


def _xor(*args: Expression) -> Expression:
    result: Expression = ZERO
    for arg in args:
        result = call("or", call("and", result, call("not", arg)), call("and", call("not", result), arg))
    return result


# Operations that are others in disguise: name -> (how to build it, number of arguments or None)
_DERIVED: dict[str, tuple[Callable[..., Expression], int | None]] = {
    "-": (lambda *a: -a[0] if len(a) == 1 else add(a[0], *(-x for x in a[1:])), None),
    "log": (lambda base, x: _log(base, x), 2),
    "root": (
        lambda degree, x: call("sqrt", x) if degree == Number(2.0) else power(x, divide(ONE, degree)),
        2,
    ),
    "quotient": (_quotient, 2),
    "rem": (lambda a, b: a - b * _quotient(a, b), 2),
    "implies": (lambda a, b: call("or", call("not", a), b), 2),
    "xor": (_xor, None),
    "sec": (lambda x: 1.0 / call("cos", x), 1),
    "csc": (lambda x: 1.0 / call("sin", x), 1),
    "cot": (lambda x: 1.0 / call("tan", x), 1),
    "sech": (lambda x: 1.0 / call("cosh", x), 1),
    "csch": (lambda x: 1.0 / call("sinh", x), 1),
    "coth": (lambda x: 1.0 / call("tanh", x), 1),
    "arcsec": (lambda x: call("arccos", 1.0 / x), 1),
    "arccsc": (lambda x: call("arcsin", 1.0 / x), 1),
    "arccot": (lambda x: call("arctan", 1.0 / x), 1),
    "arcsech": (lambda x: call("arccosh", 1.0 / x), 1),
    "arccsch": (lambda x: call("arcsinh", 1.0 / x), 1),
    "arccoth": (lambda x: call("arctanh", 1.0 / x), 1),
}


def _log(base: Expression, x: Expression) -> Expression:
    if base == Number(10.0):
        return call("log10", x)
    if base == Number(2.0):
        return call("log2", x)
    return call("ln", x) / call("ln", base)


def call(op: str, *arguments: Operand) -> Expression:
    """Apply an operation: one of `OPERATIONS`, ``-``, ``log`` (base, x), ``root`` (degree, x), ``quotient``,
    ``rem``, ``xor``, ``implies`` or a further trigonometric function.  ``piecewise`` takes value, condition,
    value, condition, ..., otherwise; without the last it is NaN where no condition holds.

    Raises:
        FormulaError: the operation is unknown, or takes another number of arguments.
    """
    args = tuple(expression(argument) for argument in arguments)
    known = _DERIVED.get(op) or OPERATIONS.get(op)
    if known is None:
        raise FormulaError(f"no operation named {op!r}; known are {', '.join(sorted({*OPERATIONS, *_DERIVED}))}")
    if (known[1] is not None and len(args) != known[1]) or (not args and op not in "+*"):
        raise FormulaError(f"{op!r} takes {known[1] or 'one or more'} arguments, got {len(args)}")
    if op in _DERIVED:
        return _DERIVED[op][0](*args)
    if op == "+":
        return add(*args)
    if op == "*":
        return multiply(*args)
    if op == "/":
        return divide(*args)
    if op == "^":
        return power(*args)
    if op == "piecewise":
        return _make_piecewise(args)
    if all(isinstance(arg, Number) for arg in args):
        return _fold(op, args)
    if op in ("and", "or"):
        return _connective(op, args)
    if op in ("min", "max") and len(args) == 1:
        return args[0]
    return Call(op, args)


def _fold(op: str, args: tuple[Expression, ...]) -> Expression:
    with np.errstate(all="ignore"):
        return Number(float(OPERATIONS[op][0](*(np.float64(cast(Number, arg).value) for arg in args))))


def _connective(op: str, args: tuple[Expression, ...]) -> Expression:
    neutral, ruling = (True, False) if op == "and" else (False, True)
    kept = []
    for arg in args:
        if isinstance(arg, Number):
            if bool(arg.value) is ruling:
                return Number(float(ruling))
        elif arg not in kept:
            kept.append(arg)
    if not kept:
        return Number(float(neutral))
    if len(kept) == 1 and isinstance(kept[0], Call) and kept[0].op in BOOLEAN:
        return kept[0]
    return Call(op, tuple(kept))


def _make_piecewise(args: tuple[Expression, ...]) -> Expression:
    if len(args) % 2 == 0:
        args = (*args, CONSTANTS["notanumber"])
    kept: list[Expression] = []
    otherwise = args[-1]
    for value, condition in zip(args[:-1:2], args[1::2], strict=True):
        if isinstance(condition, Number):
            if condition.value != 0.0:
                otherwise = value
                break
        else:
            kept += [value, condition]
    while kept and kept[-2] is otherwise:
        del kept[-2:]
    return Call("piecewise", (*kept, otherwise)) if kept else otherwise


# --- walking ------------------------------------------------------------------------------------------------


def nodes(roots: Iterable[Expression]) -> list[Expression]:
    """Every node below ``roots`` once, arguments before the calls that use them."""
    found: dict[Expression, None] = {}
    for root in roots:
        stack: list[tuple[Expression, bool]] = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if node in found:
                continue
            if ready or not node.args:
                found[node] = None
            else:
                stack.append((node, True))
                stack.extend((arg, False) for arg in reversed(node.args) if arg not in found)
    return list(found)


def evaluate(root: Expression, environment: Mapping[str, npt.ArrayLike]) -> FloatArray:
    """The value for given symbols; values broadcast, so an array gives an array.

    Division by zero, logarithms of negative numbers and overflow give inf or NaN, as in the engine.

    Raises:
        FormulaError: a symbol has no value.
    """
    values: dict[Expression, Any] = {}
    with np.errstate(all="ignore"):
        for node in nodes((root,)):
            if isinstance(node, Number):
                values[node] = np.float64(node.value)
            elif isinstance(node, Symbol):
                try:
                    values[node] = np.asarray(environment[node.name], dtype=float)
                except KeyError:
                    name = "time" if node is TIME else repr(node.name)
                    raise FormulaError(f"no value for {name} in {str(root)[:200]}") from None
            else:
                values[node] = OPERATIONS[cast(Call, node).op][0](*(values[arg] for arg in node.args))
    return np.asarray(values[root], dtype=float)


def rebuild(node: Expression, args: Sequence[Expression]) -> Expression:
    """The same operation on other arguments."""
    return call(node.op, *args) if isinstance(node, Call) else node


def substitute_all(roots: Sequence[Expression], replacements: Mapping[str, Operand]) -> list[Expression]:
    """Replace symbols by expressions, once and at the same time, in every root."""
    done: dict[Expression, Expression] = {}
    touched = frozenset(replacements)
    for node in nodes(roots):
        if touched.isdisjoint(node.names):
            done[node] = node
        elif isinstance(node, Symbol):
            done[node] = expression(replacements[node.name])
        else:
            done[node] = rebuild(node, [done[arg] for arg in node.args])
    return [done[root] for root in roots]


def substitute(root: Expression, replacements: Mapping[str, Operand]) -> Expression:
    """Replace symbols by expressions, once and at the same time."""
    return substitute_all([root], replacements)[0]
