"""Expressions from and to MathML, the form of formulas in SBML."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from xml.sax.saxutils import escape

from kinetics.errors import UnsupportedModel
from kinetics.expression import (
    AVOGADRO,
    BOOLEAN,
    CONSTANTS,
    MINUS_ONE,
    TIME,
    Call,
    Expression,
    Number,
    Symbol,
    call,
    nodes,
    substitute,
)

if TYPE_CHECKING:
    import libsbml

MATHML = "http://www.w3.org/1998/Math/MathML"
_TIME = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time"> time </csymbol>'

# Expression operation -> MathML element, where the names differ.
_ELEMENTS = {
    "+": "plus",
    "*": "times",
    "/": "divide",
    "^": "power",
    "<": "lt",
    "<=": "leq",
    ">": "gt",
    ">=": "geq",
    "==": "eq",
    "!=": "neq",
    "ceil": "ceiling",
    "sqrt": "root",
}


def to_mathml(root: Expression) -> str:
    """A ``<math>`` element that every level of SBML from L2V1 understands.

    Shared subexpressions are written out each time they occur; to keep a large formula small, give its parts
    names first.
    """
    written: dict[Expression, str] = {}
    for node in nodes((root,)):
        if isinstance(node, Number):
            written[node] = _number(node.value)
        elif isinstance(node, Symbol):
            written[node] = _TIME if node is TIME else f"<ci> {escape(node.name)} </ci>"
        else:
            written[node] = _apply(cast(Call, node), written)
    return f'<math xmlns="{MATHML}">{_numeric(root, written)}</math>'


def _number(value: float) -> str:
    if math.isnan(value):
        return "<notanumber/>"
    if math.isinf(value):
        return "<infinity/>" if value > 0 else "<apply><minus/><infinity/></apply>"
    mantissa, _, exponent = repr(value).partition("e")
    if exponent:
        return f'<cn type="e-notation"> {mantissa} <sep/> {int(exponent)} </cn>'
    return f"<cn> {mantissa} </cn>"


def _numeric(node: Expression, written: Mapping[Expression, str]) -> str:
    """A truth value where a number is meant: before L3V2 only a piecewise may mix them."""
    if isinstance(node, Call) and node.op in BOOLEAN:
        return f"<piecewise><piece><cn> 1 </cn>{written[node]}</piece><otherwise><cn> 0 </cn></otherwise></piecewise>"
    return written[node]


def _truth(node: Expression, written: Mapping[Expression, str]) -> str:
    """A number where a truth value is meant."""
    if isinstance(node, Call) and node.op in BOOLEAN:
        return written[node]
    if isinstance(node, Number):
        return "<true/>" if node.value != 0.0 else "<false/>"
    return f"<apply><neq/>{written[node]}<cn> 0 </cn></apply>"


def _apply(node: Call, written: Mapping[Expression, str]) -> str:
    op, args = node.op, node.args
    if op == "piecewise":
        pieces = "".join(
            f"<piece>{_numeric(value, written)}{_truth(condition, written)}</piece>"
            for value, condition in zip(args[:-1:2], args[1::2], strict=True)
        )
        return f"<piecewise>{pieces}<otherwise>{_numeric(args[-1], written)}</otherwise></piecewise>"
    if op in ("and", "or", "not"):
        return f"<apply><{op}/>{''.join(_truth(arg, written) for arg in args)}</apply>"
    inner = [_numeric(arg, written) for arg in args]
    if op in ("min", "max"):  # elements of L3V2 only
        code = inner[0]
        for other in inner[1:]:
            compare = "leq" if op == "min" else "geq"
            code = (
                f"<piecewise><piece>{code}<apply><{compare}/>{code}{other}</apply></piece>"
                f"<otherwise>{other}</otherwise></piecewise>"
            )
        return code
    if op == "sign":
        zero = "<cn> 0 </cn>"
        return (
            f"<piecewise><piece><cn> 1 </cn><apply><gt/>{inner[0]}{zero}</apply></piece>"
            f"<piece><cn> -1 </cn><apply><lt/>{inner[0]}{zero}</apply></piece><otherwise>{zero}</otherwise></piecewise>"
        )
    if op in ("log10", "log2"):
        return f"<apply><log/><logbase><cn> {op[3:]} </cn></logbase>{inner[0]}</apply>"
    if op == "*" and args[0] is MINUS_ONE:
        rest = "".join(inner[1:])
        return f"<apply><minus/>{rest if len(inner) == 2 else f'<apply><times/>{rest}</apply>'}</apply>"
    return f"<apply><{_ELEMENTS.get(op, op)}/>{''.join(inner)}</apply>"


# --- reading ------------------------------------------------------------------------------------------------

FunctionTable = Mapping[str, tuple[tuple[str, ...], Expression]]


def from_mathml(root: libsbml.ASTNode, functions: FunctionTable) -> Expression:
    """The expression of a libSBML syntax tree; calls of ``functions`` (arguments, body) are written out.

    Raises:
        UnsupportedModel: a delay, or another construct without meaning in ordinary differential equations.
    """
    types = _ast_types()
    done: list[Expression] = []
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:  # no recursion: a foreign file may nest deeper than Python's stack
        node, ready = stack.pop()
        count = node.getNumChildren()
        if count and not ready:
            stack.append((node, True))
            stack.extend((node.getChild(i), False) for i in reversed(range(count)))
            continue
        args = done[len(done) - count :] if count else []
        del done[len(done) - count :]
        done.append(_node(node, args, functions, types))
    return done[0]


def _node(node: Any, args: list[Expression], functions: FunctionTable, types: Mapping[int, str]) -> Expression:
    import libsbml

    kind = node.getType()
    if kind == libsbml.AST_INTEGER:
        return Number(node.getInteger())
    if kind == libsbml.AST_RATIONAL:
        return Number(node.getNumerator() / node.getDenominator())
    if kind in (libsbml.AST_REAL, libsbml.AST_REAL_E):
        return Number(node.getReal())
    if kind == libsbml.AST_NAME:
        return Symbol(node.getName())
    if kind == libsbml.AST_NAME_TIME:
        return TIME
    if kind == libsbml.AST_NAME_AVOGADRO:
        return Number(AVOGADRO)
    if kind == libsbml.AST_FUNCTION:
        name = node.getName()
        if name not in functions:
            raise UnsupportedModel(f"the function {name!r} is called but not defined in the model")
        parameters, body = functions[name]
        if len(parameters) != len(args):
            raise UnsupportedModel(f"the function {name!r} takes {len(parameters)} arguments, got {len(args)}")
        return substitute(body, dict(zip(parameters, args, strict=True)))
    op = types.get(kind)
    if op is None:
        raise UnsupportedModel(f"{node.getName() or 'a MathML element'!s} (type {kind}) is not supported in formulas")
    if op in CONSTANTS:
        return CONSTANTS[op]
    return _SPECIAL[op](args) if op in _SPECIAL else call(op, *args)


def _piecewise(args: list[Expression]) -> Expression:
    return call("piecewise", *args) if args else CONSTANTS["notanumber"]


_SPECIAL: dict[str, Callable[[list[Expression]], Expression]] = {
    "+": lambda args: call("+", *args),
    "*": lambda args: call("*", *args),
    "piecewise": _piecewise,
    "log": lambda args: call("log", *args) if len(args) == 2 else call("log10", *args),
    "root": lambda args: call("root", *args) if len(args) == 2 else call("sqrt", *args),
    "and": lambda args: call("and", *args) if args else CONSTANTS["true"],
    "or": lambda args: call("or", *args) if args else CONSTANTS["false"],
    "xor": lambda args: call("xor", *args) if args else CONSTANTS["false"],
}


def _ast_types() -> dict[int, str]:
    import libsbml

    names = {
        "PLUS": "+",
        "MINUS": "-",
        "TIMES": "*",
        "DIVIDE": "/",
        "POWER": "^",
        "FUNCTION_POWER": "^",
        "FUNCTION_CEILING": "ceil",
        "FUNCTION_PIECEWISE": "piecewise",
        "FUNCTION_LOG": "log",
        "FUNCTION_ROOT": "root",
        "CONSTANT_PI": "pi",
        "CONSTANT_E": "exponentiale",
        "CONSTANT_TRUE": "true",
        "CONSTANT_FALSE": "false",
        "RELATIONAL_EQ": "==",
        "RELATIONAL_NEQ": "!=",
        "RELATIONAL_LT": "<",
        "RELATIONAL_LEQ": "<=",
        "RELATIONAL_GT": ">",
        "RELATIONAL_GEQ": ">=",
        "LOGICAL_AND": "and",
        "LOGICAL_OR": "or",
        "LOGICAL_NOT": "not",
        "LOGICAL_XOR": "xor",
        "LOGICAL_IMPLIES": "implies",
    }
    plain = ("abs", "exp", "ln", "floor", "factorial", "min", "max", "quotient", "rem")
    bases = ("sin", "cos", "tan", "sec", "csc", "cot")
    trigonometric = [f"{arc}{base}{h}" for arc in ("", "arc") for base in bases for h in ("", "h")]
    names |= {f"FUNCTION_{name.upper()}": name for name in (*plain, *trigonometric)}
    return {getattr(libsbml, f"AST_{name}"): op for name, op in names.items() if hasattr(libsbml, f"AST_{name}")}
