"""References and surfaces: closed forms, an independent package, and what must not change them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fits.synergy import references
from fits.synergy.analysis import synergy
from fits.synergy.batch import best_of, fit_many
from fits.synergy.margins import fit_margins, measured_margins
from fits.synergy.surfaces import braid, musyc
from fits.synergy.wells import Combination, from_columns
from kinetics.curves import hill

DOSES = np.concatenate(([0.0], np.geomspace(0.1, 10.0, 6)))
ONE, TWO = (grid.ravel() for grid in np.meshgrid(DOSES, DOSES, indexing="ij"))
FIRST, SECOND = (1.0, 0.1, 0.8, 1.2), (1.0, 0.3, 1.5, 0.9)  # untreated, plateau, EC50, slope


def wells(response: np.ndarray, one: np.ndarray = ONE, two: np.ndarray = TWO, **more: object) -> Combination:
    return from_columns(("A", "B"), "uM", one, two, response, **more)


def independent() -> np.ndarray:
    return hill(ONE, *FIRST) * hill(TWO, *SECOND)


# --- what can be worked out by hand --------------------------------------------------------------------------


def test_fitted_margins_recover_the_curves_they_were_made_with():
    found = fit_margins(wells(independent()))
    expected = [1.0, 0.1, 0.3, np.log(0.8), np.log(1.5), np.log(1.2), np.log(0.9)]
    assert_allclose(
        found.parameters[0], expected, atol=1e-5
    )  # the data are exact, the search stops at 1e-10 of a square


@pytest.mark.parametrize("margins", ["hill", "measured"])
def test_independent_drugs_have_no_bliss_excess(margins):
    found = synergy(wells(independent()), ["bliss"], margins=margins, n=0).scores["bliss"]
    assert_allclose(found.excess, 0.0, atol=1e-6)
    assert_allclose(found.expected, independent().reshape(7, 7), atol=1e-6)


def test_bliss_excess_is_expected_minus_observed_and_synergy_is_positive():
    """Two doses each leave 0.5; independent drugs leave 0.25; 0.1 was seen: an excess of 0.15."""
    data = wells(np.array([1.0, 0.5, 0.5, 0.1]), np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert_allclose(synergy(data, ["bliss"], margins="measured", n=0).scores["bliss"].excess, [[0.15]])
    assert_allclose(synergy(data, ["hsa"], margins="measured", n=0).scores["hsa"].excess, [[0.4]])


def test_responses_that_rise_give_the_same_excess_as_the_viability_they_are_the_rest_of():
    alive = independent() * np.where((ONE > 0.0) & (TWO > 0.0), 0.7, 1.0)
    falling = synergy(wells(alive), n=0, models=["bliss", "loewe"])
    rising = synergy(wells(100.0 * (1.0 - alive), full_effect=100.0), n=0, models=["bliss", "loewe"])
    for model in ("bliss", "loewe"):
        assert_allclose(rising.scores[model].excess, falling.scores[model].excess, atol=1e-6)
    assert falling.scores["bliss"].mean > 0.05


def test_a_drug_with_itself_is_additive_for_loewe_and_not_for_bliss():
    sham = synergy(wells(hill(ONE + TWO, *FIRST)), ["bliss", "loewe"], n=0)
    assert_allclose(sham.scores["loewe"].excess, 0.0, atol=1e-5)  # the curves are fitted
    assert np.max(np.abs(sham.scores["bliss"].excess)) > 0.05


def test_a_drug_at_another_dose_scale_is_additive_for_loewe():
    """B is A five times as potent: together they are A at dose d1 + 5 d2."""
    found = synergy(wells(hill(ONE + 5.0 * TWO, *FIRST)), ["loewe"], n=0)
    assert_allclose(found.scores["loewe"].excess, 0.0, atol=1e-5)


def test_loewe_beyond_the_weaker_plateau_expects_the_stronger_drug_alone():
    """B never leaves less than 0.6; where A alone leaves less than that, B adds nothing."""
    weak = (1.0, 0.6, 1.0, 1.0)
    data = wells(hill(ONE, *FIRST) * hill(TWO, *weak))
    margins = fit_margins(data)
    expected = references.loewe(data, margins)[0]
    alone = margins.first[0]
    beyond = alone < 0.6
    assert beyond.any()
    assert_allclose(expected[beyond], np.repeat(alone[beyond, None], 7, axis=1), atol=1e-9)
    assert np.all(np.isfinite(expected))


def test_zip_has_no_excess_for_independent_drugs_and_finds_a_shifted_potency():
    assert_allclose(synergy(wells(independent()), ["zip"], n=0).scores["zip"].excess, 0.0, atol=1e-4)
    shifted = musyc(ONE, TWO, (1.0, 0.0, 0.0, 0.0), (1.0, 1.0), (1.0, 1.0), (5.0, 5.0))
    assert synergy(wells(shifted), ["zip"], n=0).scores["zip"].mean > 0.05


def test_musyc_is_bliss_when_neither_potency_nor_efficacy_interact():
    """alpha = 1: hits are independent, so the four states have product weights; with E3 = E1 E2 responses multiply."""
    surface = musyc(ONE, TWO, (1.0, 0.1, 0.3, 0.03), (0.8, 1.5), (1.2, 0.9), (1.0, 1.0))
    assert_allclose(surface, independent(), atol=1e-12)


def test_musyc_is_the_steady_state_of_its_four_states():
    """The surface against the null space of the rate matrix, state by state."""
    (c1, c2), (h1, h2), (a12, a21), (g12, g21) = (0.8, 1.5), (1.2, 0.9), (3.0, 0.4), (1.3, 0.7)
    e = np.array([1.0, 0.2, 0.4, 0.05])
    for one, two in ((0.3, 0.5), (2.0, 0.1), (5.0, 8.0)):
        x1, x2 = one / c1, two / c2
        rates = np.zeros((4, 4))  # from column to row: U, A1, A2, A12
        steps = {(1, 0): x1**h1, (2, 0): x2**h2, (3, 1): (a12 * x2) ** (g12 * h2), (3, 2): (a21 * x1) ** (g21 * h1)}
        for (to, start), rate in steps.items():
            rates[to, start], rates[start, to] = rate, 1.0
        rates -= np.diag(rates.sum(axis=0))
        system, right = np.vstack([rates, np.ones(4)]), np.array([0.0, 0.0, 0.0, 0.0, 1.0])
        share = np.linalg.lstsq(system, right, rcond=None)[0]
        found = musyc(one, two, tuple(e), (c1, c2), (h1, h2), (a12, a21), (g12, g21))
        assert found == pytest.approx(float(share @ e), rel=1e-10)


def test_musyc_potency_has_the_closed_form_of_a_saturating_partner():
    """At endless dose of A only A1 and A12 are left: B acts from E1 to E3 with its EC50 divided by alpha12."""
    two = np.geomspace(0.01, 10.0, 7)
    found = musyc(1e9, two, (1.0, 0.2, 0.5, 0.0), (1.0, 2.0), (1.0, 1.4), (4.0, 1.0))
    assert_allclose(found, hill(two, 0.2, 0.0, 2.0 / 4.0, 1.4), atol=1e-6)  # at dose 1e9, 1e-9 is still untouched


def test_braid_without_kappa_is_loewe_for_drugs_of_one_slope_and_plateau():
    """With equal slopes and plateaus the equivalent doses simply add."""
    found = braid(ONE, TWO, (1.0, 0.1, 0.1), (0.8, 1.6), (1.3, 1.3), 0.0)
    assert_allclose(found, hill(ONE / 0.8 + TWO / 1.6, 1.0, 0.1, 1.0, 1.3), atol=1e-12)


def test_surfaces_recover_the_parameters_they_were_made_with():
    shifted = musyc(ONE, TWO, (1.0, 0.1, 0.3, 0.02), (0.8, 1.5), (1.2, 0.9), (5.0, 0.5))
    fit = synergy(wells(shifted), ["musyc"], n=0).fits["musyc"]
    values = {p.name: p.value for p in fit.parameters}
    assert values["alpha12"] == pytest.approx(5.0, rel=1e-3)
    assert values["alpha21"] == pytest.approx(0.5, rel=1e-3)
    assert values["beta"] == pytest.approx((0.1 - 0.02) / (1.0 - 0.1), rel=1e-3)
    bent = braid(ONE, TWO, (1.0, 0.1, 0.3), (0.8, 1.5), (1.2, 0.9), 2.0)
    fit = synergy(wells(bent), ["braid"], n=0).fits["braid"]
    assert fit.parameters[0].value == pytest.approx(2.0, rel=1e-3)


# --- the package `synergy`, which knows nothing of this one ----------------------------------------------------


@pytest.fixture(scope="module")
def oracle():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("synergy.combination", reason="the package 'synergy' is not installed")
        from synergy.single import Hill
    return package, Hill


def oracle_drugs(found, oracle):
    x = found.parameters[0]
    return [oracle[1](E0=x[0], Emax=x[1 + k], h=np.exp(x[5 + k]), C=np.exp(x[3 + k])) for k in (0, 1)]


@pytest.mark.parametrize("ours, theirs, options", [
    ("bliss", "Bliss", {}), ("hsa", "HSA", {}), ("loewe", "Loewe", {"mode": "delta_HSA"}),
])  # fmt: skip
def test_expected_surfaces_agree_with_the_synergy_package(oracle, ours, theirs, options):
    """Both from the same single-drug curves.  Theirs solves Loewe by minimising within 1e-5."""
    data = wells(independent() * np.where((ONE > 0.0) & (TWO > 0.0), 0.8, 1.0))
    margins = fit_margins(data)
    first, second = oracle_drugs(margins, oracle)
    model = getattr(oracle[0], theirs)(drug1_model=first, drug2_model=second, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = np.asarray(model.E_reference(ONE, TWO)).reshape(7, 7)
    found = synergy(data, [ours], n=0).scores[ours]
    inside = np.s_[1:, 1:]
    assert_allclose(found.expected[inside], reference[inside], atol=1e-4 if ours == "loewe" else 1e-9)


def test_zip_agrees_with_the_synergy_package(oracle):
    shifted = musyc(ONE, TWO, (1.0, 0.05, 0.2, 0.01), (0.8, 1.5), (1.2, 0.9), (3.0, 1.0))
    data = wells(shifted)
    first, second = oracle_drugs(fit_margins(data), oracle)
    model = oracle[0].ZIP(drug1_model=first, drug2_model=second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = np.asarray(model.fit(ONE, TWO, shifted)).reshape(7, 7)[1:, 1:]
    found = synergy(data, ["zip"], n=0).scores["zip"].excess
    # Slices are fitted by different optimisers, theirs with its default tolerance.
    assert_allclose(found, theirs, atol=5e-3)


def test_parametric_surfaces_agree_with_the_synergy_package(oracle):
    inside = (ONE > 0.0) & (TWO > 0.0)
    values = {"E0": 1.0, "E1": 0.2, "E2": 0.4, "h1": 1.2, "h2": 0.9, "C1": 0.8, "C2": 1.5}
    theirs = oracle[0].MuSyC(**values, E3=0.05, alpha12=3.0, alpha21=0.4, gamma12=1.3, gamma21=0.7)
    ours = musyc(ONE, TWO, (1.0, 0.2, 0.4, 0.05), (0.8, 1.5), (1.2, 0.9), (3.0, 0.4), (1.3, 0.7))
    assert_allclose(ours[inside], theirs.E(ONE[inside], TWO[inside]), rtol=1e-9)
    theirs = oracle[0].BRAID(**values, E3=0.2, kappa=1.7)
    ours = braid(ONE, TWO, (1.0, 0.2, 0.4), (0.8, 1.5), (1.2, 0.9), 1.7)
    assert_allclose(ours[inside], theirs.E(ONE[inside], TWO[inside]), rtol=1e-9)


# --- properties --------------------------------------------------------------------------------------------

levels = st.floats(0.05, 0.95)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(levels, min_size=9, max_size=9), st.floats(1e-4, 1e4))
def test_exchange_of_drugs_and_change_of_unit_leave_scores_alone(cells, factor):
    one, two = (g.ravel() for g in np.meshgrid([0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 2.0, 4.0], indexing="ij"))
    response = np.where(one > 0.0, 0.8**one, 1.0) * np.where(two > 0.0, 0.7**two, 1.0)
    response[(one > 0.0) & (two > 0.0)] = cells
    data = wells(response, one, two)
    plain = synergy(data, ["bliss", "hsa"], margins="measured", n=0)
    turned = synergy(data.swapped(), ["bliss", "hsa"], margins="measured", n=0)
    scaled = synergy(wells(response, one * factor, two), ["bliss", "hsa"], margins="measured", n=0)
    for model in ("bliss", "hsa"):
        assert_allclose(turned.scores[model].excess, plain.scores[model].excess.T, atol=1e-12)
        assert_allclose(scaled.scores[model].excess, plain.scores[model].excess, atol=1e-12)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.floats(0.05, 0.4), st.floats(0.3, 3.0), st.floats(0.7, 2.0), st.floats(0.2, 5.0), st.floats(1e-3, 1e3))
def test_fitted_references_know_neither_order_nor_unit(plateau, middle, slope, alpha, factor):
    surface = musyc(ONE, TWO, (1.0, plateau, 0.2, 0.02), (middle, 1.0), (slope, 1.0), (alpha, 1.0))
    plain = synergy(wells(surface), ["loewe"], n=0).scores["loewe"].excess
    turned = synergy(wells(surface).swapped(), ["loewe"], n=0).scores["loewe"].excess
    scaled = synergy(wells(surface, ONE * factor, TWO), ["loewe"], n=0).scores["loewe"].excess
    assert_allclose(turned, plain.T, atol=1e-5)  # fits stop at 1e-10 of a sum of squares
    assert_allclose(scaled, plain, atol=1e-5)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0), st.floats(0.1, 10.0), st.floats(0.1, 10.0))
def test_surfaces_are_symmetric_and_lie_between_their_ends(one, two, alpha, other):
    e, swapped = (1.0, 0.2, 0.4, 0.1), (1.0, 0.4, 0.2, 0.1)
    ours = musyc(one, two, e, (1.0, 2.0), (1.2, 0.8), (alpha, other))
    assert ours == pytest.approx(float(musyc(two, one, swapped, (2.0, 1.0), (0.8, 1.2), (other, alpha))), rel=1e-10)
    assert 0.1 <= ours <= 1.0
    drawn = braid(one, two, e[:3], (1.0, 2.0), (1.2, 0.8), alpha)
    assert drawn == pytest.approx(float(braid(two, one, swapped[:3], (2.0, 1.0), (0.8, 1.2), alpha)), rel=1e-10)
    assert drawn <= braid(one, two, e[:3], (1.0, 2.0), (1.2, 0.8), 0.0)  # kappa > 0 never weakens


# --- many fits side by side -----------------------------------------------------------------------------------


def test_many_lines_at_once_are_the_least_squares_lines():
    x = np.linspace(0.0, 1.0, 6)
    data = np.random.default_rng(0).normal(size=(5, 6))
    found, squares = fit_many(
        lambda p, rows: p[:, :1] + p[:, 1:] * x, np.zeros((5, 2)), data, np.full(2, -50.0), np.full(2, 50.0)
    )
    for row in range(5):
        slope, start = np.polyfit(x, data[row], 1)
        assert_allclose(found[row], [start, slope], atol=1e-6)  # finite differences of a linear model
        assert squares[row] == pytest.approx(np.sum((start + slope * x - data[row]) ** 2), abs=1e-10)


def test_bounds_hold_and_holes_do_not_count():
    x = np.linspace(0.0, 1.0, 6)
    data = 1.0 + 5.0 * x
    data[3] = np.nan
    found, _ = best_of(
        lambda p, rows: p[:, :1] + p[:, 1:] * x, np.zeros((1, 2)), data, np.zeros(2), np.array([9.0, 3.0])
    )
    known = np.isfinite(data)
    assert found[1] == 3.0
    assert found[0] == pytest.approx(np.mean(data[known] - 3.0 * x[known]), abs=1e-6)


def test_measured_margins_are_the_cell_means():
    response = np.repeat(independent(), 2) + np.tile([0.01, -0.01], ONE.size)
    found = measured_margins(wells(response, np.repeat(ONE, 2), np.repeat(TWO, 2)))
    assert_allclose(found.first[0], hill(DOSES, *FIRST), atol=1e-12)
    assert_allclose(found.second[0], hill(DOSES, *SECOND), atol=1e-12)
