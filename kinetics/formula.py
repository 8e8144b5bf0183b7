"""Formulas as users and PEtab files write them, read into expressions.  Nothing is executed, nothing hangs.

The grammar is PEtab's math: ``+ - * / ^`` (right-associative, binds tighter than unary minus), comparisons,
``&&`` and ``||`` (of equal precedence, from left to right, as PEtab has it), ``!``,
``piecewise(value, condition, ..., otherwise)`` and the usual functions; ``time``, ``pi``, ``inf``, ``nan``,
``true``, ``false``.  Truth values are 0 and 1.

>>> from kinetics.expression import evaluate
>>> float(evaluate(parse("2 * A / (A + K_d)"), {"A": 1.0, "K_d": 3.0}))
0.5
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Iterable

from kinetics.errors import FormulaError
from kinetics.expression import TIME, Call, Expression, Number, Symbol, call

MAX_LENGTH = 20_000  # characters
MAX_DEPTH = 80  # nested parentheses and calls; each level costs a few Python frames

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<op>\*\*|&&|\|\||<=|>=|==|!=|[-+*/^(),<>!]))"
)
_CONSTANTS = {
    "true": Number(1.0),
    "false": Number(0.0),
    "inf": Number(math.inf),
    "nan": Number(math.nan),
    "pi": Number(math.pi),
    "time": TIME,
}
RESERVED = frozenset(_CONSTANTS)
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "ceiling": "ceil"}
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_FUNCTIONS = frozenset(
    "exp ln log log2 log10 sqrt abs sign floor ceil ceiling min max pow power piecewise factorial "  # noqa: SIM905
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc asin acos atan "
    "sinh cosh tanh coth sech csch arcsinh arccosh arctanh arccoth arcsech arccsch".split()
)


class _Parser:
    def __init__(self, text: str, own: frozenset[str]) -> None:
        self.text, self.own, self.place, self.depth = text, own, 0, 0
        self.tokens: list[tuple[str, str, int]] = []
        end = len(text.rstrip())
        position = 0
        while position < end:
            match = _TOKEN.match(text, position)
            if not match:
                position = end - len(text[position:end].lstrip())
                raise self._error(f"unexpected character {text[position]!r}", position)
            kind = str(match.lastgroup)
            self.tokens.append((kind, match.group(kind), match.start(kind)))
            position = match.end()

    def _error(self, what: str, position: int | None = None) -> FormulaError:
        shown = self.text if len(self.text) <= 120 else self.text[:117] + "..."
        where = "" if position is None else f" at character {position + 1}"
        return FormulaError(f"cannot read the formula {shown!r}: {what}{where}")

    def peek(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else ""

    def accept(self, *symbols: str) -> str:
        if self.place < len(self.tokens):
            kind, text, _ = self.tokens[self.place]
            if kind == "op" and text in symbols:
                self.place += 1
                return text
        return ""

    def expect(self, symbol: str) -> None:
        if not self.accept(symbol):
            raise self._unexpected(f"expected {symbol!r}")

    def _unexpected(self, expected: str) -> FormulaError:
        if self.place < len(self.tokens):
            _, text, position = self.tokens[self.place]
            return self._error(f"{expected}, got {text!r}", position)
        return self._error(f"{expected}, got the end")

    def whole(self) -> Expression:
        result = self.logical()
        if self.place < len(self.tokens):
            raise self._unexpected("expected an operator")
        return result

    def logical(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels")
        left = self.comparison()
        while op := self.accept("&&", "||"):
            left = call("and" if op == "&&" else "or", left, self.comparison())
        self.depth -= 1
        return left

    def comparison(self) -> Expression:
        left = self.sum()
        while op := self.accept(*_COMPARISONS):
            left = call(op, left, self.sum())
        return left

    def sum(self) -> Expression:
        left = self.product()
        while op := self.accept("+", "-"):
            right = self.product()
            left = left + right if op == "+" else left - right
        return left

    def product(self) -> Expression:
        left = self.unary()
        while op := self.accept("*", "/"):
            right = self.unary()
            left = left * right if op == "*" else left / right
        return left

    def unary(self) -> Expression:
        signs: list[str] = []
        while sign := self.accept("+", "-", "!"):
            signs.append(sign)
            if len(signs) > MAX_DEPTH:
                raise self._error(f"more than {MAX_DEPTH} signs in a row")
        result = self.power()
        for sign in reversed(signs):
            if sign == "-":
                result = -result
            elif sign == "!":
                result = call("not", result)
        return result

    def power(self) -> Expression:
        base = self.atom()
        if self.accept("^", "**"):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self._error(f"nested deeper than {MAX_DEPTH} levels")
            base = base ** self.unary()  # right-associative, and the exponent may carry a sign
            self.depth -= 1
        return base

    def atom(self) -> Expression:
        if self.place >= len(self.tokens):
            raise self._unexpected("expected a number, a name or '('")
        kind, text, position = self.tokens[self.place]
        if kind == "number":
            self.place += 1
            return Number(float(text))
        if kind == "name":
            self.place += 1
            if self.peek() == "(" and self.tokens[self.place][0] == "op":
                return self.function(text, position)
            return Symbol(text) if text in self.own else _CONSTANTS.get(text, Symbol(text))
        if self.accept("("):
            inner = self.logical()
            self.expect(")")
            return inner
        raise self._unexpected("expected a number, a name or '('")

    def function(self, name: str, position: int) -> Expression:
        if name not in _FUNCTIONS:
            near = difflib.get_close_matches(name, _FUNCTIONS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise self._error(f"unknown function {name!r}{hint}", position)
        self.expect("(")
        arguments: list[Expression] = []
        if not self.accept(")"):
            arguments.append(self.logical())
            while self.accept(","):
                arguments.append(self.logical())
            self.expect(")")
        try:
            return _apply(name, arguments)
        except FormulaError as error:
            raise self._error(str(error), position) from None


def _apply(name: str, arguments: list[Expression]) -> Expression:
    if name in ("pow", "power") and len(arguments) == 2:
        return arguments[0] ** arguments[1]
    if name == "log":
        if len(arguments) == 1:
            return call("ln", arguments[0])
        if len(arguments) == 2:
            return call("log", arguments[1], arguments[0])  # written (x, base), as in PEtab
    if name in ("pow", "power", "log"):
        raise FormulaError(f"{name!r} got {len(arguments)} arguments")
    return call(_ALIASES.get(name, name), *arguments)


def parse(text: str, own: frozenset[str] = frozenset()) -> Expression:
    """Read a formula.

    Args:
        own: names that are symbols although they spell a constant (SBML allows a parameter called ``pi``).

    Raises:
        FormulaError: it is empty, too long, too deep, or not in the grammar; the message says where.
    """
    if not isinstance(text, str):
        raise FormulaError(f"a formula is text, got {text!r}")
    if not text.strip():
        raise FormulaError("the formula is empty")
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"the formula has {len(text)} characters, at most {MAX_LENGTH} are read")
    return _parsed(text, own)


@functools.lru_cache(maxsize=4096)
def _parsed(text: str, own: frozenset[str]) -> Expression:
    return _Parser(text, own).whole()


def check_names(formula: Expression, known: Iterable[str], what: str) -> None:
    """Refuse a formula with symbols outside ``known``; the message suggests the nearest name."""
    known = set(known)
    unknown = sorted(formula.names - known - {"$time"})
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise FormulaError(f"{what} names undefined {', '.join(map(repr, unknown))}{hint}")


def is_constant(formula: Expression) -> bool:
    """Whether it is a plain number."""
    return isinstance(formula, Number) or (isinstance(formula, Call) and not formula.names)
