"""Prediction bands against the closed form of a linear model; open ends; failed predictions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from likelihoods import Product, Regression
from numpy.testing import assert_allclose

from fits.bands import bands, envelope, normal_draws, profile_bands
from fits.information import fisher
from fits.profiles import profiles
from kinetics.errors import InputError, SimulationError


@pytest.fixture(scope="module")
def line():
    return Regression()


TIMES = np.array([0.0, 2.5, 6.0])


def curve(x):
    return x[0] + x[1] * TIMES + x[2] * TIMES**2


def expected(line):
    """Prediction and its standard deviation for a linear model, (m,) each."""
    design = np.stack([TIMES**0, TIMES, TIMES**2], axis=1)
    return design @ line.best, np.sqrt(np.einsum("ki,ij,kj->k", design, line.covariance, design))


def test_bands_of_a_linear_model(line):
    centre, spread = expected(line)
    draws = normal_draws(fisher(line, line.best), 20000, seed=1)
    band = bands(curve, draws)
    # quantile of 20000 draws: standard error sqrt(0.025 * 0.975 / 20000) / density(0.0584) = 0.019
    assert_allclose((band.lower - centre) / spread, -1.96, atol=0.08)
    assert_allclose((band.upper - centre) / spread, 1.96, atol=0.08)
    assert_allclose((band.median - centre) / spread, 0.0, atol=0.05)
    noisy = bands(curve, draws[:5000], noise=0.1, seed=2)
    assert_allclose((noisy.upper - centre) / np.hypot(spread, 0.1), 1.96, atol=0.08)
    assert noisy.noise and "next measurements" in str(noisy) and "curve itself" in str(band)
    assert np.all(noisy.covers(centre)) and not np.any(noisy.covers(centre + 5.0))


def test_noise_by_a_function(line):
    """Multiplicative noise on a constant parameter: quantiles of the noise alone."""
    band = bands(lambda x: np.array([2.0]), np.zeros((4000, 3)), noise=lambda x, y, rng: y * rng.uniform(0.5, 1.5, 1))
    assert_allclose([band.lower[0], band.upper[0]], [2 * 0.525, 2 * 1.475], atol=0.03)


def test_profile_bands_are_exact_for_a_linear_model(line):
    centre, spread = expected(line)
    band, found = profile_bands(line, line.best, curve)
    assert_allclose(band.lower, centre - 1.959963985 * spread, rtol=1e-4)
    assert_allclose(band.upper, centre + 1.959963985 * spread, rtol=1e-4)
    assert len(found) == 3
    noisy, _ = profile_bands(line, line.best, curve, sigma=0.1)
    assert_allclose(noisy.upper, centre + 1.959963985 * np.hypot(spread, 0.1), rtol=1e-4)


def test_envelope_lies_within_profile_bands(line):
    exact, _ = profile_bands(line, line.best, curve)
    inner = envelope(curve, profiles(line, line.best).values())
    assert np.all(inner.lower >= exact.lower - 1e-6) and np.all(inner.upper <= exact.upper + 1e-6)
    # the first output is the parameter a itself, so there it is the band
    assert_allclose([inner.lower[0], inner.upper[0]], [exact.lower[0], exact.upper[0]], rtol=1e-4)


def test_open_profiles_leave_bands_open():
    band, _ = profile_bands(Product(), [0.3, np.log10(6) - 0.3, np.log10(2), 0.0], lambda x: x[2:4])
    assert np.isfinite(band.upper[0]) and np.isinf(band.upper[1]) and np.isinf(band.lower[1])
    assert "At 1 of 2 outputs the data leave the band open." in band.sentences()


def test_failed_predictions_are_counted(line):
    def predict(x):
        if x[0] > 0:
            raise SimulationError("CVODE gave up")
        return np.array([np.nan]) if x[0] < -1 else np.array([1.0])

    band = bands(predict, [[1.0], [-2.0], [-0.5], [-0.1]])
    assert (band.used, band.failed) == (2, 2)
    assert "2 more could not be simulated" in str(band) and "CVODE gave up" in str(band)
    with pytest.raises(SimulationError, match="CVODE gave up"):
        bands(predict, [[1.0], [2.0]])


def test_normal_draws_respect_bounds_and_refuse_ridges():
    @dataclass(frozen=True)
    class Near(Regression):
        lower: np.ndarray = field(default_factory=lambda: np.array([0.9, -50, -50], dtype=float))

    near = Near()
    draws = normal_draws(fisher(near, near.best), 500)
    assert draws.shape == (500, 3) and np.min(draws[:, 0]) >= 0.9
    with pytest.raises(InputError, match="do not bound 'kp'"):
        normal_draws(fisher(Product(), [0.3, np.log10(6) - 0.3, np.log10(2), 0.0]), 5)


def test_bad_input_to_bands(line):
    with pytest.raises(InputError, match="must be positive"):
        bands(curve, [line.best, line.best], noise=0.0)
    with pytest.raises(InputError, match="shape"):
        bands(lambda x: np.ones((2, 2)), [line.best, line.best])
    with pytest.raises(InputError, match="level"):
        bands(curve, [line.best, line.best], level=95.0)
    with pytest.raises(InputError, match="at least one profile"):
        envelope(curve, [])
