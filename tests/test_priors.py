"""Priors against scipy's distributions, their slopes against differences, their samples against themselves."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import scipy.stats as st
from numpy.testing import assert_allclose

from fits.priors import FAMILIES, Prior, arguments_of
from kinetics.errors import InputError

# family, parameters, and the same distribution in scipy's words
ORACLES = [
    ("uniform", (2.0, 8.0), st.uniform(2.0, 6.0)),
    ("normal", (4.0, 2.0), st.norm(4.0, 2.0)),
    ("laplace", (3.0, 5.0), st.laplace(3.0, 5.0)),
    ("cauchy", (3.0, 5.0), st.cauchy(3.0, 5.0)),
    ("chisquare", (4.0,), st.chi2(4.0)),
    ("exponential", (3.0,), st.expon(scale=3.0)),
    ("gamma", (3.0, 5.0), st.gamma(3.0, scale=5.0)),
    ("rayleigh", (3.0,), st.rayleigh(scale=3.0)),
    ("log-normal", (1.0, 2.0), st.lognorm(2.0, scale=math.e)),
    ("log-laplace", (1.0, 0.5), st.loglaplace(2.0, scale=math.e)),
    ("log-uniform", (3.0, 5.0), st.loguniform(3.0, 5.0)),
]
IDS = [row[0] for row in ORACLES]
CUTS = [(-math.inf, math.inf), (3.2, 4.5), (0.5, 40.0), (3.5, math.inf), (-math.inf, 4.0)]


def test_every_family_has_an_oracle():
    assert set(IDS) == set(FAMILIES)


@pytest.mark.parametrize("family, parameters, oracle", ORACLES, ids=IDS)
@pytest.mark.parametrize("lower, upper", CUTS)
def test_density_is_scipys_normalised_between_the_bounds(family, parameters, oracle, lower, upper):
    prior = Prior(family, parameters, lower=lower, upper=upper)
    mass = oracle.cdf(upper) - oracle.cdf(lower)
    values = [value for value in (3.3, 3.6, 3.9) if lower <= value <= upper]
    for value in values:
        # the densities are sums of a few logarithms: an ulp of each
        assert_allclose(prior.log_density(value), oracle.logpdf(value) - math.log(mass), rtol=1e-13, atol=1e-14)
    if math.isfinite(lower):
        assert prior.log_density(lower - 0.1) == -math.inf
    if math.isfinite(upper):
        assert prior.log_density(upper + 0.1) == -math.inf


@pytest.mark.parametrize("family, parameters, oracle", ORACLES, ids=IDS)
def test_density_integrates_to_one_between_the_bounds(family, parameters, oracle):
    prior = Prior(family, parameters, lower=3.1, upper=4.9)
    grid = np.linspace(3.1, 4.9, 4001)
    density = np.exp([prior.log_density(float(x)) for x in grid])
    assert_allclose(np.trapezoid(density, grid), 1.0, rtol=2e-7)  # the rule's error is h^2 = 2e-7


@pytest.mark.parametrize("family, parameters, oracle", ORACLES, ids=IDS)
@pytest.mark.parametrize("value", [3.3, 4.4])
def test_slope_is_the_derivative(family, parameters, oracle, value):
    prior = Prior(family, parameters, lower=3.05, upper=4.95)
    step = 1e-6
    difference = (prior.log_density(value + step) - prior.log_density(value - step)) / (2.0 * step)
    assert_allclose(prior.slope(value), difference, rtol=1e-7, atol=1e-8)  # step^2 and rounding over step


@pytest.mark.parametrize("family, parameters, oracle", ORACLES, ids=IDS)
@pytest.mark.parametrize("lower, upper", CUTS)
def test_samples_follow_the_truncated_distribution(family, parameters, oracle, lower, upper):
    prior = Prior(family, parameters, lower=lower, upper=upper)
    drawn = prior.sample(np.random.default_rng(7), 2000)
    below, mass = oracle.cdf(lower), oracle.cdf(upper) - oracle.cdf(lower)
    assert drawn.shape == (2000,)
    assert np.all((drawn >= lower) & (drawn <= upper))
    found = st.kstest(drawn, lambda x: (oracle.cdf(x) - below) / mass)
    assert found.pvalue > 1e-4  # a fixed seed: it either holds or it does not


@pytest.mark.parametrize("family, parameters, oracle", ORACLES, ids=IDS)
def test_samples_depend_on_the_generator_alone(family, parameters, oracle):
    prior = pickle.loads(pickle.dumps(Prior(family, parameters)))
    one, other = (prior.sample(np.random.default_rng(3), 5) for _ in range(2))
    assert np.array_equal(one, other)


def test_a_prior_cut_off_far_out_in_its_tail_keeps_its_digits():
    """Beyond 10 sigma, 1 - cdf is 0 in doubles; the tail of the normal distribution is known on a log scale."""
    prior = Prior("normal", (0.0, 1.0), lower=10.0, upper=12.0)
    mass = st.norm.sf(10.0) - st.norm.sf(12.0)
    assert_allclose(prior.log_density(10.5), st.norm.logpdf(10.5) - math.log(mass), rtol=1e-12)
    drawn = prior.sample(np.random.default_rng(1), 100)
    assert np.all((drawn >= 10.0) & (drawn <= 12.0)) and len(set(drawn)) == 100
    assert drawn.mean() < 10.3  # nearly all of it lies at the lower end: 1/10 beyond it


@pytest.mark.parametrize("scale, transform", [("log", math.log), ("log10", math.log10)])
def test_a_prior_on_the_parameters_scale_is_the_density_of_the_transformed_value(scale, transform):
    """PEtab 1's parameterScaleNormal: no Jacobian."""
    prior = Prior("normal", (0.5, 0.25), scale=scale)
    assert_allclose(prior.log_density(2.0), st.norm(0.5, 0.25).logpdf(transform(2.0)), rtol=1e-14)
    step = 1e-6
    difference = (prior.log_density(2.0 + step) - prior.log_density(2.0 - step)) / (2.0 * step)
    assert_allclose(prior.slope(2.0), difference, rtol=1e-7)
    drawn = np.array([transform(value) for value in prior.sample(np.random.default_rng(2), 2000)])
    assert st.kstest(drawn, st.norm(0.5, 0.25).cdf).pvalue > 1e-4
    assert prior.log_density(0.0) == prior.log_density(-1.0) == -math.inf


