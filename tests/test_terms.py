"""Terms on top of the likelihood: known curves, closed forms, finite differences, and what cannot be meant."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kinetics as kin
from fits.curve_numbers import CurveNumber, CurveNumbers, Measure
from fits.half_maximum import crossing, extent_of
from fits.objective import compile_problem
from fits.parameters import Parameter, ParameterSet, Scale
from fits.problem import Measurement, Observable, Problem
from fits.terms import Hinge, NormalisedCurve, NormalisedPoint, ReportedNumber
from kinetics.curves import dose_for, hill
from kinetics.dosing import DoseProtocol
from kinetics.engine import Solver
from kinetics.errors import InputError, SimulationError, UnknownName

GRID = tuple(float(f"{d:.6g}") for d in 10.0 ** (np.arange(-12, 13) / 4.0))  # 4 per decade
LATE = 200.0  # receptors are at equilibrium long before


@pytest.fixture(scope="module")
def control() -> DoseProtocol:
    return DoseProtocol("L", GRID, kin.Readout.at("C", LATE), kin.Experiment.steps((LATE, {"B": 0.0})))


@pytest.fixture(scope="module")
def blocked(control) -> DoseProtocol:
    """With the antagonist at 1 nM, twice its K_b of 0.5."""
    return control.under({"B": 1.0})


def problem_of(model, terms, parameters=None, measurements=()):
    chosen = parameters or [
        Parameter("k_off", 0.02, 200.0, Scale.LOG10, 2.0),
        Parameter("k_off_b", 0.01, 10.0, Scale.LOG10, 0.25),
        Parameter("R", 0.1, 10.0, Scale.LIN, 1.0),
    ]
    observables = [Observable("y", "C", "0.1")] if measurements else []
    experiments = {"dose": kin.Experiment.steps((LATE, {"L": 2.0}))} if measurements else {}
    return Problem("shifts", model, ParameterSet(chosen), observables, experiments, measurements, terms=terms)


def differences(objective, x, step=1e-4):
    """Central differences of the value under a tighter solver, whose noise is far below the steps."""
    objective = compile_problem(objective.problem, Solver(rtol=1e-12, atol=1e-16))
    slopes = []
    for i in range(len(x)):
        ends = [objective.evaluate(x + sign * step * np.eye(len(x))[i]).value for sign in (1.0, -1.0)]
        slopes.append((ends[0] - ends[1]) / (2.0 * step))
    return np.array(slopes)


# --- crossings ---------------------------------------------------------------------------------------------------


def test_crossing_is_that_of_kinetics_curves_and_its_slopes_are_exact():
    rng = np.random.default_rng(3)
    for _ in range(100):
        n = int(rng.integers(3, 9))
        x, sign = np.sort(rng.uniform(-3.0, 3.0, n)), rng.choice([-1.0, 1.0])
        y = sign * np.sort(rng.normal(size=n))
        level = float(rng.uniform(y.min() + 0.01, y.max() - 0.01))
        found = crossing(x, y, level)
        assert found.at == pytest.approx(math.log10(dose_for(10.0**x, y, level)), abs=1e-9)
        step = 1e-6
        for i, unit in enumerate(np.eye(n)):
            try:
                ends = [crossing(x, y + s * step * unit, level).at for s in (1.0, -1.0)]
            except SimulationError:
                continue  # the level lies that close to the end of the curve
            # of differences: rounding 1e-16 / step, and curvature times step, which is large where the curve is flat
            assert found.by_response[i] == pytest.approx((ends[0] - ends[1]) / (2.0 * step), rel=1e-3, abs=1e-5)


def test_ec50_of_a_hill_curve():
    """Interpolated between eight doses per decade, the EC50 is right to 0.1 %; between three, to 1 %."""
    for per_decade, tolerance in ((8, 1e-3), (3, 1e-2)):
        doses = 10.0 ** (np.arange(-5 * per_decade, 5 * per_decade + 1) / per_decade)
        for ec50, slope in ((0.3, 1.0), (0.042, 1.2), (7.0, 2.0)):
            responses = hill(doses, 0.0, 3.0, ec50, slope)
            assert 10.0 ** crossing(np.log10(doses), responses, 1.5).at == pytest.approx(ec50, rel=tolerance)


def test_a_curve_without_a_half_maximum():
    with pytest.raises(SimulationError, match="is flat"):
        extent_of(np.full(4, 2.0))
    with pytest.raises(SimulationError, match=r"does not cross 5 within its doses 1 to 100"):
        crossing(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]), 5.0)


# --- numbers of curves -------------------------------------------------------------------------------------------


def test_numbers_of_an_equilibrium_with_antagonist(antagonist, control, blocked):
    """Gaddum: EC50 = K_d (1 + B / K_b) with K_d = 2, K_b = 0.5, and the same maximum."""
    numbers = {
        "ec50": CurveNumber("log10 EC50", control),
        "blocked": CurveNumber("log10 EC50", blocked),
        "shift": CurveNumber("log10 EC50 ratio", blocked, control),
        "equieffective": CurveNumber("log10 equieffective ratio", blocked, control),
        "emax": CurveNumber("Emax", control),
        "emax_ratio": CurveNumber("Emax ratio", blocked, control),
        "at_2": CurveNumber("response", control, dose=kin.Quantity(2.0, "")),
        "ratio_at_2": CurveNumber("response ratio", blocked, control, dose=kin.Quantity(2.0, "")),
    }
    problem = problem_of(antagonist, [ReportedNumber("s", numbers["shift"], value=0.5, error=0.1)])
    found = CurveNumbers(problem, numbers)(problem.parameters.nominal)
    # The largest dose of 1000 reaches 0.998 and 0.994 of the maximum, which the half-maxima inherit, 0.1 to 0.3 %.
    assert 10.0 ** found["ec50"] == pytest.approx(2.0, rel=4e-3)
    assert 10.0 ** found["blocked"] == pytest.approx(6.0, rel=1.2e-2)
    assert 10.0 ** found["shift"] == pytest.approx(3.0, rel=1.2e-2)
    assert 10.0 ** found["equieffective"] == pytest.approx(3.0, rel=2e-3)
    assert found["emax"] == pytest.approx(1000.0 / 1002.0, rel=1e-6)
    assert found["emax_ratio"] == pytest.approx((1000.0 / 1006.0) / (1000.0 / 1002.0), rel=1e-6)
    assert found["at_2"] == pytest.approx(0.5, rel=1e-6)
    assert found["ratio_at_2"] == pytest.approx(0.25 / 0.5, rel=1e-6)


def test_gradients_of_numbers(antagonist, control, blocked):
    numbers = {
        item.value: CurveNumber(
            item, blocked, control if item.compares else None, kin.Quantity(3.0, "") if item.at_a_dose else None
        )
        for item in Measure
    }
    problem = problem_of(antagonist, [ReportedNumber("s", numbers["Emax"], value=0.5, error=0.1)])
    compiled = CurveNumbers(problem, numbers)
    x = problem.parameters.scaled({"k_off": 3.1, "k_off_b": 0.4, "R": 1.3})
    step = 1e-4
    for name, (value, slopes) in compiled.slopes(x).items():
        assert value == pytest.approx(compiled(x)[name], rel=1e-6)
        for i, unit in enumerate(np.eye(3)):
            ends = [compiled(x + sign * step * unit)[name] for sign in (1.0, -1.0)]
            # differences of curves that the integrator knows to 1e-8, over 2e-4
            assert slopes[i] == pytest.approx((ends[0] - ends[1]) / (2.0 * step), rel=1e-3, abs=2e-4), name
        function = pickle.loads(pickle.dumps(compiled.quantity(name)))
        assert_allclose(function(x)[1], slopes, rtol=1e-8, atol=1e-12)


# --- terms -------------------------------------------------------------------------------------------------------


def test_value_with_error_is_a_normal_likelihood(antagonist, control, blocked):
    number = CurveNumber("log10 EC50 ratio", blocked, control)
    problem = problem_of(antagonist, [ReportedNumber("shift", number, value=1.0, error=0.2)])
    objective = compile_problem(problem)
    x = problem.parameters.nominal
    shift = CurveNumbers(problem, {"shift": number})(x)["shift"]
    found = objective.evaluate(x, derivatives=True)
    expected = 0.5 * ((shift - 1.0) / 0.2) ** 2 + math.log(0.2 * math.sqrt(2.0 * math.pi))
    # with and without derivatives the integrator takes different steps, each good to 1e-8
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.details["shift"] == pytest.approx(shift)
    assert found.exact and not objective.least_squares and found.residuals is None
    assert_allclose(found.gradient, differences(objective, x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("lower, upper", [(0.7, 2.3), (-math.inf, 0.2), (0.3, 0.6)])
def test_interval_is_the_probability_of_lying_in_it(antagonist, control, blocked, lower, upper):
    from scipy.stats import norm

    number = CurveNumber("log10 EC50 ratio", blocked, control)
    problem = problem_of(antagonist, [ReportedNumber("shift", number, error=0.1, lower=lower, upper=upper)])
    objective = compile_problem(problem)
    x = problem.parameters.nominal  # log10 shift of about 0.476
    shift = CurveNumbers(problem, {"shift": number})(x)["shift"]
    expected = -math.log(norm.cdf((upper - shift) / 0.1) - norm.cdf((lower - shift) / 0.1))
    found = objective.evaluate(x, derivatives=True)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert objective.evaluate(x).value == pytest.approx(found.value, rel=1e-6)
    assert_allclose(found.gradient, differences(objective, x), rtol=1e-3, atol=1e-3)
    assert np.all(np.linalg.eigvalsh(found.hessian) >= -1e-9)


def test_hinge_that_holds_adds_exactly_nothing(antagonist, control, blocked):
    number = CurveNumber("log10 EC50 ratio", blocked, control)
    measured = [Measurement("y", "dose", LATE, 0.4)]
    plain = compile_problem(problem_of(antagonist, [], measurements=measured))
    held = compile_problem(
        problem_of(antagonist, [Hinge("claim", number, width=0.1, lower=0.3)], measurements=measured)
    )
    x = plain.nominal
    one, other = (objective.evaluate(x, derivatives=True) for objective in (plain, held))
    assert other.value == one.value
    assert_allclose(other.gradient, one.gradient, rtol=0.0, atol=0.0)
    assert held.evaluate(x).value == plain.evaluate(x).value


def test_hinge_that_is_missed_by_two_widths_costs_two(antagonist, control, blocked):
    number = CurveNumber("log10 EC50 ratio", blocked, control)
    free = problem_of(antagonist, [Hinge("claim", number, width=0.1, lower=-9.0)])
    x = free.parameters.nominal
    shift = CurveNumbers(free, {"shift": number})(x)["shift"]
    problem = problem_of(antagonist, [Hinge("claim", number, width=0.1, lower=shift + 0.2)])
    objective = compile_problem(problem)
    found = objective.evaluate(x, derivatives=True)
    assert found.value == pytest.approx(2.0, rel=1e-6)
    assert_allclose(found.gradient, differences(objective, x), rtol=1e-3, atol=1e-3)
    assert objective.terms is not None
    assert objective.terms.contributions(problem.parameters.plain(x)) == {"claim": pytest.approx(2.0, rel=1e-6)}


@pytest.mark.parametrize(
    "relative",
    [
        lambda readout: readout.fold_over({"L": 1.0}),
        lambda readout: readout.percent_of({"B": 0.0}),
        lambda readout: readout.percent_inhibition({"B": 0.0}),
        lambda readout: readout.percent_of_maximum(),
    ],
)
def test_normalised_curve_is_what_kinetics_simulates(antagonist, blocked, relative):
    """With the simulated curve as data the residuals are 0, so the value is that of the normalisation alone."""
    protocol = DoseProtocol("L", GRID[::3], relative(blocked.readout), blocked.schedule)
    responses = kin.dose_response(antagonist, protocol).responses
    rows = tuple(NormalisedPoint(i, float(r)) for i, r in enumerate(responses))
    sigma = Parameter("sigma", 0.01, 10.0, Scale.LOG10, 0.5)
    parameters = [Parameter("k_off", 0.02, 200.0, Scale.LOG10, 2.0), Parameter("R", 0.1, 10.0, Scale.LIN, 1.0), sigma]
    problem = problem_of(antagonist, [NormalisedCurve("curve", protocol, rows, "sigma")], parameters)
    objective = compile_problem(problem)
    x = problem.parameters.nominal
    found = objective.evaluate(x, derivatives=True)
    assert found.value == pytest.approx(len(rows) * math.log(0.5 * math.sqrt(2.0 * math.pi)), abs=1e-6)
    away = x + np.array([0.1, 0.2, -0.05])
    found = objective.evaluate(away, derivatives=True)
    assert found.exact
    assert_allclose(found.gradient, differences(objective, away), rtol=1e-3, atol=1e-2)
    # the receptor number cancels in a ratio
    assert found.gradient[1] == pytest.approx(0.0, abs=1e-4)


def test_terms_enter_the_fingerprint_and_travel(antagonist, control, blocked):
    number = CurveNumber("log10 EC50 ratio", blocked, control)
    made = [problem_of(antagonist, [Hinge("claim", number, 0.1, lower=lower)]) for lower in (0.3, 0.3, 0.4)]
    prints = [compile_problem(problem).fingerprint for problem in made]
    assert prints[0] == prints[1]
    assert prints[0]["terms"] != prints[2]["terms"]
    again = pickle.loads(pickle.dumps(compile_problem(made[0])))
    assert again.fingerprint == prints[0]
    x = made[0].parameters.nominal
    assert again.evaluate(x).value == compile_problem(made[0]).evaluate(x).value


def test_a_curve_that_has_no_number_there_is_data_for_the_search(antagonist):
    """All doses lie far above the EC50: the point fails, the search goes elsewhere."""
    high = DoseProtocol("L", [1e4, 1e5, 1e6, 1e7], kin.Readout.at("C", LATE))
    objective = compile_problem(
        problem_of(antagonist, [ReportedNumber("ec50", CurveNumber("log10 EC50", high), value=0.3, error=0.1)])
    )
    found = objective.evaluate(objective.nominal)
    assert found.failed
    assert "does not cross" in found.failure and "doses that reach further" in found.failure


def test_finite_differences_are_said(antagonist, control):
    problem = problem_of(antagonist, [ReportedNumber("e", CurveNumber("log10 EC50", control), value=0.3, error=0.1)])
    rough = compile_problem(problem, gradients="finite differences")
    x = problem.parameters.nominal + 0.05
    found, exact = rough.evaluate(x, derivatives=True), compile_problem(problem).evaluate(x, derivatives=True)
    assert not found.exact and exact.exact
    assert_allclose(found.gradient, exact.gradient, rtol=1e-3, atol=1e-3)


def test_numbers_that_cannot_be_meant(control, blocked):
    with pytest.raises(UnknownName, match=r"no number of a curve named 'EC50 ratio'; did you mean 'log10 EC50 ratio'"):
        CurveNumber("EC50 ratio", blocked, control)
    with pytest.raises(InputError, match="give the reference"):
        CurveNumber("Emax ratio", blocked)
    with pytest.raises(InputError, match="did you mean a ratio"):
        CurveNumber("Emax", blocked, control)
    with pytest.raises(InputError, match="needs a dose"):
        CurveNumber("response", control)
    with pytest.raises(InputError, match="at least four doses"):
        CurveNumber("log10 EC50", DoseProtocol("L", [1.0, 2.0], kin.Readout.at("C", 1.0)))
    with pytest.raises(InputError, match="peaks, areas and half-times"):
        CurveNumber("Emax", DoseProtocol("L", GRID, kin.Readout.peak("C", 0.0, 5.0)))
    with pytest.raises(InputError, match="drop the normalisation"):
        CurveNumber("Emax", DoseProtocol("L", GRID, kin.Readout.at("C", 1.0).percent_of_maximum()))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"value": 1.0}, "needs error > 0"),
        ({"value": 1.0, "error": -0.1}, "got -0.1"),
        ({"error": 0.1}, "either a finite value or limits, got value nan and limits -inf, inf"),
        ({"error": 0.1, "value": 1.0, "lower": 0.5}, "either a finite value or limits"),
        ({"error": 0.1, "lower": 2.0, "upper": 1.0}, "needs lower < upper, got 2, 1"),
    ],
)
def test_reported_numbers_that_cannot_be_meant(control, arguments, message):
    with pytest.raises(InputError, match=message):
        ReportedNumber("shift", CurveNumber("Emax", control), **arguments)


def test_terms_that_cannot_be_meant(antagonist, control):
    number = CurveNumber("Emax", control)
    with pytest.raises(InputError, match="width > 0"):
        Hinge("h", number, 0.0, lower=1.0)
    with pytest.raises(InputError, match="needs a lower or an upper limit"):
        Hinge("h", number, 1.0)
    with pytest.raises(InputError, match="letters, digits and _, got 'my claim'"):
        Hinge("my claim", number, 1.0, lower=1.0)
    with pytest.raises(InputError, match="term 'h' is there twice"):
        compile_problem(problem_of(antagonist, [Hinge("h", number, 1.0, lower=0.0)] * 2))
    with pytest.raises(InputError, match="a term must be a ReportedNumber"):
        compile_problem(problem_of(antagonist, ["shift"]))
    lost = CurveNumber("Emax", DoseProtocol("Ligand", GRID, kin.Readout.at("C", 1.0)))
    with pytest.raises(UnknownName, match="no species, parameter or compartment named 'Ligand'"):
        compile_problem(problem_of(antagonist, [Hinge("h", lost, 1.0, lower=0.0)]))
    with pytest.raises(InputError, match="is not normalised"):
        NormalisedCurve("c", control, (NormalisedPoint(0, 1.0),), 1.0)
    percent = DoseProtocol("L", [1.0], control.readout.percent_of_maximum())
    with pytest.raises(InputError, match="has 1 doses, got 1"):
        NormalisedCurve("c", percent, (NormalisedPoint(1, 1.0),), 1.0)
    with pytest.raises(UnknownName, match="no parameter named 'sigma'"):
        compile_problem(problem_of(antagonist, [NormalisedCurve("c", percent, (NormalisedPoint(0, 1.0),), "sigma")]))
