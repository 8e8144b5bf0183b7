"""The ensemble recovers known moments, resumes to the bit, and its diagnostics are right where they are known."""

from __future__ import annotations

import builtins
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from likelihoods import Cut, Interrupted, Product, Regression, Saturation, Shift
from numpy.testing import assert_allclose, assert_array_equal

from fits.bands import bands
from fits.optimise import fit
from fits.parameters import Scale
from fits.sampling import Samples, sample, split_r_hat
from kinetics.errors import InputError

emcee = pytest.importorskip("emcee", reason="the sampling extra is not installed")


@pytest.fixture(scope="module")
def line():
    return Regression()


@pytest.fixture(scope="module")
def chain(line):
    return sample(line, line.best, 2000, seed=1)


def test_recovers_normal_moments(line, chain):
    """Posterior N(best, C); 16 walkers x 1900 steps / tau of about 35 are 800 independent samples."""
    kept, errors = chain.flat(), np.sqrt(np.diag(line.covariance))
    assert np.all(chain.effective_size > 300)
    assert_allclose((kept.mean(axis=0) - line.best) / errors, 0.0, atol=4 / np.sqrt(300))
    assert_allclose(kept.std(axis=0) / errors, 1.0, atol=4 / np.sqrt(2 * 300))
    assert_allclose(np.corrcoef(kept.T)[0, 1], line.covariance[0, 1] / errors[0] / errors[1], atol=0.1)
    low, high = chain.interval("a")
    assert_allclose([(low - line.best[0]) / errors[0], (high - line.best[0]) / errors[0]], [-1.96, 1.96], atol=0.3)


def test_diagnostics_of_a_good_chain(chain):
    assert np.all(chain.r_hat < 1.05)
    assert chain.long_enough
    assert 0.3 < np.mean(chain.accepted) < 0.9
    assert chain.burn_in >= 2 * np.max(chain.autocorrelation_times)
    assert "too short" not in str(chain) and "disagree" not in str(chain)
    assert chain.best == pytest.approx(Regression().best, abs=0.1)


def test_a_short_chain_says_so(line):
    assert "The chain is too short to trust" in str(sample(line, line.best, 60, seed=1))


def test_bounds_cut_the_posterior():
    """The standard normal with x > 0: mean of x is sqrt(2 / pi), of y 0.8 times that (they are correlated by 0.8)."""
    half = Cut(lower=np.array([0.0, -5.0]))
    found = sample(half, [0.0, 0.0], 2500, seed=2)
    assert np.all(found.chain[:, :, 0] >= 0.0)
    assert_allclose(found.flat().mean(axis=0), [0.7979, 0.8 * 0.7979], atol=0.1)
    assert "leans on its lower bound" in str(found)


def test_failing_simulations_have_no_density():
    found = sample(Saturation(height=50.0, fails_above=0.1), [0.0, 0.0], 200, seed=1)
    assert np.max(found.chain[:, :, 0]) <= 0.1
    assert np.all(np.isfinite(found.objective))


def test_objective_of_every_sample_is_kept(line, chain):
    for step, walker in [(0, 0), (777, 3), (1999, 15)]:
        assert chain.objective[step, walker] == line.evaluate(chain.chain[step, walker]).value


def equal(left, right):
    assert_array_equal(left.chain, right.chain)
    assert_array_equal(left.objective, right.objective)


def test_longer_chain_goes_on_to_the_bit(tmp_path, line):
    store = tmp_path / "fit.sqlite"
    whole = sample(line, line.best, 250, seed=3, chunk=50)
    first = sample(line, line.best, 120, seed=3, chunk=50, store=store)
    assert_array_equal(first.chain, whole.chain[:120])
    equal(sample(line, line.best, 250, seed=3, chunk=50, store=store), whole)
    other = sample(line, line.best, 120, seed=4, chunk=50, store=store)  # beside it
    assert not np.array_equal(other.chain, first.chain)


def test_interrupted_chain_goes_on_to_the_bit(tmp_path):
    optimum = fit(Shift(), n_starts=2).best.x
    whole = sample(Shift(), optimum, 90, chunk=30)
    store = tmp_path / "fit.sqlite"
    with pytest.raises(KeyboardInterrupt):
        sample(Interrupted(patience=16 + 16 * 50), optimum, 90, chunk=30, store=store)
    rest = Interrupted()
    resumed = sample(rest, optimum, 90, chunk=30, store=store)
    equal(resumed, whole)
    assert rest.count[0] <= 16 * 60  # the first chunk was not repeated
    assert_allclose(resumed.accepted, whole.accepted)


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_gives_the_same(kind, line):
    here = sample(line, line.best, 20, chunk=10)
    with kind(max_workers=2) as executor:
        equal(sample(line, line.best, 20, chunk=10, executor=executor), here)


