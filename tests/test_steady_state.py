"""Derivatives of steady states, against closed forms and differences of long simulations."""

from __future__ import annotations

import numpy as np
import pytest
from derivative_runs import Runs
from numpy.testing import assert_allclose

from kinetics.antimony import to_sbml
from kinetics.equations import read_equations
from kinetics.errors import InputError, NoSteadyState
from kinetics.reach import reaches
from kinetics.slopes import starting_point
from kinetics.steady_state import SteadyState


def steady(text, columns, long=1e5):
    """Steady state and its slopes: (state -> value), (n_states, n_columns)."""
    runs = Runs(to_sbml(text), rtol=1e-12, atol=1e-15)
    equations = runs.equations
    moved = reaches(equations, columns)
    constants = [name for name in equations.constants if any(name in reach.constants for reach in moved.values())]
    values, slopes = starting_point(equations, columns)({})
    start = np.array([values[name] for name in equations.states])
    end = runs.simulate([0.0, long], values)[-1]
    weights = np.array([[slopes.get((name, column), 0.0) for column in columns] for name in constants])
    start_slopes = np.array([[slopes.get((name, column), 0.0) for column in columns] for name in equations.states])
    weights = weights.reshape(len(constants), len(columns))
    found = SteadyState(equations, constants).slopes(end, values, weights, start, start_slopes)
    return runs, dict(zip(equations.states, end, strict=True)), found


def test_production_and_decay():
    """A = s / g: dA/ds = 1/g, dA/dg = -s/g^2, and no memory of the start."""
    _, at, found = steady("model m() species A; -> A; s; A -> ; g*A; A=0; s=3; g=0.4; end", ["s", "g", "init_A"])
    assert at["A"] == pytest.approx(7.5, rel=1e-9)
    assert_allclose(found, [[2.5, -18.75, 0.0]], rtol=1e-8, atol=1e-12)


def test_binding_remembers_its_totals():
    """C solves C^2 - (L + R + K) C + L R = 0, with K = k_off / k_on; volumes differ from 1."""
    text = """model m() compartment c=3; species L in c, R in c, C in c
      J: L + R -> C; c*(k_on*L*R - k_off*C); L=4; R=3; C=0; k_on=0.2; k_off=0.5; end"""
    runs, at, found = steady(text, ["k_off", "init_L", "init_R"])

    def complexes(left, right, k_d):
        total = left + right + k_d
        return 0.5 * (total - np.sqrt(total**2 - 4.0 * left * right))

    h = 1e-5
    by_k = (complexes(4, 3, 2.5 + h) - complexes(4, 3, 2.5 - h)) / (2 * h) / 0.2
    by_l = (complexes(4 + h, 3, 2.5) - complexes(4 - h, 3, 2.5)) / (2 * h)
    by_r = (complexes(4, 3 + h, 2.5) - complexes(4, 3 - h, 2.5)) / (2 * h)
    row = found[runs.equations.states.index("C")]
    assert at["C"] == pytest.approx(complexes(4, 3, 2.5), rel=1e-9)
    assert_allclose(row, [by_k, by_l, by_r], rtol=1e-8)
    free = found[runs.equations.states.index("L")]
    assert_allclose(free, np.array([0.0, 1.0, 0.0]) - row, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_exchange_between_compartments_against_differences(scale):
    """A total conserved as amount, over two volumes that are themselves parameters; any unit of amount."""
    text = f"""model m() compartment c=2, d=0.5; species A in c, B in d, P in c; substanceOnly species N in d
      J: A -> B; k*A*c - g*B; K: B -> N; q*B*d - r*N; -> P; s*A*c; P -> ; u*c*P^2
      A={2.0 * scale}; B={1.0 * scale}; N={0.3 * scale}; P=0; k=0.7; g=0.4; q=0.6; r=0.2; s=0.5; u={0.9 / scale}; end"""
    columns = ["k", "g", "q", "r", "s", "u", "init_A", "init_N", "c", "d"]
    runs, _, found = steady(text, columns, long=1e4)
    start = starting_point(runs.equations, columns)
    for i, column in enumerate(columns):
        expected = runs.differences([0.0, 1e4], column, start)[-1]
        assert_allclose(found[:, i], expected, rtol=1e-5, atol=1e-7 * np.abs(expected).max(), err_msg=column)


def test_reaction_without_its_ligand_conserves():
    """Without ligand nothing binds: receptor and complex stay what they were."""
    text = """model m() species $L, R, C, X; J: R -> C; k*L*R; K: C -> R; 0*C; -> X; s*R; X -> ; g*X
      L=0; R=3; C=1; X=0; k=0.2; s=0.5; g=0.25; end"""
    runs, at, found = steady(text, ["s", "init_R", "init_C", "k"], long=1e3)
    states = runs.equations.states
    assert at["X"] == pytest.approx(6.0)
    assert_allclose(found[states.index("X")], [12.0, 2.0, 0.0, 0.0], rtol=1e-8, atol=1e-9)
    assert_allclose(found[states.index("C")], [0.0, 0.0, 1.0, 0.0], atol=1e-9)


def test_no_steady_state_to_differentiate():
    with pytest.raises(InputError, match="A depend on time"):
        SteadyState(read_equations(to_sbml("model m() species A; -> A; sin(time); A=0; end")), [])
    with pytest.raises(NoSteadyState):  # the ligand, now absent, would drive all receptor into the complex
        steady("model m() species $L, R, C; J: R -> C; k*L*R; L=0; R=3; C=1; k=0.2; end", ["L"], long=10.0)
    with pytest.raises(NoSteadyState, match="not isolated"):  # every point is one, and no total says which
        steady("model m() x=1; x' = k*(y - x); y = 2; y' = k*(x - y); k=1; end", ["k"], long=50.0)
