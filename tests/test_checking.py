"""The check of a problem: gradients against finite differences, lint, one evaluation; tolerances after a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from fitted_text import files, write_problem
from numpy.testing import assert_allclose
from petab_text import spoiled, write_files
from toys import Hopeless, Rosenbrock

from fits.checking import Level, check_problem, lint
from fits.evaluation import Evaluation
from fits.gradient_check import LARGEST, check_point, gradient_check, inexact_sentences
from fits.hierarchical import HierarchicalObjective
from fits.objective import compile_problem
from fits.optimise import fit
from fits.parameters import Parameter, ParameterSet, Scale
from fits.petab import read_petab
from fits.problem import Measurement, Observable, Problem, replace_problem
from fits.tolerance_check import check_tolerances
from kinetics.engine import Solver
from kinetics.errors import InputError, SimulationError
from kinetics.experiment import Experiment
from kinetics.model import Model

BENCHMARKS = Path(__file__).parents[1].parent / "shared" / "suites" / "benchmarks"


@pytest.fixture(scope="module")
def problem(tmp_path_factory) -> Problem:
    return read_petab(write_problem(tmp_path_factory.mktemp("problem")), trusted=True)


@dataclass(frozen=True)
class Spoiled(Rosenbrock):
    """Its derivative by y is too large by one part in a hundred."""

    least_squares: bool = False

    def evaluate(self, x, *, derivatives=False):
        found = super().evaluate(x, derivatives=derivatives)
        if not derivatives:
            return found
        return Evaluation(found.value, found.gradient * np.array([1.0, 1.01]))


@dataclass(frozen=True)
class Edge(Rosenbrock):
    """Cannot be evaluated at x above 1."""

    def evaluate(self, x, *, derivatives=False):
        if x[0] > 1.0:
            return Evaluation(math.inf, failure="too stiff")
        return super().evaluate(x, derivatives=derivatives)


# --- gradients ----------------------------------------------------------------------------------------------


def test_a_right_gradient_is_right():
    """Rosenbrock's valley is a polynomial of degree 4, for which the differences are exact but for rounding."""
    found = gradient_check(Rosenbrock(), [0.3, -0.4])
    by_hand = [-200.0 * 0.3 * (-0.4 - 0.09) - (1.0 - 0.3), 100.0 * (-0.4 - 0.09)]
    assert_allclose(found.reference, by_hand, rtol=1e-9)
    assert found.largest < 1e-9
    assert found.sound and found.exact and not found.wrong


def test_a_wrong_component_is_named():
    found = gradient_check(Spoiled(), [0.3, -0.4])
    assert list(found.wrong) == ["y"]
    assert_allclose(found.by_parameter["y"], 0.01, rtol=1e-6)
    assert "differs" in found.sentences[0] and "y (1.0e-02)" in found.sentences[0]


def test_what_cannot_be_simulated_nearby_is_not_called_wrong():
    found = gradient_check(Edge(), [1.0, 0.5])
    assert found.unjudged == ("x",)
    assert not found.wrong
    assert "could not be checked" in " ".join(found.sentences)


def test_a_point_that_fails_is_an_error():
    with pytest.raises(SimulationError, match="gradient check: step size too small"):
        gradient_check(Hopeless(), [0.0, 0.0])
    with pytest.raises(InputError, match="2 values"):
        gradient_check(Rosenbrock(), [0.0])


def test_the_point_is_seeded_and_a_tenth_off_nominal(problem):
    objective = compile_problem(problem)
    points = np.array([check_point(objective, seed) for seed in range(200)])
    assert_allclose(points[3], check_point(objective, 3), rtol=0)
    off = (points - objective.nominal) * np.log(10.0)  # both are searched on the log10 scale
    assert_allclose(np.std(off), 0.1, rtol=0.15)  # of 400 draws: 3.5 % standard error
    assert np.all((points > objective.lower) & (points < objective.upper))


def test_the_point_is_the_same_on_every_scale(problem):
    linear = ParameterSet(replace(p, scale=Scale.LIN) for p in problem.parameters.parameters)
    plain = check_point(compile_problem(problem.with_parameters(linear)), 5)
    assert_allclose(10.0 ** check_point(compile_problem(problem), 5), plain, rtol=1e-12)


def test_a_problem_with_exact_derivatives(problem):
    found = gradient_check(compile_problem(problem), seed=1)
    assert found.sound and found.exact
    assert found.largest < LARGEST
    assert found.sentences[-1] == "All 2 derivatives are exact."


def test_a_hierarchical_objective_is_checked_as_it_is_searched(problem):
    noisy = replace_problem(
        problem,
        parameters=[*problem.parameters.parameters, Parameter("sd", 1e-3, 1.0, Scale.LOG10, 0.05)],
        observables=[replace(o, noise="sd") for o in problem.observables.values()],
    )
    objective = HierarchicalObjective(noisy)
    found = gradient_check(objective)
    assert found.names == ("k1", "k2")
    assert found.sound


EVENT = """model toggled()
  compartment cell = 1; species A in cell
  A = 5; k = 0.3; limit = 2
  loss: A -> ; cell * k * A
  refill: at A < limit: A = 4
end"""


