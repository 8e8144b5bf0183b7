"""The objective against closed forms, against itself, and against what must not matter: history and sharing."""

from __future__ import annotations

import math
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.stats as st
from calibrations import CHAIN, INF, TIGHT, agrees, censor, free, load, make, measure, observe
from numpy.testing import assert_allclose

from fits.objective import compile_problem
from fits.priors import Prior
from kinetics import Model
from kinetics.errors import InputError
from kinetics.experiment import Experiment, Period, added

TIMES = np.array([0.5, 1.0, 3.0, 7.0])
DATA = np.array([9.0, 8.5, 5.0, 2.0])


@pytest.fixture(scope="module")
def chain():
    return load(CHAIN)


def rows(*, times=TIMES, data=DATA, **options):
    return [measure(t, y, **options) for t, y in zip(times.tolist(), data.tolist(), strict=True)]


def bits(found):
    parts = (found.gradient, found.residuals, found.jacobian, found.hessian)
    return (found.value, found.failure, *(None if part is None else part.tobytes() for part in parts))


# --- closed forms --------------------------------------------------------------------------------------------


def closed_form(k, a, sigma):
    """nllh of y = a exp(-k t) and its derivatives by k, a and sigma."""
    model = a * np.exp(-k * TIMES)
    r = (model - DATA) / sigma
    value = np.sum(0.5 * r**2 + np.log(sigma * math.sqrt(2.0 * math.pi)))
    by_model = r / sigma
    return value, [by_model @ (-TIMES * model), by_model @ (model / a), np.sum((1.0 - r**2) / sigma)]


@pytest.mark.parametrize("scale", ["lin", "log", "log10"])
def test_an_exponential_decay(chain, scale):
    """A is a species (its initial value), k a rate constant, sd only in the noise."""
    point = {"k": 0.23, "A": 8.5, "sd": 0.7}
    problem = make(chain, [free(n, v, scale=scale) for n, v in point.items()], [observe("A", "sd")], rows())
    objective = compile_problem(problem, TIGHT)
    found = objective.evaluate(objective.nominal, derivatives=True)
    value, slopes = closed_form(**{"k": 0.23, "a": 8.5, "sigma": 0.7})
    slopes = np.array(slopes) * objective.parameters.slopes(point)
    assert_allclose(found.value, value, rtol=1e-9)
    assert_allclose(found.gradient, slopes, rtol=2e-6)
    assert found.exact
    assert_allclose(objective.nllh(point), value, rtol=1e-9)
    residuals = (8.5 * np.exp(-0.23 * TIMES) - DATA) / 0.7
    assert_allclose(objective.chi2(point), np.sum(residuals**2), rtol=1e-9)
    assert_allclose(objective.simulate(point), 8.5 * np.exp(-0.23 * TIMES), rtol=1e-9)


def test_noise_kinds_through_the_whole_objective(chain):
    for kind, oracle in (
        ("laplace", lambda s: st.laplace(s, 0.3).logpdf(DATA)),
        ("log-normal", lambda s: st.lognorm(0.3, scale=s).logpdf(DATA)),
        ("log10-normal", lambda s: st.lognorm(0.3 * math.log(10.0), scale=s).logpdf(DATA)),
    ):
        found = compile_problem(make(chain, [free("k")], [observe("A", "0.3", distribution=kind)], rows()), TIGHT)
        exact = -np.sum(oracle(10.0 * np.exp(-0.2 * TIMES)))
        assert_allclose(found.evaluate([0.2]).value, exact, rtol=1e-9)
        assert not found.least_squares


def test_censored_rows_count_their_probability(chain):
    objective = compile_problem(
        make(chain, [free("k")], [observe("A", "0.5")], [censor(3.0, 4.0, 6.0), censor(7.0, upper=2.0)])
    )
    one, two = st.norm(10.0 * math.exp(-0.6), 0.5), st.norm(10.0 * math.exp(-1.4), 0.5)
    exact = -math.log(one.cdf(6.0) - one.cdf(4.0)) - two.logcdf(2.0)
    assert_allclose(objective.evaluate([0.2]).value, exact, rtol=1e-7)


