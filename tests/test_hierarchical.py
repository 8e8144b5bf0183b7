"""Scales, offsets and noise levels solved inside: the flat problem's optimum, and exact gradients on the way."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from calibrations import CHAIN, INF, TIGHT, agrees, censor, free, load, make, measure, observe
from numpy.testing import assert_allclose
from scipy.optimize import lsq_linear, minimize

from fits.hierarchical import HierarchicalObjective
from fits.priors import Prior
from kinetics.errors import InputError
from kinetics.experiment import Experiment, Period

TIMES = [0.5, 1.0, 2.0, 3.0, 5.0, 8.0]
FALLING = [19.0, 17.0, 13.5, 11.0, 8.5, 6.0]  # about 2 A + 1
RISING = [2.0, 3.0, 7.0, 8.5, 10.0, 12.0]
DATA = [measure(t, y) for t, y in zip(TIMES, FALLING, strict=True)]
BOTH = DATA + [measure(t, y, observable="z") for t, y in zip(TIMES, RISING, strict=True)]
K = 0.2


@pytest.fixture(scope="module")
def chain():
    return load(CHAIN)


def hierarchical(model, parameters, observables, data=None, experiment=None):
    problem = make(model, [free("k", K), *parameters], observables, DATA if data is None else data, experiment)
    return HierarchicalObjective(problem, TIGHT)


def inner_optimum(objective, x):
    """The least value of the flat problem over what is solved for, by a search within the bounds."""
    if not objective.solved:
        return objective.evaluate(x).value
    flat, full = objective.flat, objective.complete(x)
    place = [flat.names.index(name) for name in objective.solved]
    values = flat.parameters.plain(full)
    tables = flat.tables(values)  # what is simulated does not depend on them

    def value(inner):
        moved = full.copy()
        moved[place] = inner
        simulated, sigma = flat.read(tables, flat.parameters.plain(moved))
        return float(np.sum(flat.likelihood.nllh(simulated, sigma)))

    rng = np.random.default_rng(3)
    low, high = flat.lower[place], flat.upper[place]
    best = INF
    for _ in range(2):
        start = np.clip(full[place] + rng.normal(0.0, 0.3, len(place)), low, high)
        best = min(best, minimize(value, start, method="L-BFGS-B", bounds=list(zip(low, high, strict=True))).fun)
    return best


def is_optimal_and_exact(objective, x=(K,), *, solved, step=2e-3):
    """Nothing within the bounds is better, and the gradient is that of the value."""
    assert objective.solved == solved
    found = agrees(objective, np.array(x), step=step)
    # a search from outside ends within 1e-6 of the optimum, where the value is flat
    assert found.value <= inner_optimum(objective, x) + 1e-6
    assert set(found.details) == set(solved)
    full = objective.complete(x)
    assert np.all(full >= objective.flat.lower) and np.all(full <= objective.flat.upper)
    assert_allclose(objective.flat.evaluate(full).value, found.value, rtol=1e-8)
    return found


# --- by hand -------------------------------------------------------------------------------------------------


def test_a_scale_is_a_regression_through_the_origin(chain):
    found = hierarchical(chain, [free("s")], "s*A").evaluate([K])
    model = 10.0 * np.exp(-K * np.array(TIMES))
    assert_allclose(found.details["s"], model @ FALLING / (model @ model), rtol=1e-8)


def test_a_scale_and_an_offset_are_a_regression(chain):
    found = hierarchical(chain, [free("s"), free("b", lower=-10)], "s*A + b").evaluate([K])
    exact = np.polyfit(10.0 * np.exp(-K * np.array(TIMES)), FALLING, 1)
    assert_allclose([found.details["s"], found.details["b"]], exact, rtol=1e-7)


def test_a_normal_noise_level_is_a_root_mean_square(chain):
    found = hierarchical(chain, [free("sd")], [observe("2*A", "sd")]).evaluate([K])
    residuals = 20.0 * np.exp(-K * np.array(TIMES)) - FALLING
    sd = math.sqrt(np.mean(residuals**2))
    assert_allclose(found.details["sd"], sd, rtol=1e-8)
    assert_allclose(found.value, 6.0 * (0.5 * math.log(2.0 * math.pi) + math.log(sd) + 0.5), rtol=1e-9)


def test_a_laplace_noise_level_is_a_mean_deviation(chain):
    found = hierarchical(chain, [free("sd")], [observe("2*A", "sd", distribution="laplace")]).evaluate([K])
    sd = np.mean(np.abs(20.0 * np.exp(-K * np.array(TIMES)) - FALLING))
    assert_allclose(found.details["sd"], sd, rtol=1e-8)
    assert_allclose(found.value, 6.0 * (math.log(2.0 * sd) + 1.0), rtol=1e-9)


@pytest.mark.parametrize("kind, base", [("log-normal", math.e), ("log10-normal", 10.0)])
def test_a_log_normal_scale_is_a_geometric_mean(chain, kind, base):
    found = hierarchical(chain, [free("s"), free("sd")], [observe("s*A", "sd", distribution=kind)]).evaluate([K])
    ratio = np.log(np.array(FALLING) / (10.0 * np.exp(-K * np.array(TIMES))))
    assert_allclose(found.details["s"], np.exp(np.mean(ratio)), rtol=1e-8)
    assert_allclose(found.details["sd"], np.std(ratio) / math.log(base), rtol=1e-7)


def test_known_sigmas_weigh(chain):
    observables = [observe("s*A", "0.5"), observe("s*B", "2", id="z")]
    found = hierarchical(chain, [free("s")], observables, BOTH).evaluate([K])
    a = 10.0 * np.exp(-K * np.array(TIMES))
    model, weight = np.concatenate([a, 11.0 - a]), np.repeat([4.0, 0.25], 6)
    exact = np.sum(weight * model * np.array(FALLING + RISING)) / np.sum(weight * model**2)
    assert_allclose(found.details["s"], exact, rtol=1e-8)


# --- optimal and exact ---------------------------------------------------------------------------------------

NORMAL = [observe("s*A + b", "sd")]


@pytest.mark.parametrize("scale", ["lin", "log", "log10"])
def test_scale_offset_and_noise(chain, scale):
    inner = [free("s", scale=scale), free("b", lower=-10.0, upper=10.0), free("sd", scale=scale)]
    is_optimal_and_exact(hierarchical(chain, inner, NORMAL), solved=("s", "b", "sd"))


@pytest.mark.parametrize("kind", ["log-normal", "log10-normal"])
def test_log_normal_scale_and_noise(chain, kind):
    inner = [free("s", scale="log10"), free("sd", scale="log10")]
    is_optimal_and_exact(hierarchical(chain, inner, [observe("s*A", "sd", distribution=kind)]), solved=("s", "sd"))


def test_several_scales_and_an_offset_share_a_noise_level(chain):
    observables = [observe("s*A", "sd"), observe("r*B + b", "sd", id="z")]
    inner = [free("s"), free("r"), free("b", lower=-5.0, upper=5.0), free("sd")]
    is_optimal_and_exact(hierarchical(chain, inner, observables, BOTH), solved=("s", "r", "b", "sd"))


def test_laplace_levels(chain):
    """The scale is searched: a weighted median would not be smooth."""
    objective = hierarchical(chain, [free("s"), free("sd")], [observe("s*A", "sd", distribution="laplace")])
    found = is_optimal_and_exact(objective, (0.17, 1.9), solved=("sd",), step=1e-5)  # a step that crosses no kink
    assert found.details["sd"] > 0.0


def test_placeholders(chain):
    observable = observe("f*A", "n", observable_placeholders=("f",), noise_placeholders=("n",))
    data = [
        measure(t, y, observable_overrides=("s" if t < 2.5 else "r",), noise_overrides=("sd",))
        for t, y in zip(TIMES, FALLING, strict=True)
    ]
    inner = [free("s"), free("r"), free("sd")]
    is_optimal_and_exact(hierarchical(chain, inner, [observable], data), solved=("s", "r", "sd"))


def test_periods_steady_states_and_initial_values(chain):
    experiment = Experiment([Period(0), Period(1.5, {"A": "A + p"})])
    problem = make(
        chain,
        [free("k", K), free("A", 8.0), free("p", 2.0), free("s"), free("sd")],
        [observe("s*A", "sd")],
        DATA,
        experiment,
    )
    is_optimal_and_exact(HierarchicalObjective(problem, TIGHT), (K, 8.0, 2.0), solved=("s", "sd"))


BOUNDS = {
    "scale above": ({"s": (0.1, 1.5)}, ("s", "sd")),
    "scale below": ({"s": (2.5, 5.0)}, ("s", "sd")),
    "noise level below": ({"s": (0.1, 5.0), "sd": (2.0, 5.0)}, ("s", "sd")),
    "noise level above": ({"s": (0.1, 5.0), "sd": (0.01, 0.3)}, ("s", "sd")),
    "all": ({"s": (0.1, 1.5), "sd": (0.01, 0.3)}, ("s", "sd")),
    "offset": ({"s": (0.1, 5.0), "b": (5.0, 10.0)}, ("s", "b", "sd")),
    "both": ({"s": (0.1, 1.0), "b": (-3.0, 0.5)}, ("s", "b", "sd")),
}


@pytest.mark.parametrize(
    "kind, distribution",
    [(kind, "normal") for kind in BOUNDS]
    + [
        (kind, "log-normal") for kind in BOUNDS if "b" not in BOUNDS[kind][0]
    ],  # an offset is not linear in the logarithm
)
def test_bounds_that_bind(chain, kind, distribution):
    bounds, solved = BOUNDS[kind]
    inner = [free(name, None, *limits) for name, limits in {"sd": (1e-3, 1e3), **bounds}.items()]
    inner.sort(key=lambda parameter: solved.index(parameter.id))
    formula = "s*A + b" if "b" in bounds else "s*A"
    is_optimal_and_exact(hierarchical(chain, inner, [observe(formula, "sd", distribution=distribution)]), solved=solved)


@pytest.mark.parametrize("seed", range(10))
def test_the_bounded_regression_is_the_best_one(chain, seed):
    """In random boxes that hold the optimum or not, against scipy's bounded least squares."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-3.0, 3.0, 3)
    high = low + rng.uniform(0.1, 3.0, 3)
    inner = [free(name, None, *limits) for name, *limits in zip("sbr", low.tolist(), high.tolist(), strict=True)]
    objective = hierarchical(chain, inner, "s*A + b + r*A*B")
    k = float(rng.uniform(0.02, 0.5))
    got = objective.evaluate([k]).details
    a = 10.0 * np.exp(-k * np.array(TIMES))
    design = np.column_stack([a, np.ones(6), a * (11.0 - a)])
    exact = lsq_linear(design, FALLING, (low, high), method="bvls", tol=1e-14)
    cost = 0.5 * np.sum((design @ [got["s"], got["b"], got["r"]] - FALLING) ** 2)
    assert_allclose(cost, exact.cost, rtol=1e-6, atol=1e-10)