def test_finite_differences_are_named_with_their_reason():
    """The time of the event moves with k, and a jump that moves is not claimed to be exact."""
    rows = [Measurement("a", "e", time, 2.0) for time in (1.0, 4.0, 7.0)]
    parameters = [Parameter("k", 0.01, 10.0, Scale.LOG10, 0.3)]
    problem = Problem("p", Model.load(EVENT, trusted=True), parameters, [Observable("a", "A", "0.1")],
                      {"e": Experiment()}, rows)  # fmt: skip
    found = gradient_check(compile_problem(problem))
    assert not found.exact
    assert "k" in found.inexact and "event" in found.inexact["k"]
    assert "finite differences, because" in found.sentences[-1]


def test_reasons_are_grouped():
    said = inexact_sentences({"a": "events", "b": "events", "c": "delay"}, 4)
    assert said == [
        "The derivatives by a, b are taken by finite differences, because events.",
        "The derivative by c is taken by finite differences, because delay.",
    ]


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark problems are not there")
def test_published_problem():
    """Boehm et al. 2014: the objective at the nominal values as published, and its gradient."""
    (folder,) = BENCHMARKS.glob("Boehm*")
    found = check_problem(read_petab(folder, trusted=True))
    assert found.sound
    assert_allclose(found.value, 138.2220, atol=1e-3)
    assert found.gradient is not None
    assert found.gradient.largest <= 1e-4 and found.gradient.largest_relative <= 1e-3


# --- lint ---------------------------------------------------------------------------------------------------


def texts(problem: Problem, level: Level) -> str:
    return "\n".join(item.text for item in lint(problem) if item.level is level)


def changed(problem: Problem, name: str, **changes: object) -> Problem:
    found = [replace(p, **changes) if p.id == name else p for p in problem.parameters.parameters]
    return problem.with_parameters(ParameterSet(found))


def test_a_good_problem_has_no_findings(problem):
    found = check_problem(problem)
    assert found.sound and found.findings == ()
    assert found.counts["estimated parameters"] == 2 and found.counts["measurements"] == 14
    assert "Nothing is wrong." in str(found)


@pytest.mark.parametrize(
    "changes, level, words",
    [
        ({"nominal": 20.0}, Level.WARNING, "nominal value 20 of 'k1' lies outside its bounds 0.01 to 10"),
        ({"nominal": 10.0}, Level.NOTE, "is one of its bounds"),
        ({"scale": Scale.LOG10, "lower": 0.0}, Level.WARNING, "infinitely far"),
        ({"scale": Scale.LIN, "lower": 1e-6}, Level.NOTE, "the log10 scale would search all of it"),
    ],
)
def test_odd_parameters_are_pointed_out(problem, changes, level, words):
    assert words in texts(changed(problem, "k1", **changes), level)


def test_an_unused_parameter_is_named(problem):
    more = [*problem.parameters.parameters, Parameter("k_lost", 0.1, 10.0, nominal=1.0)]
    changed = problem.with_parameters(ParameterSet(more))
    assert "'k_lost' is estimated but used in no model" in texts(changed, Level.WARNING)
    assert "does not depend on 'k_lost'" in str(check_problem(changed))


def test_too_few_measurements(problem):
    few = replace_problem(problem, measurements=problem.measurements[:2])
    assert "cannot be identified" in texts(few, Level.WARNING)


def test_constant_data_and_odd_sigmas(problem):
    flat = replace_problem(problem, measurements=[replace(row, value=3.0) for row in problem.measurements])
    assert "all 14 measurements of 'obs_a' are 3" in texts(flat, Level.WARNING)
    wide = replace_problem(problem, observables=[replace(o, noise="100") for o in problem.observables.values()])
    assert "sigma of 'obs_a' is 100" in texts(wide, Level.WARNING)


def test_what_nobody_measured_is_a_note(problem):
    idle = replace_problem(problem, observables=[*problem.observables.values(), Observable("obs_b", "B", "1")],
                           experiments={**problem.experiments, "spare": Experiment()})  # fmt: skip
    notes = texts(idle, Level.NOTE)
    assert "'obs_b' has no measurements" in notes and "nothing was measured in 'spare'" in notes


def test_an_objective_that_cannot_be_evaluated_is_an_error(tmp_path):
    broken = spoiled(files(), "observables.tsv", "obs_a|A|0.01", "obs_a|A|0.01 - k1")
    found = check_problem(read_petab(write_files(tmp_path, broken), trusted=True))
    assert not found.sound
    assert math.isinf(found.value)
    assert "sigma of observable 'obs_a' must be positive" in str(found)
    assert "cannot be fitted as it is" in found.sentences[-1]


def test_an_undefined_symbol_is_an_error_in_words(problem):
    undefined = replace_problem(problem, observables=[replace(o, formula="A_") for o in problem.observables.values()])
    found = check_problem(undefined)
    assert not found.sound and "'A_'" in found.of(Level.ERROR)[0].text


# --- tolerances after a fit ---------------------------------------------------------------------------------


def test_a_tighter_solver_changes_nothing(problem):
    objective = compile_problem(problem)
    found = check_tolerances(objective, fit(objective, n_starts=2, progress=False))
    assert not found.changes_conclusion
    assert abs(found.difference) < 1e-4  # rtol 1e-8 and sigma 0.01: residuals to 1e-6
    assert "it changes nothing" in found.sentence


def test_a_loose_solver_is_found_out(problem):
    objective = compile_problem(problem, Solver(0.05, 0.05))
    found = check_tolerances(objective, fit(objective, n_starts=2, progress=False))
    assert found.changes_conclusion
    assert "fit again with tighter tolerances" in found.sentence