def test_priors_are_subtracted(chain):
    prior = Prior("log-normal", (-1.0, 0.5))
    plain = compile_problem(make(chain, [free("k", scale="log10")], "A", rows()))
    with_prior = compile_problem(make(chain, [free("k", scale="log10", prior=prior)], "A", rows()))
    x = [-0.6]
    exact = plain.evaluate(x).value - st.lognorm(0.5, scale=math.exp(-1.0)).logpdf(10.0**-0.6)
    assert_allclose(with_prior.evaluate(x).value, exact, rtol=1e-12)
    assert_allclose(with_prior.evaluate(x, derivatives=True).value, exact, rtol=1e-7)
    assert not with_prior.least_squares


def test_a_point_outside_its_prior_has_no_finite_value(chain):
    prior = Prior("uniform", (0.1, 0.3))
    objective = compile_problem(make(chain, [free("k", prior=prior)], "A", rows()))
    assert objective.evaluate([0.5]).value == INF


def test_draws_from_the_prior_stay_within_the_bounds(chain):
    parameters = [
        free("k", lower=0.1, upper=0.3, scale="log10", prior=Prior("normal", (0.2, 0.2))),
        free("A", lower=1.0, upper=2.0),
    ]
    objective = compile_problem(make(chain, parameters, "A", rows()))
    draws = np.array([objective.sample_prior(np.random.default_rng(seed)) for seed in range(200)])
    assert np.all(draws >= objective.lower) and np.all(draws <= objective.upper)
    assert np.ptp(draws[:, 0]) > 0.3 and np.ptp(draws[:, 1]) > 0.8  # not stuck at a bound
    assert compile_problem(make(chain, [free("k")], "A", rows())).sample_prior(np.random.default_rng(0)) is None


# --- simulations -----------------------------------------------------------------------------------------------


def test_an_added_dose_is_added_to_the_state_and_not_to_the_initial_value(chain):
    """A parameter may share its name with a species: in a condition, the name means the species."""
    problem = make(chain, [free("k"), free("A")], "A", rows(), Experiment([Period(0), Period(2, {"A": added(3)})]))
    got = compile_problem(problem, TIGHT).simulate({"k": 0.2, "A": 8.0})
    before = 8.0 * np.exp(-0.2 * TIMES)
    exact = np.where(TIMES < 2.0, before, before + 3.0 * np.exp(-0.2 * (TIMES - 2.0)))
    assert_allclose(got, exact, rtol=1e-9)


def test_a_condition_reads_the_present_value_of_a_parameter(chain):
    experiment = Experiment([Period(0, {"k": 0.3}), Period(2, {"A": "10*k"})])
    got = compile_problem(make(chain, [free("k")], "A", rows(), experiment), TIGHT).simulate({"k": 0.2})
    exact = np.where(TIMES < 2.0, 10.0 * np.exp(-0.3 * TIMES), 3.0 * np.exp(-0.3 * (TIMES - 2.0)))
    assert_allclose(got, exact, rtol=1e-9)


def test_initial_assignments_follow_a_condition_that_sets_what_they_need():
    model = load("model m() compartment c=1; species A in c; A -> ; c*k*A; A=3*q; k=0.2; q=1.5; end")
    problem = make(model, [free("q"), free("p")], "A", [measure(0.0, 1.0)], Experiment([Period(0, {"q": "p"})]))
    assert_allclose(compile_problem(problem).simulate({"q": 1.0, "p": 7.0}), [21.0], rtol=1e-12)


def test_an_estimated_initial_concentration_stays_when_a_condition_sets_the_volume(chain):
    """As the concentration of the model itself does."""
    experiment = Experiment([Period(0, {"c": 5.0})])
    for parameters, values in (([free("k")], {"k": 0.2}), ([free("k"), free("A")], {"k": 0.2, "A": 10.0})):
        got = compile_problem(make(chain, parameters, "A", [measure(0.0, 1.0)], experiment)).simulate(values)
        assert_allclose(got, [10.0], rtol=1e-12)


