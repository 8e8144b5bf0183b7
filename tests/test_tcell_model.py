"""The T-cell model: a right-hand side written by hand, steady states, dye dilution in closed form, mass balance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import poisson

import kinetics as kin
from kinetics.catalogue import find_model

roadrunner = pytest.importorskip("roadrunner")

NAME = "tcell_homeostasis"
SUBSETS = ("naive_CD4", "memory_CD4", "naive_CD8", "memory_CD8")
LINEAGES = ("CD4", "CD8")
MOUSE = dict(find_model(NAME).variants["mouse_transfer"].values)


@pytest.fixture(scope="module")
def model() -> kin.Model:
    return kin.Model.load(NAME)


def _rates(s: dict[str, float], p: dict[str, float]) -> dict[str, float]:
    """Cells or molecules per microlitre and day."""
    level = s["IL7"] / p["IL7_per_mass"]
    labelled = {lin: sum(s[f"{lin}_div{k}"] for k in range(8)) for lin in LINEAGES}
    total = sum(s[c] for c in SUBSETS) + sum(labelled.values())
    ratio = (level / p["K_PI3K"]) ** p["n_PI3K"]
    pi3k = ratio / (1 + ratio) * (1 - p["w_PI3K"] * (1 - p["kinase_activity"]))
    effect = p["TCR_tone"] * (1 + p["K_TCR"]) / (p["TCR_tone"] + p["K_TCR"])
    net, divide, found = {}, {}, {}
    taken = 0.0
    for c in SUBSETS:
        occupied = level / (p[f"occupancy_K_{c}"] + level)
        signal = p["kinase_activity"] * occupied
        healthy = p["IL7_healthy"] / (p[f"occupancy_K_{c}"] + p["IL7_healthy"])
        tone = (signal / (signal + p[f"kappa_{c}"])) / (healthy / (healthy + p[f"kappa_{c}"]))
        drive = 1 + p[f"TCR_need_{c}"] * (effect - 1)
        divide[c] = p["pace"] * (
            p["k_div_basal"] / (1 + total / p["K_space"]) * drive
            + p["k_div_IL7"] * pi3k * (p["alone"] + (1 - p["alone"]) * drive)
        )
        protection = (tone / (p["K_survival"] * p[f"threshold_{c}"])) ** p["n_survival"]
        death = p["pace"] * (p["k_death_min"] + (p["k_death_max"] - p["k_death_min"]) / (1 + protection))
        net[c] = death
        supply = p[f"input_{c}"] * (p["CD4_input_rel"] if "CD4" in c else 1.0)
        found[c] = supply + (divide[c] - death) * s[c]
        eaters = s[c] + (labelled[c.removeprefix("naive_")] if c.startswith("naive") else 0.0)
        taken += p["uptake_scale"] * p[f"uptake_max_{c}"] * occupied * eaters
    found["IL7"] = (1 - p["IL7_held"]) * (
        p["IL7_production"] * p["IL7_production_rel"] - p["k_IL7_clear"] * s["IL7"] - taken
    )
    for lin in LINEAGES:
        up, down = divide[f"naive_{lin}"], net[f"naive_{lin}"]
        for k in range(8):
            born = 2 * up * s[f"{lin}_div{k - 1}"] if k else 0.0
            kept = 2 * up * s[f"{lin}_div7"] if k == 7 else 0.0
            found[f"{lin}_div{k}"] = born + kept - (up + down) * s[f"{lin}_div{k}"]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_sbml_says_what_the_equations_say(seed: int):
    random = np.random.default_rng(seed)
    runner = roadrunner.RoadRunner(find_model(NAME).sbml())
    drawn = {"kinase_activity": 0.3, "TCR_tone": 0.8, "CD4_input_rel": 0.6, "TCR_need_memory_CD8": 0.5}
    for name, value in {**drawn, "threshold_memory_CD8": 1.7, "IL7_held": 0.25}.items():
        runner[name] = value
    for name in runner.model.getFloatingSpeciesIds():
        runner.model[f"[{name}]"] = 10.0 ** random.uniform(-1, 3) * (1e3 if name == "IL7" else 1.0)
    state = {name: float(runner[f"[{name}]"]) for name in runner.model.getFloatingSpeciesIds()}
    parameters = {name: float(runner[name]) for name in runner.model.getGlobalParameterIds()}
    rates = dict(zip(state, runner.model.getFloatingSpeciesConcentrationRates(), strict=True))
    expected = _rates(state, parameters)
    assert set(expected) == set(rates)
    assert_allclose([rates[n] for n in expected], list(expected.values()), rtol=1e-9, atol=1e-9)


def test_health_is_a_steady_state(model: kin.Model):
    """Supply, production and tone are computed such that nothing moves, at values other than the model's own too."""
    for values in ({}, {"IL7_healthy": 6.0, "IL7_start": 6.0, "K_survival": 1.3, "n_survival": 3.0, "K_space": 90.0}):
        course = kin.simulate(model, None, [0.0, 500.0], [*SUBSETS, "IL7_level", "tone_memory_CD8"], parameters=values)
        assert_allclose(course.values[1], course.values[0], rtol=1e-6)
        assert course["tone_memory_CD8"][0] == pytest.approx(1.0, rel=1e-12)


