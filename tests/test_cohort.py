"""Virtual samples: distributions by their formulas, draws of (seed, number) alone, and curves that agree everywhere."""

from __future__ import annotations

import math
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import kinetics as kin
from kinetics.cohort import Cohort
from kinetics.distributions import Bernoulli, Categorical, Correlated, LogNormal, Normal, Uniform
from kinetics.errors import InputError, SimulationError, UnitError, UnknownName, UnsupportedModel

SHARES = np.array([0.001, 0.1, 0.5, 0.77, 0.999])


# ---- distributions, by their formulas --------------------------------------------------------------------------


def test_quantiles_are_those_of_scipy():
    cut = (1.0 - 3.0) / 2.0, (4.0 - 3.0) / 2.0
    cases = [
        (Normal(3.0, 2.0), stats.norm(3.0, 2.0)),
        (Normal(3.0, 2.0, 1.0, 4.0), stats.truncnorm(*cut, 3.0, 2.0)),
        (LogNormal(5.0, 0.3), stats.lognorm(0.3, scale=5.0)),
        (Uniform(2.0, 6.0), stats.uniform(2.0, 4.0)),
    ]
    for ours, theirs in cases:
        assert_allclose([ours.quantile(share) for share in SHARES], theirs.ppf(SHARES), rtol=1e-9)


def test_truncation_far_in_a_tail_is_exact():
    """Beyond 9 standard deviations the distribution function is 1 to rounding; draws must still vary."""
    far = Normal(0.0, 1.0, lower=9.0)
    drawn = [far.quantile(share) for share in (0.1, 0.5, 0.9)]
    assert_allclose(drawn, stats.norm.isf(stats.norm.sf(9.0) * np.array([0.9, 0.5, 0.1])), rtol=1e-9)


@given(share=st.floats(0.0, 1.0, exclude_max=True), sd=st.floats(0.01, 3.0), low=st.floats(0.1, 2.0))
def test_draws_stay_within_the_limits(share: float, sd: float, low: float):
    assert low <= LogNormal(1.0, sd, low, low + 1.0).quantile(share) <= low + 1.0
    assert Normal(0.5, sd, lower=0.0).quantile(share) >= 0.0


FLAGS = {"RAS": {"mRAS": 1}, "IL7R": {"mIL7R": 1}}


def test_classes_come_with_their_shares_and_values():
    gene = Categorical(
        {"none": 0.5, "RAS": 0.3, "IL7R": 0.2}, {"RAS": {"mRAS": 1}, "IL7R": {"mIL7R": 1}}, {"mRAS": 0.1}
    )
    assert gene.sets("gene") == ("mRAS", "mIL7R")
    chosen = [gene.chosen([u]) for u in (0.0, 0.499, 0.5, 0.799, 0.8, 0.999999)]
    assert chosen == ["none", "none", "RAS", "RAS", "IL7R", "IL7R"]
    assert gene.values("gene", [0.6]) == {"mRAS": 1.0, "mIL7R": 0.0}
    assert gene.values("gene", [0.9]) == {"mRAS": 0.1, "mIL7R": 1.0}
    assert Bernoulli(0.25).quantile(0.2499) == 1.0 and Bernoulli(0.25).quantile(0.25) == 0.0