def test_models_and_their_variants(chain):
    """Each row is read from its own model; a parameter that both share has one value."""
    models = {"a": chain, "b": chain.with_values(A=5.0, u=2.0)}
    data = [measure(1.0, 9.0, model="a"), measure(2.0, 6.0, model="b")]
    objective = compile_problem(make(models, [free("k"), free("s")], "s*u*A", data), TIGHT)
    got = objective.simulate({"k": 0.3, "s": 1.2})
    assert_allclose(got, [12.0 * math.exp(-0.3), 12.0 * math.exp(-0.6)], rtol=1e-9)


def test_a_bundled_variant():
    model = Model.load("il7_stat5_imatinib")
    problem = make(model.variant("naive_CD4"), [free("zz")], "zz*IL7R_number", [measure(0.0, 1.0)])
    expected = model.variants["naive_CD4"]["IL7R_number"]
    assert expected != model.description.entities["IL7R_number"].value
    assert_allclose(compile_problem(problem).simulate({"zz": 2.0}), [2.0 * expected], rtol=1e-12)


def test_fixed_parameters_reach_the_model(chain):
    problem = make(chain, [free("k"), free("A", 4.0, estimate=False), free("s", 3.0, estimate=False)], "s*A", rows())
    objective = compile_problem(problem, TIGHT)
    assert objective.names == ("k",)
    assert_allclose(objective.simulate({"k": 0.3}), 12.0 * np.exp(-0.3 * TIMES), rtol=1e-9)
    assert_allclose(objective.simulate({"k": 0.3, "s": 1.0}), 4.0 * np.exp(-0.3 * TIMES), rtol=1e-9)


def test_placeholders(chain):
    observable = observe("o*A", "n", observable_placeholders=("o",), noise_placeholders=("n",))
    data = [
        measure(1.0, 9.0, observable_overrides=("s",), noise_overrides=(0.5,)),
        measure(1.0, 9.0, observable_overrides=(2.0,), noise_overrides=("sd",)),
    ]
    objective = compile_problem(make(chain, [free("s"), free("sd")], [observable], data), TIGHT)
    simulated, sigma = objective.run({"s": 1.5, "sd": 0.25})
    assert_allclose(simulated, np.array([1.5, 2.0]) * 10.0 * math.exp(-0.1), rtol=1e-9)
    assert_allclose(sigma, [0.5, 0.25])


def test_times_that_differ_from_a_period_by_rounding(chain):
    """0.1 + 0.2 is 0.3 here: what is measured then is measured after the change."""
    for start, time in ((0.1 + 0.2, 0.3), (0.3, 0.1 + 0.2)):
        for first in ([Period(0)], []):
            experiment = Experiment([*first, Period(start, {"A": "p"})])
            objective = compile_problem(
                make(chain, [free("p")], "A", [measure(time, 1.0), measure(4.0, 1.0)], experiment)
            )
            exact = 0.5 * 6.0**2 + 0.5 * (7.0 * math.exp(-0.37) - 1.0) ** 2 + math.log(2.0 * math.pi)
            assert_allclose(objective.evaluate([7.0]).value, exact, rtol=1e-7)
            assert_allclose(objective.evaluate([7.0], derivatives=True).value, exact, rtol=1e-7)


# --- least squares -------------------------------------------------------------------------------------------


def test_residuals_and_jacobian_are_those_of_the_value(chain):
    data = rows() + rows(observable="z")
    problem = make(chain, [free("k"), free("A", scale="log10")], [observe("A", "0.5"), observe("B", "2", id="z")], data)
    objective = compile_problem(problem, TIGHT)
    assert objective.least_squares
    constants = []
    for x in ([0.2, 1.0], [0.4, 0.8], [0.1, 1.2]):
        found = objective.evaluate(x, derivatives=True)
        constants.append(found.value - 0.5 * np.sum(found.residuals**2))
        assert_allclose(found.gradient, found.jacobian.T @ found.residuals, rtol=1e-10)
        assert_allclose(found.hessian, found.jacobian.T @ found.jacobian, rtol=1e-10)
        assert_allclose(objective.evaluate(x).residuals, found.residuals, rtol=1e-7, atol=1e-8)
    exact = 4.0 * (math.log(0.5) + math.log(2.0)) + 4.0 * math.log(2.0 * math.pi)
    assert_allclose(constants, exact, rtol=1e-10)