def test_outside_of_the_support_there_is_no_density_and_no_slope():
    for family, parameters, _ in ORACLES:
        prior = Prior(family, parameters)
        if math.isfinite(prior.bounds[0]):
            assert prior.log_density(prior.bounds[0] - 1.0) == -math.inf
            assert prior.slope(prior.bounds[0] - 1.0) == 0.0
        assert prior.log_density(math.nan) == -math.inf


def test_the_edges_of_the_support_belong_to_a_uniform_prior():
    assert Prior("uniform", (2.0, 8.0)).log_density(8.0) == -math.log(6.0)
    assert_allclose(Prior("log-uniform", (3.0, 5.0)).log_density(3.0), -math.log(3.0 * math.log(5.0 / 3.0)), rtol=1e-14)
    assert Prior("log-uniform", (3.0, 5.0)).bounds == (3.0, 5.0)


def test_an_exponential_prior_is_finite_at_zero():
    assert_allclose(Prior("exponential", (3.0,)).log_density(0.0), -math.log(3.0), rtol=1e-14)
    assert Prior("log-normal", (0.0, 1.0)).log_density(0.0) == -math.inf


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("nrmal", (0.0, 1.0)), "did you mean 'normal'"),
        (("normal", (0.0,)), r"takes 2 \(mean; standard deviation\), got 1"),
        (("normal", (0.0, 0.0)), "standard deviation of a normal prior must be positive, got 0"),
        (("normal", (math.nan, 1.0)), "must be finite"),
        (("gamma", (-1.0, 1.0)), "shape"),
        (("uniform", (2.0, 2.0)), "needs lower < upper, got 2; 2"),
        (("log-uniform", (0.0, 2.0)), "needs 0 < lower < upper"),
        (("normal", (0.0, 1.0), "ln"), "lin, log or log10"),
        (("log-normal", (0.0, 1.0), "log10"), "scale must be lin"),
        (("normal", (0.0, 1.0), "lin", 2.0, 1.0), "lower < upper, got 2, 1"),
        (("uniform", (0.0, 1.0), "lin", 2.0, 3.0), "no probability between its bounds 2 and 3"),
        (("gamma", (1.0, 1.0), "lin", -3.0, -2.0), "no probability"),
    ],
)
def test_priors_without_meaning_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        Prior(*arguments)


def test_arguments_are_named():
    assert arguments_of("gamma") == ("shape", "scale")
    with pytest.raises(InputError, match="no prior distribution 'weibull'"):
        arguments_of("weibull")
