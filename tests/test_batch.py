"""Many parameter sets at once: closed forms, the engine, the order of the method, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kinetics as kin
from kinetics.batch import Batch
from kinetics.errors import InputError, UnknownName, UnsupportedModel


def test_decay_follows_its_exponential_in_every_set(decay: kin.Model):
    """A(t) = 10 exp(-k t), and P takes up what A loses."""
    k = np.array([0.01, 0.1, 1.0, 30.0])
    batch = Batch(decay)
    end = batch.advance(batch.start({"k": k}), 5.0, rtol=1e-7, atol=1e-10)
    found = batch.read(end, ["A", "P"])
    assert_allclose(found["A"], 10.0 * np.exp(-5.0 * k), rtol=1e-5, atol=1e-8)
    assert_allclose(found["A"] + found["P"], 11.0, rtol=1e-10)


def test_tighter_tolerances_come_closer(binding: kin.Model):
    """Order 3: a thousandfold tighter tolerance is at least a hundredfold smaller error."""
    batch, truth = Batch(binding), kin.simulate(binding, None, [0.0, 3.0], ["C"], solver=kin.Solver(rtol=1e-12))["C"][1]
    loose, tight = (
        abs(batch.read(batch.advance(batch.start({}), 3.0, rtol=rtol, atol=rtol), ["C"])["C"][0] - truth)
        for rtol in (1e-3, 1e-6)
    )
    assert tight < 1e-2 * loose and tight < 1e-5


def test_sets_agree_with_the_engine_one_by_one():
    """The T-cell model with changes on the way; 1e-4 is what the draws run at."""
    model = kin.Model.load("tcell_homeostasis")
    rng = np.random.default_rng(3)
    sets = {"pace": rng.uniform(0.05, 0.3, 5), "K_survival": rng.uniform(0.5, 1.2, 5)}
    outputs = ("naive_CD4", "memory_CD8", "IL7_level")
    batch = Batch(model, still=[f"{lineage}_div{k}" for lineage in ("CD4", "CD8") for k in range(8)])
    state = batch.advance(batch.start(sets), 400.0, {"CD4_input_rel": 0.5}, rtol=1e-4)
    found = batch.read(batch.advance(state, 200.0, {"kinase_activity": 0.3}, rtol=1e-4), outputs)
    steps = kin.Experiment.steps(("400 d", {"CD4_input_rel": 0.5}), ("200 d", {"kinase_activity": 0.3}))
    for k in range(5):
        one = kin.simulate(model, steps, [200.0], outputs, parameters={name: float(v[k]) for name, v in sets.items()})
        for name in outputs:
            assert found[name][k] == pytest.approx(one[name][0], rel=1e-3)


def test_given_values_reach_initial_formulas():
    """Supply and production are formulas of constants: setting a constant sets them, setting them wins."""
    batch = Batch(kin.Model.load("tcell_homeostasis"))
    usual, other, own = (
        batch.read(batch.start(sets), ["input_naive_CD4"])["input_naive_CD4"][0]
        for sets in ({}, {"count_naive_CD4": 582.0}, {"count_naive_CD4": 582.0, "input_naive_CD4": 3.0})
    )
    assert other != pytest.approx(usual, rel=0.1) and own == 3.0


def test_a_set_that_is_not_finite_stays_so_and_holds_nobody_up(decay: kin.Model):
    batch = Batch(decay)
    found = batch.read(batch.advance(batch.start({"k": np.array([0.1, np.nan])}), 5.0), ["A"])["A"]
    assert found[0] == pytest.approx(10.0 * np.exp(-0.5), rel=1e-4) and np.isnan(found[1])


def test_mistakes_are_refused(decay: kin.Model):
    batch = Batch(decay)
    with pytest.raises(UnknownName, match="kk"):
        batch.start({"kk": 1.0})
    with pytest.raises(InputError, match="one length"):
        batch.start({"k": np.array([1.0, 2.0]), "A": np.array([1.0, 2.0, 3.0])})
    with pytest.raises(InputError, match="positive"):
        batch.advance(batch.start({}), 0.0)
    with pytest.raises(UnknownName, match="B"):
        batch.read(batch.start({}), ["B"])
    with pytest.raises(UnknownName, match="Q"):
        Batch(decay, still=["Q"])
    still = Batch(decay, still=["P"])
    with pytest.raises(InputError, match="P were said to be still"):
        still.advance(still.start({}), 1.0)


def test_models_with_events_are_refused():
    text = "model e()\n compartment c = 1; species A in c; A = 1; loss: A -> ; c * A; at (A < 0.5): A = 1\nend"
    with pytest.raises(UnsupportedModel, match="events"):
        Batch(kin.Model.load(text, trusted=True))