def test_the_hessian_at_fixed_sigma_is_the_fisher_information(chain):
    """J^T J / sigma^2 with J of the closed form."""
    found = compile_problem(make(chain, [free("k"), free("A")], [observe("A", "0.5")], rows()), TIGHT).evaluate(
        [0.3, 8.0], derivatives=True
    )
    left = np.exp(-0.3 * TIMES)
    jacobian = np.column_stack([-TIMES * 8.0 * left, left])
    assert_allclose(found.hessian, jacobian.T @ jacobian / 0.25, rtol=1e-5)


def test_the_fisher_information_of_an_estimated_sigma(chain):
    """2 n / sigma^2 about a normal sigma, 2 n on a logarithmic scale; nothing links it to the model's parameters."""
    problem = make(chain, [free("k"), free("sd", scale="log")], [observe("A", "sd")], rows())
    found = compile_problem(problem).evaluate([0.3, math.log(0.4)], derivatives=True)
    assert found.residuals is None and found.jacobian is None
    assert_allclose(found.hessian[1, 1], 8.0, rtol=1e-10)
    assert_allclose(found.hessian[0, 1], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    "observable",
    [
        observe("A", "sd"),
        observe("A", "0.1*A"),
        observe("A", "0.1*y"),
        observe("A", "1", distribution="laplace"),
        observe("A", "1", distribution="log-normal"),
    ],
)
def test_what_is_no_sum_of_squares(chain, observable):
    objective = compile_problem(make(chain, [free("k", 0.2), free("sd", 0.3)], [observable], rows()))
    assert not objective.least_squares
    found = objective.evaluate(objective.nominal, derivatives=True)
    assert found.residuals is None and found.jacobian is None


# --- history and sharing -------------------------------------------------------------------------------------


def stepped(model, last="p"):
    """Several experiments with a common beginning, some read within it and some not."""

    def experiment(dose):
        return Experiment(
            [Period(-INF, {"k": "q"}), Period(0, {"A": 10.0, "k": 0.1}), Period(3, {"A": last}), Period(6, {"A": dose})]
        )

    experiments = {name: experiment(dose) for name, dose in (("e", 1.0), ("f", 2.0), ("g", 3.0), ("h", 1.0))}
    data = [
        measure(8.0, 3.0, "e"),
        measure(1.0, 9.0, "f"),
        measure(9.0, 2.0, "f"),
        measure(4.0, 9.0, "g"),
        measure(8.0, 2.0, "g"),
        measure(1.0, 9.0, "h"),
        measure(2.0, 9.0, "h"),
        measure(INF, 9.0, "h"),
    ]
    parameters = [free("u", 0.8), free("p", 2.0), free("q", 0.3)]
    return make(model, parameters, "u*(A+B)", data, experiments)


def test_trials_that_share_a_beginning_equal_trials_on_their_own(chain):
    """To the last bit; and what is read within the shared stretch is read for each trial."""
    problem = stepped(chain)
    objective = compile_problem(problem)
    values = {"u": 0.8, "p": 2.0, "q": 0.3}
    together = objective.simulate(values)
    for index, row in enumerate(problem.measurements):
        own = [r for r in problem.measurements if r.experiment == row.experiment]
        alone = compile_problem(make(chain, problem.parameters, "u*(A+B)", own, problem.experiments)).simulate(values)
        assert together[index] == alone[own.index(row)], row
    found = objective.evaluate(objective.nominal, derivatives=True)
    assert_allclose(found.value, objective.evaluate(objective.nominal).value, rtol=1e-7)
    agrees(compile_problem(problem, TIGHT))


