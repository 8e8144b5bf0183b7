"""What the tests of the objective share: short words for problems, and tight differences of their values."""

from __future__ import annotations

import math

import numpy as np
from numpy.testing import assert_allclose

from fits.objective import ProblemObjective, compile_problem
from fits.parameters import Parameter, Scale
from fits.problem import Distribution, Measurement, Observable, Problem
from kinetics import Model
from kinetics.engine import Solver
from kinetics.experiment import Experiment

INF = math.inf
TIGHT = Solver(1e-12, 1e-16)
EXACT = 3e-5  # of gradients: the variational equations are solved to 1e-6 per step, and residuals cancel

# A decays into B; u enters no rate.  The volume is not 1, so that amounts and concentrations cannot be mixed up.
CHAIN = "model chain() compartment c=2; species A in c, B in c; A -> B; c*k*A; A=10; B=1; k=0.1; u=1; end"


def load(text, **values):
    model = Model.load(text, trusted=True)
    return model.with_values(**values) if values else model


def free(name, value=None, lower=1e-3, upper=1e3, scale="lin", **options):
    return Parameter(name, lower, upper, Scale(scale), math.nan if value is None else value, **options)


def observe(formula, noise="1", id="y", distribution="normal", **options):
    return Observable(id, formula, noise, Distribution(distribution), **options)


def measure(time, value, experiment="e", observable="y", **options):
    return Measurement(observable, experiment, time, value, **options)


def censor(time, lower=-INF, upper=INF, experiment="e", observable="y"):
    return Measurement(observable, experiment, time, math.nan, lower=lower, upper=upper)


def make(model, parameters, observables, measurements, experiments=None, **options):
    """A problem; ``observables`` may be one formula, ``experiments`` one experiment called ``e``."""
    if isinstance(observables, str):
        observables = [observe(observables)]
    if experiments is None or isinstance(experiments, Experiment):
        experiments = {"e": experiments or Experiment()}
    return Problem("test", model, parameters, observables, experiments, measurements, **options)


def differences(objective, x, step=2e-3):
    """The gradient of the value by central differences of order 4, shape (n,)."""
    x = np.asarray(x, dtype=float)
    result = np.empty(len(x))
    for index in range(len(x)):
        h = step * max(1.0, abs(x[index]))
        values = []
        for k in (-2, -1, 1, 2):
            moved = x.copy()
            moved[index] += k * h
            found = objective.evaluate(moved)
            assert not found.failed, found.failure
            values.append(found.value)
        result[index] = (values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / (12.0 * h)
    return result


def agrees(objective, x=None, *, exact: bool | None = True, tolerance=EXACT, step=2e-3):
    """The evaluation with derivatives is that without, and its gradient that of tight differences."""
    if not hasattr(objective, "evaluate"):
        objective = compile_problem(objective, TIGHT)
    x = objective.nominal if x is None else np.asarray(x, dtype=float)
    plain, found = objective.evaluate(x), objective.evaluate(x, derivatives=True)
    assert not plain.failed, plain.failure
    assert not found.failed, found.failure
    assert_allclose(found.value, plain.value, rtol=1e-8, atol=1e-8)
    expected = differences(objective, x, step)
    assert_allclose(found.gradient, expected, rtol=0.0, atol=tolerance * np.abs(expected).max() + 1e-9)
    if exact is not None:
        assert found.exact is exact
    if exact and isinstance(objective, ProblemObjective):
        assert not objective.inexact
    return found
