"""Noise models against scipy's distributions, far tails against asymptotic series, slopes against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats as st
from numpy.testing import assert_allclose

from fits.noise import Likelihood
from fits.problem import Distribution, Measurement, Observable
from kinetics.errors import InputError

EXACT = 1e-12  # a few logarithms, and a division
LN10 = math.log(10.0)


def likelihood(distribution, values=(), limits=()):
    observable = Observable("y", "A", "1", Distribution(distribution))
    rows = [Measurement("y", "e", 1.0, value) for value in values]
    rows += [Measurement("y", "e", 1.0, math.nan, lower=low, upper=high) for low, high in limits]
    return Likelihood.of(rows, [observable] * len(rows))


def arrays(*numbers):
    return [np.atleast_1d(np.asarray(number, dtype=float)) for number in numbers]


def density(distribution, simulated, sigma):
    """The distribution of a measurement in scipy's words."""
    if distribution == "normal":
        return st.norm(simulated, sigma)
    if distribution == "laplace":
        return st.laplace(simulated, sigma)
    if distribution == "log-normal":
        return st.lognorm(sigma, scale=simulated)
    if distribution == "log-laplace":
        return st.loglaplace(1.0 / sigma, scale=simulated)
    if distribution == "log10-normal":  # sigma is in decades
        return st.lognorm(sigma * LN10, scale=simulated)
    return st.loglaplace(1.0 / (sigma * LN10), scale=simulated)


ALL = [item.value for item in Distribution]


@pytest.mark.parametrize("distribution", ALL)
@pytest.mark.parametrize(
    "value, simulated, sigma", [(2.0, 3.0, 0.5), (3.0, 2.0, 0.1), (1e-7, 3e-7, 2.0), (5e8, 5e8, 3)]
)
def test_densities_are_scipys(distribution, value, simulated, sigma):
    got = likelihood(distribution, [value]).nllh(*arrays(simulated, sigma))
    assert_allclose(got, -density(distribution, simulated, sigma).logpdf(value), rtol=EXACT)


def test_normal_by_hand():
    got = likelihood("normal", [2.0]).nllh(*arrays(3.0, 0.5))
    assert_allclose(got, [0.5 * math.log(2.0 * math.pi * 0.25) + 2.0], rtol=EXACT)


def test_laplace_by_hand():
    got = likelihood("laplace", [2.0]).nllh(*arrays(3.0, 0.5))
    assert_allclose(got, [math.log(1.0) + 2.0], rtol=EXACT)


def test_log_normal_counts_the_jacobian():
    """ln 2 is normal around ln 2e, one unit away; d(ln m)/dm = 1/2 adds ln 2."""
    got = likelihood("log-normal", [2.0]).nllh(*arrays(2.0 * math.e, 1.0))
    assert_allclose(got, [0.5 * math.log(2.0 * math.pi) + 0.5 + math.log(2.0)], rtol=EXACT)


def test_log10_normal_counts_the_jacobian():
    """log10 of 2 and 20 differ by 1; the Jacobian is 1/(2 ln 10)."""
    got = likelihood("log10-normal", [2.0]).nllh(*arrays(20.0, 1.0))
    assert_allclose(got, [0.5 * math.log(2.0 * math.pi) + 0.5 + math.log(2.0 * LN10)], rtol=EXACT)


def test_log10_laplace_by_hand():
    got = likelihood("log10-laplace", [2.0]).nllh(*arrays(20.0, 0.25))
    assert_allclose(got, [math.log(0.5) + 4.0 + math.log(2.0 * LN10)], rtol=EXACT)


def test_densities_integrate_to_one():
    grid = np.exp(np.linspace(-12.0, 12.0, 20001))
    for distribution in ("log-normal", "log-laplace", "log10-normal", "log10-laplace"):
        chosen = likelihood(distribution, grid)
        values = np.exp(-chosen.nllh(np.full_like(grid, 1.3), np.full_like(grid, 0.2)))
        # the trapezoid rule over a kink, on a grid of 1.2e-3 in ln
        assert_allclose(np.trapezoid(values * grid, np.log(grid)), 1.0, rtol=1e-4)


def test_rows_of_several_kinds_do_not_mix():
    observables = [Observable(f"y{i}", "A", "1", Distribution(kind)) for i, kind in enumerate(ALL)]
    rows = [Measurement(o.id, "e", 1.0, 2.0 + 0.1 * i) for i, o in enumerate(observables)]
    together = Likelihood.of(rows, observables)
    simulated, sigma = np.linspace(1.0, 3.0, len(ALL)), np.linspace(0.2, 0.9, len(ALL))
    alone = [
        Likelihood.of([row], [o]).derivatives(*arrays(s, g))
        for row, o, s, g in zip(rows, observables, simulated, sigma, strict=True)
    ]
    for part, each in zip(together.derivatives(simulated, sigma), zip(*alone, strict=True), strict=True):
        assert np.array_equal(part, np.concatenate(each))