@pytest.mark.parametrize("first_rows", [[8.0], [1.0, 8.0], [4.0, 8.0], [1.0, 4.0, 8.0]])
@pytest.mark.parametrize("second_rows", [[9.0], [2.0, 9.0], [5.0, 9.0], [2.0, 5.0, 9.0]])
def test_derivatives_of_trials_that_share_a_beginning(chain, first_rows, second_rows):
    def experiment(dose):
        return Experiment([Period(0), Period(3, {"A": "p"}), Period(6, {"A": dose})])

    data = [measure(t, 3.0, "e") for t in first_rows] + [measure(t, 4.0, "f") for t in second_rows]
    problem = make(chain, [free("k", 0.2), free("p", 2.0)], "A", data, {"e": experiment(1.0), "f": experiment(2.0)})
    objective = compile_problem(problem)
    plain, found = objective.evaluate([0.2, 2.0]), objective.evaluate([0.2, 2.0], derivatives=True)
    assert_allclose(found.value, plain.value, rtol=1e-7)
    parts = [
        compile_problem(make(chain, problem.parameters, "A", data[s], problem.experiments)).evaluate(
            [0.2, 2.0], derivatives=True
        )
        for s in (slice(0, len(first_rows)), slice(len(first_rows), None))
    ]
    assert_allclose(found.gradient, parts[0].gradient + parts[1].gradient, rtol=1e-6, atol=1e-7)


def various(model):
    """Problems of every kind of evaluation: shared periods, events, several models, an integrator that gives up."""
    exploding = load("model boom() compartment c=1; species A in c; -> A; c*k*A^2; A=1; k=0.1; end")
    jumping = load("model jumpy() compartment c=2; species A in c; A -> ; c*k*A; A=10; k=0.1; at (A<5): A=A+3; end")
    course = load(
        "model m() compartment c=1; species A in c, E in c; A -> ; c*k*A*E; E -> ; c*d*E; A=10; E=1; k=1; d=1; end"
    )
    late = [measure(1.0, 8.0), measure(INF, 3.0)]
    two = make(
        {"a": model, "b": model.with_values(A=5.0)},
        [free("k", 0.2), free("s", 1.5, scale="log10")],
        [observe("s*A", "0.1+0.1*A")],
        [measure(1.0, 9.0, model="a"), measure(2.0, 6.0, model="b")],
    )
    return {
        "shared": (stepped(model), [0.8, 2.0, 0.3], [1.8, 1.0, 0.1], None),
        "exploding": (make(exploding, [free("k", 0.1)], "A", rows()), [0.1], [0.05], [0.5]),
        "jumping": (make(jumping, [free("k", 0.2)], "A", rows()), [0.2], [0.7], None),
        "two models": (two, [0.2, 0.1], [0.4, 0.2], [0.2, 1e3]),
        "no implicit slope": (make(course, [free("k", 0.3), free("d", 0.5)], "A", late), [0.3, 0.5], [0.1, 0.9], None),
    }


@pytest.mark.parametrize("kind", ["shared", "exploding", "jumping", "two models", "no implicit slope"])
@pytest.mark.parametrize("derivatives", [False, True])
def test_an_evaluation_depends_on_its_point_alone(chain, kind, derivatives):
    problem, here, there, failing = various(chain)[kind]
    objective = compile_problem(problem)
    fresh = bits(objective.evaluate(here, derivatives=derivatives))
    assert math.isfinite(fresh[0])
    for between in (there, failing):
        if between is not None:
            for flag in (True, False):
                assert objective.evaluate(between, derivatives=flag).failed is (between is failing)
        assert bits(objective.evaluate(here, derivatives=derivatives)) == fresh
    copy = pickle.loads(pickle.dumps(objective))
    copy.evaluate(there, derivatives=not derivatives)
    assert bits(copy.evaluate(here, derivatives=derivatives)) == fresh
    other = compile_problem(problem)  # the same engine, used in turns
    other.evaluate(there, derivatives=True)
    assert bits(other.evaluate(here, derivatives=derivatives)) == fresh
    assert bits(objective.evaluate(here, derivatives=derivatives)) == fresh


def test_threads_that_share_an_objective(chain):
    """Any executor will do, so one of threads as well."""
    objective = compile_problem(stepped(chain))
    points = [[0.8, p, 0.3] for p in (1.0, 2.0, 3.0, 4.0)]

    def work(index):
        return bits(objective.evaluate(points[index % 4], derivatives=index % 8 < 4))

    alone = [work(index) for index in range(8)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(work, [index * 5 % 8 for index in range(48)]))
    assert together == [alone[index * 5 % 8] for index in range(48)]