def test_the_same_optimum_as_the_flat_problem(chain):
    """Searched from several starts, both end in one place."""
    rng = np.random.default_rng(5)
    noisy = [float(20.0 * np.exp(-0.3 * t) + 1.0 + rng.normal(0.0, 0.4)) for t in TIMES]
    data = [measure(t, y) for t, y in zip(TIMES, noisy, strict=True)]
    inner = [free("s", 1.0, scale="log10"), free("b", 0.5, lower=-5.0, upper=5.0), free("sd", 1.0, scale="log10")]
    problem = make(chain, [free("k", 0.1, scale="log10"), *inner], NORMAL, data)
    objective = HierarchicalObjective(problem)

    def search(target, start):
        def function(x):
            found = target.evaluate(x, derivatives=True)
            return found.value, found.gradient

        bounds = list(zip(target.lower, target.upper, strict=True))
        return minimize(
            function, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-7}
        )

    inside = [search(objective, [start]) for start in (-1.2, -0.4)]
    flat = min((search(objective.flat, [start, 0.3, 0.5, 0.0]) for start in (-0.4,)), key=lambda r: r.fun)
    assert_allclose([one.fun for one in inside], flat.fun, atol=1e-5)
    best = min(inside, key=lambda r: r.fun)
    assert_allclose(objective.complete(best.x), flat.x, atol=3e-3)  # flat to 1e-5 in the value
    assert best.nfev < flat.nfev