def made(chain):
    """Samples with a chain of our own, shape (n_steps, n_walkers, 1)."""
    values = np.zeros(chain.shape[:2])
    return Samples(("x",), np.array([-50.0]), np.array([50.0]), (Scale.LIN,), chain, values, np.full(8, 0.5), 0)


def test_autocorrelation_time_of_a_known_process():
    """x' = 0.8 x + noise has (1 + 0.8) / (1 - 0.8) = 9."""
    rng, chain = np.random.default_rng(5), np.zeros((20000, 8, 1))
    for step in range(1, len(chain)):
        chain[step] = 0.8 * chain[step - 1] + 0.6 * rng.standard_normal((8, 1))
    found = made(chain)
    assert_allclose(found.autocorrelation_times, 9.0, rtol=0.1)
    assert_allclose(found.effective_size, 8 * (20000 - found.burn_in) / 9.0, rtol=0.1)


def test_r_hat_by_hand_and_on_bad_chains():
    """Two chains 0, 1, 0, 1 and 2, 3, 2, 3: halves have variance 1/2 and means 0.5, 0.5, 2.5, 2.5."""
    chain = np.array([[0, 2], [1, 3], [0, 2], [1, 3]], dtype=float)[:, :, None]
    between, within = 2 * 4 / 3, 0.5
    assert_allclose(split_r_hat(chain), np.sqrt((0.5 * within + between / 2) / within))
    rng = np.random.default_rng(6)
    good = rng.standard_normal((500, 8, 1))
    assert split_r_hat(good)[0] < 1.02
    assert split_r_hat(good + np.linspace(0.0, 3.0, 500)[:, None, None])[0] > 1.2  # drift, seen by splitting alone
    assert "by split R-hat: x" in str(made(good + np.arange(8.0)[None, :, None]))


def test_words_are_in_plain_values():
    product = Product(names=("kp", "k2on", "c", "d"))
    found = sample(product, [0.3, 0.478, 0.301, 0.0], 300, scales={"c": "log10"})
    line = next(s for s in found.sentences() if s.startswith("c: median"))
    assert 1.5 < float(line.split()[2].rstrip(",")) < 2.7  # 10**0.301 = 2


def test_arviz_takes_the_samples(chain):
    pytest.importorskip("arviz")
    data = chain.to_inference_data()
    assert data.posterior["a"].shape == (16, 2000 - chain.burn_in)
    assert_array_equal(data.posterior["b"].values[3], chain.chain[chain.burn_in :, 3, 1])
    assert_array_equal(data.sample_stats["lp"].values[0], -chain.objective[chain.burn_in :, 0])


def test_flat_is_thinned_evenly(chain):
    assert chain.flat(100).shape == (100, 3)
    assert_array_equal(chain.flat(10**9), chain.flat())
    assert list(chain.to_frame()["parameter"]) == ["a", "b", "c"]


def test_missing_emcee_says_what_to_install(monkeypatch, line):
    original = builtins.__import__

    def without(name, *arguments, **more):
        if name == "emcee":
            raise ImportError(name)
        return original(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'cytokine-kinetics\[sampling\]'"):
        sample(line, line.best, 10)


def test_bad_input(line):
    with pytest.raises(InputError, match="n_steps >= 1"):
        sample(line, line.best, 0)
    with pytest.raises(InputError, match="at least 6 walkers, got 4"):
        sample(line, line.best, 10, walkers=4)
    with pytest.raises(InputError, match="between 0 and 1"):
        sample(line, line.best, 20).interval("a", 95)


def test_bands_from_samples(line, chain):
    """The curve at t = 3 of a linear model has standard deviation sqrt(w C w)."""
    weights = np.array([1.0, 3.0, 9.0])
    band = bands(lambda x: np.array([weights @ x]), chain.flat(2000))
    half = 1.96 * np.sqrt(weights @ line.covariance @ weights)
    assert_allclose((band.upper - band.lower) / (2 * half), 1.0, atol=0.15)