# --- residuals -----------------------------------------------------------------------------------------------


def test_residuals_are_on_the_scale_of_the_noise():
    for distribution, exact in (("normal", 18.0 / 0.5), ("log-normal", LN10 / 0.5), ("log10-laplace", 1.0 / 0.5)):
        assert_allclose(likelihood(distribution, [2.0]).residuals(*arrays(20.0, 0.5)), [exact], rtol=EXACT)


def test_residuals_of_censored_data_are_distances_to_the_nearer_limit():
    chosen = likelihood("normal", limits=[(1.0, 2.0), (1.0, 2.0), (1.0, 2.0), (-math.inf, 2.0), (1.0, math.inf)])
    got = chosen.residuals(np.array([0.5, 1.5, 3.0, 5.0, 5.0]), np.full(5, 0.5))
    assert_allclose(got, [-1.0, 0.0, 2.0, 6.0, 0.0], rtol=EXACT)


def test_only_plain_normal_rows_are_simple():
    assert likelihood("normal", [1.0, 2.0]).simple
    assert not likelihood("normal", [1.0], [(0.0, 2.0)]).simple
    assert not any(likelihood(kind, [1.0]).simple for kind in ALL if kind != "normal")


# --- censored ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ALL)
@pytest.mark.parametrize("low, high", [(1.0, 2.0), (-math.inf, 2.0), (1.5, math.inf), (3.0, 3.1), (0.2, 9.0)])
@pytest.mark.parametrize("simulated", [0.7, 1.6, 4.0])
def test_censored_data_count_the_probability_of_their_interval(distribution, low, high, simulated):
    sigma = 0.4
    chosen = density(distribution, simulated, sigma)
    outside = chosen.cdf(low) + chosen.sf(high)
    if outside < 0.5:  # scipy keeps the digits of the smaller tail
        exact = -math.log1p(-outside)
    elif chosen.cdf(low) > 0.5:
        exact = -math.log(chosen.sf(low) - chosen.sf(high))
    else:
        exact = -math.log(chosen.cdf(high) - chosen.cdf(low))
    got = likelihood(distribution, limits=[(low, high)]).nllh(*arrays(simulated, sigma))
    assert_allclose(got, [exact], rtol=1e-9, atol=2e-16)  # the difference loses digits


@pytest.mark.parametrize("z", [5.0, 20.0, 40.0, 1e3, 1e6])
def test_normal_tails_follow_the_asymptotic_series(z):
    """Q(z) = exp(-z^2/2) / (z sqrt(2 pi)) (1 - 1/z^2 + 3/z^4 - ...)."""
    series = 1.0 - 1.0 / z**2 + 3.0 / z**4 - 15.0 / z**6 + 105.0 / z**8 - 945.0 / z**10
    exact = 0.5 * z * z + math.log(z * math.sqrt(2.0 * math.pi)) - math.log(series)
    error = 1e4 / z**12 + 3e-16 * z * z + 1e-12  # the first term left out, and z^2/2 - log P cancels
    above = likelihood("normal", limits=[(z, math.inf)])
    below = likelihood("normal", limits=[(-math.inf, -z)])
    for chosen in (above, below):
        value, slope, by_sigma = chosen.derivatives(*arrays(0.0, 1.0))
        assert_allclose(value, [exact], rtol=error)
        hazard = z / series  # density over probability
        assert_allclose(abs(slope), [hazard], rtol=error)
        assert_allclose(by_sigma, [-z * hazard], rtol=error)


def test_an_interval_far_in_either_tail():
    """P(z < x < z + 1) is Q(z) but for exp(-z)."""
    whole = likelihood("normal", limits=[(40.0, math.inf)]).derivatives(*arrays(0.0, 1.0))
    part = likelihood("normal", limits=[(40.0, 41.0)]).derivatives(*arrays(0.0, 1.0))
    mirrored = likelihood("normal", limits=[(-41.0, -40.0)]).derivatives(*arrays(0.0, 1.0))
    assert_allclose(part, whole, rtol=1e-12)
    assert_allclose(mirrored[0], part[0], rtol=1e-14)
    assert_allclose(mirrored[1], -part[1], rtol=1e-14)
    assert_allclose(mirrored[2], part[2], rtol=1e-14)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_laplace_tails_are_exponential(side):
    """P(x > 500) = exp(-500)/2; beyond it every unit costs one."""
    limits = (500.0, math.inf) if side > 0 else (-math.inf, -500.0)
    value, slope, by_sigma = likelihood("laplace", limits=[limits]).derivatives(*arrays(0.0, 1.0))
    assert_allclose([value[0], slope[0], by_sigma[0]], [500.0 + math.log(2.0), -side, -500.0], rtol=1e-13)
    within = (500.0, 501.0) if side > 0 else (-501.0, -500.0)
    got = likelihood("laplace", limits=[within]).nllh(*arrays(0.0, 1.0))
    assert_allclose(got, [500.0 + math.log(2.0) - math.log1p(-math.exp(-1.0))], rtol=1e-13)


