"""Uncertainty of a simulated model: the same answers as for its closed form, in plain values and words."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import numpy as np
from calibrations import CHAIN, free, load, make, measure, observe
from numpy.testing import assert_allclose
from toys import Decay

from fits.identifiability import Verdict, identifiability
from fits.objective import compile_problem
from fits.optimise import fit
from fits.profiles import profile_quantity, profiles
from fits.sampling import sample

TRUTH = 10.0 ** np.array([0.4771212547, -0.3010299957])  # a = 3, k = 0.5, as in Decay


def decay(noise="0.1", extra=()):
    """``a q exp(-k t)`` (A starts at 10): data without noise for a = 3, q = 1 and k = 0.5."""
    data = [measure(t, 3.0 * np.exp(-0.5 * t)) for t in Decay.times]
    formula = "a*q*A/10" if extra else "a*A/10"
    parameters = [free("a", 3.0, 1e-2, 1e2, "log10"), free("k", 0.5, 1e-3, 1e2, "log10"), *extra]
    return compile_problem(make(load(CHAIN), parameters, [observe(formula, noise)], data))


def test_profiles_agree_with_the_closed_form():
    simulated, closed = decay(), Decay()
    optimum = np.log10(TRUTH)
    ours = profiles(simulated, optimum)
    for name, twin in (("a", "log10_a"), ("k", "log10_k")):
        expected = profiles(closed, optimum, [twin])[twin].interval
        # simulations are good to 1e-8, which is 1e-6 of a residual
        assert_allclose(ours[name].interval, expected, atol=1e-4 * (expected[1] - expected[0]))
    assert str(ours["k"]).startswith("k = 0.5, 95 % profile interval 0.4")  # plain values


def test_half_life_as_a_quantity():
    """ln 2 / k: a decreasing function of k, so its interval is that of k turned over."""
    simulated, optimum = decay(), np.log10(TRUTH)
    half_life = profile_quantity(simulated, optimum, lambda x: np.log(2.0) / 10.0 ** x[1], name="half-life")
    low, high = (10.0**end for end in profiles(simulated, optimum, ["k"])["k"].interval)
    assert_allclose(half_life.interval, [np.log(2.0) / high, np.log(2.0) / low], rtol=1e-4)


def test_ridge_of_a_model_in_words():
    simulated = decay(extra=[free("q", 1.0, 1e-2, 1e2, "log10")])
    best = fit(simulated, n_starts=2)
    found = identifiability(simulated, best, profiles(simulated, best))
    assert found.verdicts["k"] is Verdict.IDENTIFIABLE
    assert len(found.ridges) == 1 and {*found.ridges[0].names} == {"a", "q"}
    assert "is fixed" in found.ridges[0].sentence and "twofold" in found.ridges[0].sentence
    assert abs(found.ridges[0].change) < 1e-3


def test_worker_processes_profile_and_sample_models():
    simulated, optimum = decay(), np.log10(TRUTH)
    here, chain = profiles(simulated, optimum), sample(simulated, optimum, 20, chunk=10)
    with ProcessPoolExecutor(2) as executor:
        there = profiles(simulated, optimum, executor=executor)
        far = sample(simulated, optimum, 20, chunk=10, executor=executor)
    for name in here:
        assert_allclose(there[name].interval, here[name].interval, rtol=1e-12)
    assert_allclose(far.chain, chain.chain, rtol=1e-9)