def test_divisions_of_survivors_are_poisson(model: kin.Model):
    """With constant rates a survivor's generation is Poisson with mean 2 p t, and 7 holds the tail."""
    days = 5.0
    held = {**MOUSE, "IL7_held": 1.0, "K_space": 1e12, "k_div_basal": 0.4, "k_div_IL7": 0.0}
    names = [f"CD4_div{k}" for k in range(8)]
    course = kin.simulate(model, None, [0.0, days], [*names, "divisions_CD4", "death_naive_CD4"], parameters=held)
    counts = course.values[1, :8]
    p, d = 0.4, float(course["death_naive_CD4"][1])
    law = poisson.pmf(np.arange(8), 2 * p * days)
    law[7] = 1.0 - law[:7].sum()
    assert_allclose(counts / counts.sum(), law, rtol=1e-6)
    assert counts.sum() == pytest.approx(MOUSE["transferred_CD4"] * math.exp((p - d) * days), rel=1e-6)
    assert course["divisions_CD4"][1] == pytest.approx(float(np.arange(8) @ law), rel=1e-6)


def test_il7_of_a_host_without_cells_is_production_over_loss(model: kin.Model):
    """One species, one time constant: the way back to its level is exponential."""
    empty = {**MOUSE, "transferred_CD4": 1e-9, "transferred_CD8": 1e-9}
    start = kin.Experiment.steps(("1 d", {"IL7": 0.0}), zero_at_last=False)
    course = kin.simulate(model, start, [0.0, 1.0], ["IL7_level"], parameters=empty)
    rate = float(model.entity("k_IL7_clear").value or 0.0)
    assert course["IL7_level"][1] == pytest.approx(MOUSE["IL7_start"] * -math.expm1(-rate), rel=1e-6)


def test_fewer_cells_leave_more_il7_and_more_il7_makes_more_cells(model: kin.Model):
    half = {f"{c}": 0.5 * float(model.entity(f"count_{c}").value or 0.0) for c in SUBSETS}
    days = kin.Experiment.steps(("10 d", {}), ("2 d", half), zero_at_last=False)
    course = kin.simulate(model, days, [10.0 - 1e-6, 12.0], ["IL7_level"])
    assert course["IL7_level"][1] > 1.2 * course["IL7_level"][0]
    more = kin.Experiment.steps(("300 d", {"IL7_production_rel": 2.0}), zero_at_last=False)
    course = kin.simulate(model, more, [0.0, 300.0], ["T_cells"])
    assert course["T_cells"][1] > 1.2 * course["T_cells"][0]


def test_memory_cd8_cells_do_not_need_the_tcr(model: kin.Model):
    rates = [f"division_{c}" for c in SUBSETS]
    off = kin.Experiment.steps(("1e-6 d", {"TCR_tone": 0.0}), zero_at_last=False)
    with_tcr, without = (kin.simulate(model, e, [1e-6], rates) for e in (None, off))
    assert without["division_memory_CD8"][0] == pytest.approx(with_tcr["division_memory_CD8"][0], rel=1e-4)
    for c in SUBSETS[:3]:
        assert without[f"division_{c}"][0] < 0.2 * with_tcr[f"division_{c}"][0]


def test_mouse_transfer_is_a_millionth_of_what_the_note_says():
    """1e6 cells over 1e8 of a mouse, at the healthy count of the model, 970/ul, 60 % of them CD4."""
    assert MOUSE["transferred_CD4"] == pytest.approx(1e6 / 1e8 * 970.0 * 0.6)
    assert MOUSE["transferred_CD8"] == pytest.approx(1e6 / 1e8 * 970.0 * 0.4)
