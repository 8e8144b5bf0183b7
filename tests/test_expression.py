"""Expressions: what they evaluate to, their derivatives, and the ways in and out."""

from __future__ import annotations

import math
import pickle

import libsbml
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kinetics.codegen import compile_numpy
from kinetics.differentiation import differentiate, gradient
from kinetics.errors import FormulaError
from kinetics.expression import TIME, Number, Symbol, call, evaluate, substitute
from kinetics.formula import parse
from kinetics.mathml import from_mathml, to_mathml

X, Y, N = Symbol("x"), Symbol("y"), Symbol("n")
AT = {"x": 0.6, "y": 1.3, "n": 2.7, "$time": 0.4}
SMOOTH = [
    X * Y / (X + N),
    X**N / (Y**N + X**N),  # Hill
    N**X - Y**-2.0,
    (X - Y) - (N - X) * 3.0,
    X / (Y / (N * 2.0)) / 7.0,
    (-X) ** 2 - (-(X**2)),
    call("root", 3.0, X + Y) + call("root", 2.0, N),
    call("log", N, X + Y) + call("log10", X) + call("log2", Y),
    call("piecewise", X**2 * N, call("<", X, Y), N / X),
    call("piecewise", X**2 * N, call("and", call(">", X, Y), call("<=", X, N)), Y, call("==", X, Y), N / X),
    call("min", X * Y, N, X) + call("max", X, Y * N, 0.1),
    call("rem", N, X) + call("quotient", N, X) + call("floor", N) + call("ceil", X) + call("sign", -Y),
    call("abs", X - Y) * TIME,
    call("not", call("xor", call("<", X, Y), call(">", X, Y))) + X,
    call("implies", call("<", X, Y), call("<", Y, X)) + X,
    call("<", X, Y, N) * X,
    *(
        call(name, X)
        for name in [
            "exp",
            "ln",
            "sqrt",
            "sin",
            "cos",
            "tan",
            "sec",
            "csc",
            "cot",
            "sinh",
            "cosh",
            "tanh",
            "sech",
            "csch",
            "coth",
        ]
    ),
    *(call(name, X) for name in ["arcsin", "arccos", "arctan", "arccot", "arcsinh", "arctanh", "arcsech", "arccsch"]),
    *(call(name, N) for name in ["arccosh", "arcsec", "arccsc", "arccoth"]),
]


@pytest.mark.parametrize("formula", SMOOTH, ids=str)
def test_derivatives_agree_with_differences(formula):
    for name in "xyn":
        h = 1e-3
        at = [float(evaluate(formula, {**AT, name: AT[name] + k * h})) for k in (-2, -1, 1, 2)]
        expected = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
        got = float(evaluate(differentiate(formula, name), AT))
        assert_allclose(got, expected, rtol=1e-7, atol=1e-8)  # the formula is of order h^4 = 1e-12, times derivatives


@pytest.mark.parametrize("formula", SMOOTH, ids=str)
def test_all_ways_out_and_back_have_the_same_value(formula):
    expected = float(evaluate(formula, AT))
    names = [*AT]
    assert_allclose(compile_numpy([formula], names)([AT[name] for name in names]), [expected], rtol=1e-14)
    math_element = libsbml.readMathMLFromString(to_mathml(formula))
    assert_allclose(evaluate(from_mathml(math_element, {}), AT), expected, rtol=1e-13)
    assert_allclose(evaluate(parse(str(formula)), AT), expected, rtol=1e-13)
    assert pickle.loads(pickle.dumps(formula)) is formula  # one object, in every process


def test_compiled_functions_broadcast():
    x = np.linspace(0.1, 1.0, 5)
    result = compile_numpy([X * Y, Number(2.0), X**2], ["x", "y"])([x, 3.0])
    assert_allclose(result, [x * 3.0, np.full(5, 2.0), x**2], rtol=1e-15)
    assert compile_numpy([X], ["x"])(np.ones((1, 2, 3))).shape == (1, 2, 3)
    with pytest.raises(FormulaError, match="no argument for y"):
        compile_numpy([X * Y], ["x"])


def test_equal_expressions_are_one_object():
    assert X * Y * N is N * Y * X
    assert 2 * X * Y / N is Y * X * 2 / N
    assert Number(0.0) == X - X
    assert X + X is 2 * X
    assert substitute(X * Y, {"x": Y, "y": X}) is X * Y  # at the same time, not one after the other
    with pytest.raises(AttributeError, match="immutable"):
        X.name = "z"


def test_numbers_that_arithmetic_cannot_give_stay_what_they_are():
    with np.errstate(all="ignore"):
        assert math.isinf(evaluate(1.0 / (X - 0.6), AT))
    assert math.isnan(evaluate(call("ln", X - 1.0), AT))
    assert math.isnan(evaluate(call("piecewise", 1.0, call(">", X, 5.0)), AT))  # no otherwise
    assert evaluate(parse("9^9^9^9"), {}) == math.inf  # at once


def test_hill_term_has_a_derivative_in_its_exponent_at_zero_ligand():
    hill = X**N / (Y**N + X**N)
    assert float(evaluate(differentiate(hill, "n"), {**AT, "x": 0.0})) == 0.0


def test_unused_branch_cannot_spoil_a_derivative():
    guarded = call("piecewise", call("ln", X), call(">", X, 0.0), 0.0)
    assert float(evaluate(differentiate(guarded, "x"), {"x": 0.0})) == 0.0


def test_shared_parts_keep_derivatives_small():
    """Each factor is used twice by the next: written out, 2^60 terms."""
    formula = X
    for _ in range(60):
        formula = formula * (1.0 + formula) / 3.0
    slope = gradient(formula, ["x"])["x"]
    expected, value, chain = 0.0, 0.9, 1.0
    for _ in range(60):
        chain *= (1.0 + 2.0 * value) / 3.0
        value = value * (1.0 + value) / 3.0
    expected = chain
    assert_allclose(evaluate(slope, {"x": 0.9}), expected, rtol=1e-12)
    assert_allclose(compile_numpy([slope], ["x"])([0.9]), [expected], rtol=1e-12)


def test_mistakes_are_named():
    with pytest.raises(FormulaError, match="no operation named 'sinus'"):
        call("sinus", X)
    with pytest.raises(FormulaError, match="'exp' takes 1 arguments, got 2"):
        call("exp", X, Y)
    with pytest.raises(FormulaError, match="'factorial' has no derivative"):
        differentiate(call("factorial", X), "x")
    with pytest.raises(FormulaError, match="no value for 'y'"):
        evaluate(X + Y, {"x": 1.0})