def test_fingerprints_tell_problems_apart(chain):
    base = make(chain, [free("k", 0.2)], "A", rows())
    prints = [
        compile_problem(problem, solver).fingerprint
        for problem, solver in (
            (base, None),
            (make(chain, [free("k", 0.3)], "A", rows()), None),
            (make(chain, [free("k", 0.2)], "2*A", rows()), None),
            (make(chain, [free("k", 0.2)], "A", rows(data=DATA + 1.0)), None),
            (make(chain.with_values(A=9.0), [free("k", 0.2)], "A", rows()), None),
            (make(chain, [free("k", 0.2)], "A", rows(), Experiment([Period(0, {"A": 3})])), None),
            (base, TIGHT),
        )
    ]
    assert compile_problem(pickle.loads(pickle.dumps(base))).fingerprint == prints[0]
    changed = [{key for key in prints[0] if one[key] != prints[0][key]} for one in prints[1:]]
    assert changed == [{"parameters"}, {"observables"}, {"measurements"}, {"model"}, {"experiments"}, {"solver"}]


# --- failures are data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("derivatives", [False, True])
def test_a_simulation_that_blows_up(derivatives):
    """A' = k A^2 ends at t = 1/(k A(0))."""
    model = load("model boom() compartment c=1; species A in c; -> A; c*k*A^2; A=1; k=0.1; end")
    objective = compile_problem(make(model, [free("k", 0.1)], "A", rows()))
    found = objective.evaluate([0.5], derivatives=derivatives)
    assert found.failed and found.value == INF
    assert "IntegrationFailed" in found.failure and "'boom'" in found.failure and "'e'" in found.failure
    assert_allclose(objective.simulate({"k": 0.1}), 1.0 / (1.0 - 0.1 * TIMES), rtol=5e-6)  # errors grow as A^2


@pytest.mark.parametrize("derivatives", [False, True])
@pytest.mark.parametrize(
    "observable, words",
    [
        (observe("A", "k-1"), r"sigma of observable 'y' must be positive.*got -0.7 in experiment 'e' at time 0.5"),
        (observe("A", "0*k"), r"sigma of observable 'y' must be positive.*got 0"),
        (observe("log(k-1)*A"), r"'y' is not finite in experiment 'e' at time 0.5"),
        (observe("A/(k-k)"), r"'y' is not finite"),
    ],
)
def test_noise_and_observables_without_meaning(chain, derivatives, observable, words):
    objective = compile_problem(make(chain, [free("k", 1.5)], [observable], rows()))
    found = objective.evaluate([0.3], derivatives=derivatives)
    assert found.value == INF
    assert re.search(words, found.failure), found.failure


@pytest.mark.parametrize("derivatives", [False, True])
def test_a_model_value_without_a_logarithm(chain, derivatives):
    """What log-normal noise gives no probability is a failure, in words, and no NaN."""
    observable = observe("A - 100*k", "0.3", distribution="log-normal")
    found = compile_problem(make(chain, [free("k", 0.01)], [observable], rows())).evaluate(
        [0.5], derivatives=derivatives
    )
    assert found.value == INF
    assert "'y'" in found.failure and "positive" in found.failure
    assert found.gradient is None


@pytest.mark.parametrize("derivatives", [False, True])
@pytest.mark.parametrize("x", [math.nan, INF, 1e3])
def test_points_that_are_no_numbers(chain, x, derivatives):
    found = compile_problem(make(chain, [free("k", 0.2, scale="log10")], "A", rows())).evaluate(
        [x], derivatives=derivatives
    )
    assert found.value == INF and "'k'" in found.failure


def test_a_negative_initial_concentration(chain):
    objective = compile_problem(make(chain, [free("A", lower=-5.0)], "A", rows()))
    assert "must not be negative, got -1" in objective.evaluate([-1.0]).failure


def test_a_vector_of_the_wrong_length_is_a_mistake_and_no_data(chain):
    with pytest.raises(InputError, match="expected 1 values"):
        compile_problem(make(chain, [free("k")], "A", rows())).evaluate([0.1, 0.2])


def test_a_problem_that_must_fail_says_so_when_simulated(chain):
    objective = compile_problem(make(chain, [free("k")], [observe("A", "k-1")], rows()))
    with pytest.raises(InputError, match="sigma"):
        objective.nllh({"k": 0.5})