def test_a_narrow_interval_is_the_density_times_its_width():
    low, width = 1.0, 1e-6
    got = likelihood("normal", limits=[(low, low + width)]).nllh(*arrays(1.7, 0.5))
    exact = -st.norm(1.7, 0.5).logpdf(low + 0.5 * width) - math.log(width)
    assert_allclose(got, [exact], rtol=1e-9)


def test_what_is_certain_costs_nothing():
    """A detection limit of 0 or less says nothing about a positive quantity."""
    for limits in ((-1.0, 1e300), (-math.inf, 1e300), (0.0, 1e300)):
        value, slope, by_sigma = likelihood("log-normal", limits=[limits]).derivatives(*arrays(1.0, 0.5))
        assert_allclose([value[0], slope[0], by_sigma[0]], 0.0, atol=1e-300)


def test_a_positive_quantity_below_zero_is_impossible():
    value = likelihood("log-normal", limits=[(-math.inf, -1.0)]).nllh(*arrays(1.0, 0.5))
    assert value[0] == math.inf


# --- derivatives ---------------------------------------------------------------------------------------------

CASES = [([2.3], []), ([], [(1.0, 2.5)]), ([], [(-math.inf, 1.4)]), ([], [(1.9, math.inf)]), ([], [(1.3, 1.31)])]


@pytest.mark.parametrize("distribution", ALL)
@pytest.mark.parametrize("values, limits", CASES)
@pytest.mark.parametrize("simulated, sigma", [(1.7, 0.4), (3.0, 0.15), (0.4, 2.0)])
def test_slopes_against_differences(distribution, values, limits, simulated, sigma):
    chosen = likelihood(distribution, values, limits)

    def difference(f, x, h):
        return (f(x - 2 * h) - 8 * f(x - h) + 8 * f(x + h) - f(x + 2 * h)) / (12 * h)

    value, by_model, by_sigma = (part[0] for part in chosen.derivatives(*arrays(simulated, sigma)))
    assert_allclose(value, chosen.nllh(*arrays(simulated, sigma))[0], rtol=0.0)
    by_s = difference(lambda s: chosen.nllh(*arrays(s, sigma))[0], simulated, 1e-3 * simulated)
    by_g = difference(lambda g: chosen.nllh(*arrays(simulated, g))[0], sigma, 1e-3 * sigma)
    # order 4 with steps of 1e-3, and 1e-14 / 1e-2 (width of the narrow interval) / 1e-3 of rounding
    assert_allclose([by_model, by_sigma], [by_s, by_g], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("distribution", ALL)
def test_fisher_information_is_the_mean_square_score(distribution):
    """E[(d log p / d theta)^2] over many draws; the error of a mean of 4e5 squares is below 1 %."""
    rng = np.random.default_rng(20)
    simulated, sigma, n = 1.4, 0.3, 400_000
    draws = rng.normal(0.0, sigma, n) if "normal" in distribution else rng.laplace(0.0, sigma, n)
    if distribution.startswith("log10"):
        values = simulated * 10.0**draws
    elif distribution.startswith("log"):
        values = simulated * np.exp(draws)
    else:
        values = simulated + draws
    observable = Observable("y", "A", "1", Distribution(distribution))
    row = Measurement("y", "e", 1.0, 1.0)
    one = Likelihood.of([row], [observable])
    many = Likelihood(
        values,
        np.full(n, -math.inf),
        np.full(n, math.inf),
        np.full(n, one.transformation[0]),
        np.full(n, one.laplace[0]),
        np.zeros(n),
    )
    _, by_model, by_sigma = many.derivatives(np.full(n, simulated), np.full(n, sigma))
    expected = one.fisher(*arrays(simulated, sigma))
    assert_allclose([np.mean(by_model**2), np.mean(by_sigma**2)], np.concatenate(expected), rtol=0.015)


# --- what cannot be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", [kind for kind in ALL if kind.startswith("log")])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_logarithmic_noise_needs_positive_measurements(distribution, value):
    with pytest.raises(InputError, match=rf"'y' has {distribution} noise.*positive; got {value:g} at time 1"):
        likelihood(distribution, [value])


@pytest.mark.parametrize("distribution", [kind for kind in ALL if kind.startswith("log")])
def test_a_model_value_that_is_not_positive_is_impossible_under_logarithmic_noise(distribution):
    for simulated in (0.0, -1.0):
        assert likelihood(distribution, [1.0]).nllh(*arrays(simulated, 1.0))[0] == math.inf


@pytest.mark.parametrize("distribution", ALL)
@pytest.mark.parametrize("sigma", [0.0, -1.0])
def test_a_sigma_that_is_not_positive_is_impossible(distribution, sigma):
    assert likelihood(distribution, [1.0]).nllh(*arrays(2.0, sigma))[0] == math.inf