def test_the_curvature_is_that_of_the_profile(chain):
    """Where residuals are zero, the Fisher information's Schur complement is the second derivative."""
    data = [measure(t, float(20.0 * np.exp(-0.3 * t) + 1.0)) for t in TIMES]
    objective = hierarchical(chain, [free("s"), free("b", lower=-5.0, upper=5.0)], "s*A + b", data)
    h = 1e-3
    values = [objective.evaluate([0.3 + i * h]).value for i in (-1, 0, 1)]
    second = (values[0] - 2.0 * values[1] + values[2]) / h**2
    assert_allclose(objective.evaluate([0.3], derivatives=True).hessian, [[second]], rtol=1e-3)


# --- what must be searched -----------------------------------------------------------------------------------

CASES = {
    "prior": ([free("s", prior=Prior("normal", (1.0, 0.5))), free("sd")], [observe("s*A", "sd")], DATA, None, ("sd",)),
    "prior of the noise": ([free("sd", prior=Prior("gamma", (2.0, 1.0)))], [observe("A", "sd")], DATA, None, ()),
    "in a dose": ([free("s")], "s*A", DATA, Experiment([Period(0, {"B": "s"})]), ()),
    "in a later dose": ([free("s")], "s*A", DATA, Experiment([Period(0), Period(1, {"B": "s"})]), ()),
    "in the noise": ([free("s")], [observe("s*A", "0.1*s")], DATA, None, ()),
    "noise follows the observable": ([free("s")], [observe("s*A", "0.1*y")], DATA, None, ()),
    "noise is no plain level": ([free("sd")], [observe("A", "sd + 0.1")], DATA, None, ()),
    "noise level in the observable": ([free("sd")], [observe("A + sd", "sd")], DATA, None, ()),
    "of the model": ([free("u", 1.0)], "u*A", DATA, None, ()),
    "squared": ([free("s")], "s^2*A", DATA, None, ()),
    "divided by": ([free("s")], "A/s", DATA, None, ()),
    "product": ([free("s"), free("r")], "s*r*A", DATA, None, ()),
    "censored": ([free("s"), free("sd")], [observe("s*A", "sd")], [*DATA, censor(9.0, upper=5.0)], None, ()),
    "laplace": ([free("s")], [observe("s*A", "0.5", distribution="laplace")], DATA, None, ()),
    "log-normal offset": ([free("s"), free("b")], [observe("s*A + b", distribution="log-normal")], DATA, None, ()),
    "fixed": ([free("s", 2.0, estimate=False)], "s*A", DATA, None, ()),
    "several noise levels": (
        [free("s"), free("sd"), free("se")],
        [observe("s*A", "sd"), observe("s*B", "se", id="z")],
        BOTH,
        None,
        ("sd", "se"),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_what_cannot_be_solved_for_is_searched(chain, kind):
    parameters, observables, data, experiment, solved = CASES[kind]
    objective = hierarchical(chain, parameters, observables, data, experiment)
    start = {"k": 0.17, "s": 1.6, "b": 0.8, "r": 1.1, "u": 1.7, "sd": 0.7, "se": 0.9}
    assert objective.solved == solved
    assert set(objective.names) == {name for name in objective.flat.names if name not in solved}
    x = [start[name] for name in objective.names]
    agrees(objective, x, exact=None, step=1e-5 if kind == "laplace" else 2e-3)
    assert objective.evaluate(x).value == objective.flat.evaluate(objective.complete(x)).value


@pytest.mark.parametrize(
    "first, second", [("normal", "log-normal"), ("log-normal", "normal"), ("log-normal", "log10-normal")]
)
def test_a_scale_shared_by_noise_of_several_kinds(chain, first, second):
    """Solved or not, the value is the least within reach and the gradient its own."""
    observables = [observe("s*A", "sd", distribution=first), observe("s*B", "sd", id="z", distribution=second)]
    objective = hierarchical(chain, [free("s"), free("sd")], observables, BOTH)
    start = {"k": K, "s": 1.6, "sd": 1.2}
    is_optimal_and_exact(objective, [start[name] for name in objective.names], solved=objective.solved)


@pytest.mark.parametrize("first, second", [("normal", "laplace"), ("laplace", "normal"), ("log-normal", "normal")])
def test_a_level_shared_by_noise_of_several_kinds(chain, first, second):
    observables = [observe("A", "sd", distribution=first), observe("B", "sd", id="z", distribution=second)]
    objective = hierarchical(chain, [free("sd")], observables, BOTH)
    start = {"k": 0.17, "sd": 1.2}
    x = [start[name] for name in objective.names]
    is_optimal_and_exact(objective, x, solved=objective.solved, step=1e-5)


# --- the protocol --------------------------------------------------------------------------------------------


def test_it_is_an_objective_of_the_outer_parameters(chain):
    parameters = [free("s", 2.0), free("A", 8.0, scale="log10"), free("sd", 1.0)]
    objective = hierarchical(chain, parameters, [observe("s*A", "sd")])
    assert objective.names == ("k", "A")
    assert objective.solved == ("s", "sd")
    assert_allclose(objective.lower, [1e-3, -3.0])
    assert_allclose(objective.upper, [1e3, 3.0])
    assert_allclose(objective.nominal, [K, math.log10(8.0)])
    assert not objective.least_squares
    assert objective.fingerprint != objective.flat.fingerprint
    found = objective.evaluate([K, 0.9], derivatives=True)
    assert found.gradient.shape == (2,) and found.hessian.shape == (2, 2)
    assert found.residuals is None and found.jacobian is None


def test_history_does_not_matter(chain):
    objective = hierarchical(chain, [free("s"), free("b", lower=-5.0), free("sd")], NORMAL)
    for derivatives in (False, True):
        fresh = objective.evaluate([K], derivatives=derivatives)
        objective.evaluate([0.9], derivatives=True)
        assert objective.evaluate([1e6], derivatives=derivatives).value != fresh.value
        copy = pickle.loads(pickle.dumps(objective))
        for again in (objective.evaluate([K], derivatives=derivatives), copy.evaluate([K], derivatives=derivatives)):
            assert again.value == fresh.value and dict(again.details) == dict(fresh.details)
            assert derivatives is False or again.gradient.tobytes() == fresh.gradient.tobytes()


@pytest.mark.parametrize("derivatives", [False, True])
def test_failures_are_data(derivatives):
    model = load("model boom() compartment c=1; species A in c; -> A; c*k*A^2; A=1; k=0.1; end")
    objective = hierarchical(model, [free("s"), free("sd")], [observe("s*A", "sd")])
    found = objective.evaluate([0.5], derivatives=derivatives)
    assert found.value == INF and "'boom'" in found.failure


@pytest.mark.parametrize("derivatives", [False, True])
def test_a_log_normal_scale_of_nothing(chain, derivatives):
    """A model value of 0 has no logarithm, so no scale helps."""
    objective = hierarchical(chain, [free("s")], [observe("s*(A - A)", distribution="log-normal")])
    found = objective.evaluate([K] if objective.solved else [K, 1.0], derivatives=derivatives)
    assert found.value == INF


def test_a_perfect_fit_stops_at_the_lower_bound_of_the_noise(chain):
    data = [measure(t, float(20.0 * np.exp(-K * t))) for t in TIMES]
    found = hierarchical(chain, [free("s"), free("sd", lower=0.01)], [observe("s*A", "sd")], data).evaluate([K])
    assert found.details["sd"] == 0.01
    assert_allclose(found.details["s"], 2.0, rtol=1e-8)


def test_nothing_left_to_search(chain):
    problem = make(chain, [free("s"), free("sd")], [observe("s*A", "sd")], DATA)
    with pytest.raises(InputError, match="nothing to search"):
        HierarchicalObjective(problem)