def test_correlated_quantities_keep_their_own_distributions():
    """Margins by Kolmogorov-Smirnov, the correlation of logarithms from 4000 draws (standard error 0.01)."""
    together = Correlated({"a": LogNormal(2.0, 0.3), "b": LogNormal(7.0, 0.5)}, ((1.0, 0.8), (0.8, 1.0)))
    drawn = Cohort({"both": together}, 4000, 5).values()
    assert stats.kstest(drawn["a"], stats.lognorm(0.3, scale=2.0).cdf).pvalue > 0.001
    assert stats.kstest(drawn["b"], stats.lognorm(0.5, scale=7.0).cdf).pvalue > 0.001
    assert np.corrcoef(np.log(drawn["a"]), np.log(drawn["b"]))[0, 1] == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LogNormal(-1.0, 0.3), "median of LogNormal"),
        (lambda: LogNormal(1.0, -0.3), "sd of LogNormal"),
        (lambda: LogNormal(1.0, 0.3, -1.0), "lower limit"),
        (lambda: Normal(1.0, 1.0, 2.0, 2.0), "lower < upper"),
        (lambda: Normal(math.nan, 1.0), "mean of Normal"),
        (lambda: Uniform(2.0, 1.0), "lower < upper"),
        (lambda: Bernoulli(1.5), "p of Bernoulli"),
        (lambda: Categorical({"a": 0.5, "b": 0.4}), "sum to 1, got 0.9"),
        (lambda: Categorical({"a": 1.0}, {"b": {"k": 1.0}}), "'b', which has no share"),
        (lambda: Correlated({"a": Uniform(0, 1)}, ((1.0, 0.2),)), "must be 1 x 1"),
        (lambda: Correlated({"a": Uniform(0, 1), "b": Uniform(0, 1)}, ((1.0, 1.0), (1.0, 1.0))), "positive definite"),
        (lambda: Cohort({"k": Uniform(0, 1)}, 0, 1), "at least 1, got 0"),
        (lambda: Cohort({"k": Uniform(0, 1)}, 3, -1), "seed"),
        (lambda: Cohort({"k": 3.0}, 3, 1), "needs a distribution"),
        (lambda: Cohort({"k": Uniform(0, 1), "g": Categorical({"a": 1.0}, {"a": {"k": 1}})}, 3, 1), "drawn twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


# ---- drawing ---------------------------------------------------------------------------------------------------

MIXED = {"k": LogNormal(0.1, 0.5), "flag": Categorical({"no": 0.7, "yes": 0.3}, {"yes": {"P": 5.0}}, {"P": 1.0})}


@given(seed=st.integers(0, 2**31), n=st.integers(1, 8), more=st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_a_longer_cohort_begins_like_a_shorter_one(seed: int, n: int, more: int):
    short, long = Cohort(MIXED, n, seed), Cohort(MIXED, n + more, seed)
    assert short.frame().equals(long.frame(0, n))
    assert_array_equal(long.frame(n - 1, n).iloc[0]["k"], short.frame().iloc[-1]["k"])


def test_seeds_differ_and_a_further_distribution_leaves_the_others():
    one = Cohort(MIXED, 50, 1)
    assert not np.any(one.values()["k"] == Cohort(MIXED, 50, 2).values()["k"])
    more = Cohort({"new": Uniform(0.0, 1.0), **MIXED}, 50, 1)
    assert_array_equal(more.values()["k"], one.values()["k"])


def test_draws_follow_their_distribution():
    drawn = Cohort(MIXED, 2000, 3).frame()
    assert stats.kstest(drawn["k"], stats.lognorm(0.5, scale=0.1).cdf).pvalue > 0.001
    assert abs((drawn["flag"] == "yes").mean() - 0.3) < 0.05  # five standard errors
    assert_array_equal(drawn["P"], np.where(drawn["flag"] == "yes", 5.0, 1.0))


def test_cohorts_travel_to_workers():
    again = pickle.loads(pickle.dumps(Cohort(MIXED, 7, 4)))
    assert again.frame().equals(Cohort(MIXED, 7, 4).frame())


# ---- running ---------------------------------------------------------------------------------------------------

A0 = (0.5, 1.0, 4.0, 9.0)


def decay_protocol(readout: kin.Readout) -> kin.DoseProtocol:
    return kin.DoseProtocol("A", A0, readout)


@pytest.mark.parametrize("method", ["batch", "engine"])
def test_curves_of_a_decay_by_hand(decay: kin.Model, method):
    """A(t) = A(0) exp(-k t), with k and a lag-free P(0) of each sample."""
    cohort = Cohort(MIXED, 6, 9)
    curves = cohort.run(decay, decay_protocol(kin.Readout.at("P", 4.0)), method=method, rtol=1e-8)
    k, p = cohort.values()["k"][:, None], cohort.values()["P"][:, None]
    assert_allclose(curves.responses, p + np.array(A0) * (1.0 - np.exp(-4.0 * k)), rtol=1e-6)
    assert curves.failed == () and curves.method == method
    assert (curves.difference <= 1e-6) if method == "batch" else math.isnan(curves.difference)
    frame = curves.to_frame()
    assert len(frame) == 24 and list(frame["sample"][:5]) == [0, 0, 0, 0, 1]


READOUTS = {
    "formula": kin.Readout.at("A / (A + P) + time", 3.0),
    "reaction": kin.Readout.at("loss", 3.0),
    "fold": kin.Readout.at("P", 3.0).fold_over({"A": 2.0}),
    "percent inhibition": kin.Readout.at("A", 3.0).percent_inhibition({"k": 0.01}),
    "maximum": kin.Readout.at("P", 3.0).percent_of_maximum(),
    "gate": kin.Readout.at("P", 3.0).fraction_positive(2.0, 0.5),
    "start": kin.Readout.at("A", 0.0),
}


@pytest.mark.parametrize("which", READOUTS)
def test_readouts_of_batch_and_engine_agree(decay: kin.Model, which):
    protocol = decay_protocol(READOUTS[which])
    both = [Cohort(MIXED, 3, 2).run(decay, protocol, method=m, rtol=1e-8).responses for m in ("batch", "engine")]
    assert_allclose(both[0], both[1], rtol=1e-6)


def test_schedules_of_batch_and_engine_agree(decay: kin.Model):
    """Several periods, a bolus, a formula of the state just before, and a constant that changes on the way."""
    steps = kin.Experiment.steps(
        (3.0, {"A": 6.0}), (2.0, {"A": kin.added(1.5), "k": 0.3}), (4.0, {"P": "P + 2 * A", "k": "k / 2"})
    )
    protocol = kin.DoseProtocol("A", A0, kin.Readout.at("A + 10 * P", 2.0), steps, period=1)
    both = [Cohort(MIXED, 4, 2).run(decay, protocol, method=m, rtol=1e-8).responses for m in ("batch", "engine")]
    assert_allclose(both[0], both[1], rtol=1e-6)


def test_experiments_in_a_stream(decay: kin.Model):
    """Chunks come in order, whatever an executor does, and are those of one run."""
    cohort = Cohort(MIXED, 23, 2)
    experiments = [kin.Experiment(), kin.Experiment(kin.Period(0.0, {"A": 3.0}))]
    readout = kin.Readout.at("A", 2.0)
    whole = np.concatenate(list(cohort.stream(decay, experiments, readout, chunk=23)))
    with ThreadPoolExecutor(3) as executor:
        parts = list(cohort.stream(decay, experiments, readout, chunk=1, executor=executor))
    assert [len(part) for part in parts] == [1] * 23
    assert_allclose(np.concatenate(parts), whole, rtol=1e-10)
    assert cohort.agreement(decay, experiments, readout, whole, samples=3) < 1e-3
    assert cohort.agreement(decay, experiments, readout, 1.5 * whole, samples=3) == pytest.approx(0.5, rel=1e-3)


def test_processes_change_no_bit(decay: kin.Model):
    cohort, protocol = Cohort(MIXED, 9, 2), decay_protocol(kin.Readout.at("P", 4.0))
    alone = cohort.run(decay, protocol, chunk=4)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        shared = cohort.run(decay, protocol, chunk=4, executor=executor)
        summary = shared.summary(executor, chunk=5)
    assert_array_equal(shared.responses, alone.responses)
    assert summary.equals(alone.summary())


def test_summary_finds_ec50_and_emax_of_each_sample(antagonist: kin.Model):
    """Occupancy at equilibrium d/(d + K): EC50 is k_off/k_on of the sample, Emax 1."""
    cohort = Cohort({"k_off": LogNormal(2.0, 0.5)}, 4, 6)
    protocol = kin.DoseProtocol("L", np.geomspace(0.01, 1000.0, 9), kin.Readout.at("C", 500.0))
    summary = cohort.run(antagonist, protocol, rtol=1e-7).summary()
    assert_allclose(summary["ec50"], summary["k_off"], rtol=1e-3)  # k_on is 1
    assert_allclose(summary["emax"], 1.0, rtol=1e-3)
    assert set(summary["ec50_status"]) == {"inside"}


def test_a_sample_that_fails_leaves_the_others():
    """x' = k x^2 is infinite at t = 1/k: samples with k above 0.5 cannot be read at 2."""
    model = kin.Model.load("model boom()\n x' = k*x*x; x = 1; k = 0.1; d = 0\nend", trusted=True)
    cohort = Cohort({"kind": Categorical({"a": 0.5, "b": 0.5}, {"a": {"k": 0.1}, "b": {"k": 3.0}})}, 8, 1)
    protocol = kin.DoseProtocol("d", [1.0, 2.0], kin.Readout.at("x", 2.0))
    curves = cohort.run(model, protocol)
    bad = cohort.values()["k"] > 0.5
    assert 0 < bad.sum() < 8
    assert curves.failed == tuple(np.flatnonzero(bad).tolist())
    assert_allclose(curves.responses[~bad], 1.0 / 0.8, rtol=1e-3)


def test_disagreement_is_an_error(decay: kin.Model):
    with pytest.raises(SimulationError, match="batch and engine differ by"):
        Cohort(MIXED, 3, 2).run(decay, decay_protocol(kin.Readout.at("P", 40.0)), rtol=10.0)


def test_what_a_batch_cannot_do_is_said(decay: kin.Model):
    cohort = Cohort(MIXED, 3, 2)
    for readout in (kin.Readout.peak("A", 0.0, 3.0), kin.Readout.steady_state("A")):
        with pytest.raises(InputError, match="method='engine'"):
            cohort.run(decay, decay_protocol(readout))
    still = kin.DoseProtocol("A", A0, kin.Readout.at("A", 1.0), kin.Experiment.steps((1.0, {}), equilibrate=True))
    with pytest.raises(InputError, match="steady states"):
        cohort.run(decay, still)
    swollen = kin.DoseProtocol("A", A0, kin.Readout.at("A", 1.0), kin.Experiment.steps((1.0, {}), (1.0, {"cell": 3.0})))
    with pytest.raises(UnsupportedModel, match="size of 'cell'"):
        cohort.run(decay, swollen)
    peaks = cohort.run(decay, decay_protocol(kin.Readout.peak("A", 0.0, 3.0)), method="engine")
    assert_allclose(peaks.responses, np.tile(A0, (3, 1)), rtol=1e-6)


def test_quantities_and_values_are_those_of_the_model(decay: kin.Model, with_units: kin.Model):
    protocol = decay_protocol(kin.Readout.at("P", 4.0))
    with pytest.raises(UnknownName, match="did you mean"):
        Cohort({"kk": Uniform(0.1, 0.2)}, 3, 1).run(decay, protocol)
    with pytest.raises(InputError, match="'k' must not be negative"):
        Cohort({"k": Normal(-1.0, 0.1)}, 3, 1).run(decay, protocol)
    with pytest.raises(InputError, match="'loss'"):
        Cohort({"loss": Uniform(0.1, 0.2)}, 3, 1).run(decay, protocol)
    with pytest.raises(UnknownName, match="batch"):
        Cohort(MIXED, 3, 1).run(decay, protocol, method="bacth")
    with pytest.raises(UnitError, match="no unit"):
        bare = kin.DoseProtocol("Drug", A0, kin.Readout.at("Drug", 4.0))
        Cohort({"k": Uniform(0.1, 0.2)}, 3, 1).run(with_units, bare)


def test_receptor_numbers_spread_the_ec50_of_il7():
    """Donors differ in IL-7Ra and gamma-c (assumed: 0.3 in ln units): so does their EC50, by less than twofold.

    More gamma-c gives more complex per ligand, so the EC50 must move with receptor numbers: a rank correlation says so.
    """
    donors = Cohort({"IL7R_number": LogNormal(19163.0, 0.3), "gc_number": LogNormal(13391.0, 0.3)}, 12, 7)
    doses = [f"{10.0**e:.6g} ng/ml" for e in np.linspace(-3, 1, 9)]
    protocol = kin.DoseProtocol("IL7", doses, kin.Readout.at("pSTAT5_total", "30 min"))
    summary = donors.run(kin.Model.load("il7_stat5_imatinib"), protocol).summary()
    assert set(summary["ec50_status"]) == {"inside"}
    spread = float(np.std(np.log(summary["ec50"])))
    assert 0.02 < spread < 0.6
    product = summary["IL7R_number"] * summary["gc_number"]
    assert abs(stats.spearmanr(product, summary["ec50"]).statistic) > 0.6
