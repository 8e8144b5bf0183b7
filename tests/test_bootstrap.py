"""The parametric bootstrap against known sampling distributions; resume; failures."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
from likelihoods import Regression
from numpy.testing import assert_allclose, assert_array_equal

from fits.bootstrap import Refit, bootstrap
from fits.optimise import fit
from fits.store import Store
from kinetics.errors import InputError, SimulationError

LINE = Regression()
BEST = dict(zip(LINE.names, LINE.best.tolist(), strict=True))


def simulate(rng):
    return LINE.design @ LINE.best + 0.1 * rng.standard_normal(12)


def refit(data):
    x, rest, *_ = np.linalg.lstsq(LINE.design, data, rcond=None)
    return Refit(x, 0.5 * float(rest[0]) / 0.01)


def test_linear_regression():
    """Estimates are N(best, C): 1000 replicates give standard errors to 1 / sqrt(2000) = 2.2 %."""
    found = bootstrap(simulate, refit, BEST, 1000, seed=1)
    errors = np.sqrt(np.diag(LINE.covariance))
    assert_allclose(found.standard_errors, errors, rtol=0.1)
    assert_allclose(found.bias / errors, 0.0, atol=0.13)  # four standard errors of a mean of 1000
    assert_allclose(found.covariance / np.outer(errors, errors), LINE.covariance / np.outer(errors, errors), atol=0.15)
    for basic in (False, True):
        low, high = found.interval("b", basic=basic)
        assert_allclose([(low - BEST["b"]) / errors[1], (high - BEST["b"]) / errors[1]], [-1.96, 1.96], atol=0.3)
    low, high = found.quantity_interval(lambda x: x[0] + 3 * x[1] + 9 * x[2])
    half = 1.96 * np.sqrt(np.array([1, 3, 9]) @ LINE.covariance @ np.array([1, 3, 9]))
    assert_allclose((high - low) / (2 * half), 1.0, atol=0.12)
    assert "1000 of 1000 replicates were fitted." in found.sentences()


def test_bias_of_a_variance_is_found():
    """The n-denominator variance of 5 normal data falls short by a fifth; the basic interval is the mirror image."""
    found = bootstrap(lambda rng: rng.standard_normal(5), lambda data: [np.var(data)], {"variance": 1.0}, 4000)
    assert_allclose(found.bias, -0.2, atol=0.04)
    low, high = found.interval("variance")
    mirrored = found.interval("variance", basic=True)
    assert_allclose(mirrored, [2.0 - high, 2.0 - low])


def test_p_value_is_that_of_chi_square():
    """Residual sum of squares over sigma^2 is chi-square with 12 - 3 degrees: 14.684 is its 0.9 quantile."""
    found = bootstrap(simulate, refit, BEST, 2000)
    assert_allclose(found.p_value(14.684 / 2), 0.1, atol=0.025)
    assert found.p_value(1e6) == 1 / 2001


@dataclass(frozen=True)
class Again(Regression):
    """The regression for other data."""

    given: np.ndarray = field(default_factory=lambda: LINE.data)

    @property
    def data(self):
        return self.given


def test_with_the_projects_own_fit():
    def search(data):
        best = fit(Again(given=data), n_starts=1).best
        return Refit(best.x, best.value)

    own, direct = bootstrap(simulate, search, BEST, 20), bootstrap(simulate, refit, BEST, 20)
    assert_allclose(own.estimates, direct.estimates, atol=1e-4)
    assert_allclose(own.values, direct.values, atol=1e-6)


def test_replicates_depend_on_seed_and_number_alone():
    few, many = bootstrap(simulate, refit, BEST, 10, seed=3), bootstrap(simulate, refit, BEST, 25, seed=3)
    assert_array_equal(few.estimates, many.estimates[:10])
    assert not np.array_equal(bootstrap(simulate, refit, BEST, 10, seed=4).estimates, few.estimates)


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_gives_the_same(kind):
    with kind(max_workers=2) as executor:
        there = bootstrap(simulate, refit, BEST, 12, executor=executor)
    assert_array_equal(there.estimates, bootstrap(simulate, refit, BEST, 12).estimates)


def test_interrupted_bootstrap_goes_on(tmp_path):
    calls = []

    def counting(data):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return refit(data)

    with Store(tmp_path / "fit.sqlite", LINE.fingerprint) as store:
        with pytest.raises(KeyboardInterrupt):
            bootstrap(simulate, counting, BEST, 20, store=store)
        resumed = bootstrap(simulate, counting, BEST, 20, store=store)
        assert len(calls) == 8 + 13  # seven were kept
        assert_array_equal(resumed.estimates, bootstrap(simulate, refit, BEST, 20).estimates)
        bootstrap(simulate, counting, BEST, 20, store=store, label="another read-out")
        assert len(calls) == 8 + 13 + 20


def test_failed_replicates_are_counted_and_named():
    def fragile(data):
        if data[0] > LINE.best[0]:
            raise SimulationError(f"CVODE gave up at t = {data[0]:.3f}")
        return refit(data)

    found = bootstrap(simulate, fragile, BEST, 40)
    assert len(found.failures) + len(found.estimates) == 40
    assert 8 <= len(found.failures) <= 32
    text = str(found)
    assert "so many that the intervals are doubtful" in text and "CVODE gave up at t =" in text
    assert "wants 400 replicates" in text
    with pytest.raises(SimulationError, match=r"5 of 5 bootstrap replicates failed.*not finite"):
        bootstrap(simulate, lambda data: [np.nan] * 3, BEST, 5)


def test_bad_input():
    with pytest.raises(InputError, match="n >= 2"):
        bootstrap(simulate, refit, BEST, 1)
    with pytest.raises(InputError, match="return 3 estimates, one per name, got shape"):
        bootstrap(simulate, lambda data: [1.0], BEST, 5)
    with pytest.raises(InputError, match="finite estimate"):
        bootstrap(simulate, refit, {**BEST, "a": np.nan}, 5)
    found = bootstrap(simulate, lambda data: np.linalg.lstsq(LINE.design, data, rcond=None)[0], BEST, 5)
    with pytest.raises(InputError, match="returned no objectives"):
        found.p_value(1.0)
    with pytest.raises(InputError, match="no estimate named 'q'"):
        found.interval("q")
    with pytest.raises(InputError, match="between 0 and 1"):
        found.interval("a", 95)
    assert list(found.to_frame().columns) == ["a", "b", "c", "objective"]
