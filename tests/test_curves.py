"""Curves as formulas and the description of a simulated curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from kinetics import DoseResponseCurve, EC50Status, compare
from kinetics.curves import describe_points, dose_for, gaddum, hill, operational, schild
from kinetics.errors import InputError, UnitError

DOSES = np.concatenate(([0.0], np.geomspace(1e-3, 1e3, 25)))


def _curve(values: np.ndarray, doses: np.ndarray = DOSES, unit: str = "nM", **more: str) -> DoseResponseCurve:
    words = {"dose_unit": unit, "response_unit": "", "target": "L", "readout": "C", **more}
    return DoseResponseCurve(doses, values, **words)


# --- formulas ------------------------------------------------------------------------------------------------


def test_hill_at_its_landmarks():
    assert hill(0.0, 1.0, 5.0, 2.0, 1.7) == 1.0
    assert hill(2.0, 1.0, 5.0, 2.0, 1.7) == 3.0
    assert hill(1e300, 1.0, 5.0, 2.0, 1.7) == 5.0
    # from 10 % to 90 % a Hill curve of slope h needs 81^(1/h) in dose
    low, high = 2.0 * (1 / 9) ** (1 / 1.7), 2.0 * 9 ** (1 / 1.7)
    assert_allclose(hill([low, high], 0.0, 1.0, 2.0, 1.7), [0.1, 0.9], rtol=1e-12)
    assert hill([[1.0, 2.0]], 0.0, 1.0, 1.0, 1.0).shape == (1, 2)


def test_gaddum_is_a_parallel_shift():
    d = np.geomspace(1e-3, 1e3, 13)
    for antagonist in (0.0, 0.5, 50.0):
        ratio = 1.0 + antagonist / 0.25
        assert_allclose(gaddum(d * ratio, 2.0, antagonist, 0.25), gaddum(d, 2.0, 0.0, 0.25), rtol=1e-12)


def test_schild_with_slope_one_is_gaddum():
    assert_allclose(schild(DOSES, 0.0, 1.0, 2.0, 1.0, 3.0, 0.5), gaddum(DOSES, 2.0, 3.0, 0.5), rtol=1e-12)
    dose_ratio = 1.0 + 4.0**0.8
    assert schild(2.0 * dose_ratio, 0.0, 1.0, 2.0, 1.3, 2.0, 0.5, 0.8) == pytest.approx(0.5, rel=1e-12)


def test_operational_model_has_its_known_ec50_and_maximum():
    """For n = 1: EC50 = K_A/(1 + tau), maximum = E_m tau/(1 + tau) (Black and Leff 1983)."""
    tau, k_a = 4.0, 3.0
    top = tau / (1.0 + tau)
    assert operational(1e12, 0.0, 1.0, k_a, tau) == pytest.approx(top, rel=1e-9)
    assert operational(k_a / (1.0 + tau), 0.0, 1.0, k_a, tau) == pytest.approx(top / 2.0, rel=1e-12)
    assert operational(0.0, 2.0, 9.0, k_a, tau) == 2.0


# --- describing ----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    log_ec50=st.floats(-2.0, 2.0),
    slope=st.floats(0.6, 5.0),
    bottom=st.floats(-10.0, 10.0),
    span=st.floats(0.1, 1e3),
    falls=st.booleans(),
    zero=st.booleans(),
    scale=st.sampled_from([1e-9, 1.0, 1e9]),
)
def test_an_exact_hill_curve_gives_its_own_parameters(log_ec50, slope, bottom, span, falls, zero, scale):
    doses = DOSES if zero else DOSES[1:]
    top = bottom - span if falls else bottom + span
    found = describe_points(doses * scale, hill(doses * scale, bottom, top, 10**log_ec50 * scale, slope))
    # four numbers from 25 exact points; a low plateau that shows little leaves a few digits only
    assert found.status is EC50Status.INSIDE
    assert found.ec50 == pytest.approx(10**log_ec50 * scale, rel=1e-4)
    assert found.hill == pytest.approx(slope, rel=1e-4)
    assert (found.bottom, found.top) == pytest.approx((bottom, top), abs=1e-4 * span)
    assert found.rising is not falls
    assert found.span == pytest.approx(top - bottom, rel=1e-4)
    assert found.rms < 1e-5
    assert found.plateau_reached is bool(abs(hill(1e3, 0, 1, 10**log_ec50, slope)) >= 0.9)


@pytest.mark.parametrize("bottom, top", [(0.0, 1.0), (1.0, 0.0), (5.0, 7.0)])
def test_an_ec50_outside_the_doses_is_flagged_not_reported(bottom, top):
    d = np.geomspace(1.0, 100.0, 9)
    for ec50, status, sign in ((0.2, EC50Status.BELOW, "<"), (500.0, EC50Status.ABOVE, ">")):
        found = describe_points(d, hill(d, bottom, top, ec50, 1.0))
        assert found.status is status
        assert math.isnan(found.ec50)
        assert sign in str(found)
    assert str(describe_points(d, hill(d, bottom, top, 10.0, 1.0))).startswith("EC50 10")


@pytest.mark.parametrize("level", [0.0, 3.0, -2.0, 1e12, 1e-12])
def test_flat_curves_have_no_ec50(level):
    wiggle = level * (1.0 + 1e-8 * np.sin(np.arange(len(DOSES))))  # integrator noise
    found = describe_points(DOSES, wiggle)
    assert found.status is EC50Status.FLAT
    assert math.isnan(found.ec50)
    assert math.isnan(found.hill)
    assert found.span == 0.0
    assert found.top == pytest.approx(level, rel=1e-6)


def test_a_small_effect_on_a_large_background_is_not_flat():
    found = describe_points(DOSES, hill(DOSES, 1e3, 1e3 + 1.0, 2.0, 1.0))
    assert found.status is EC50Status.INSIDE
    assert found.ec50 == pytest.approx(2.0, rel=1e-4)


def test_plateau_is_reached_when_the_highest_dose_shows_most_of_the_span():
    for highest, reached in ((5.0, False), (100.0, True)):
        d = np.geomspace(0.01, highest, 12)
        assert describe_points(d, hill(d, 0.0, 1.0, 1.0, 1.0)).plateau_reached is reached


def test_a_bell_says_that_no_hill_curve_fits():
    bell = hill(DOSES, 0.0, 1.0, 0.1, 1.5) * hill(DOSES, 1.0, 0.0, 10.0, 1.5)
    assert describe_points(DOSES, bell).rms > 0.05


@pytest.mark.parametrize(
    "doses, responses",
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, math.nan, 3.0]),
        ([1.0, 2.0, 3.0, math.inf], [1.0, 2.0, 3.0, 4.0]),
        ([[1.0, 2.0, 3.0, 4.0]], [[1.0, 2.0, 3.0, 4.0]]),
    ],
)
def test_what_cannot_be_described_is_refused(doses, responses):
    with pytest.raises(InputError):
        describe_points(doses, responses)


# --- dose for a level ----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(log_ec50=st.floats(-2.0, 2.0), slope=st.floats(0.5, 3.0), fraction=st.floats(0.1, 0.9), falls=st.booleans())
def test_dose_for_a_level_of_a_hill_curve(log_ec50, slope, fraction, falls):
    d = np.geomspace(1e-5, 1e5, 161)
    bottom, top = (1.0, 0.0) if falls else (0.0, 1.0)
    level = bottom + fraction * (top - bottom)
    exact = 10**log_ec50 * (fraction / (1.0 - fraction)) ** (1.0 / slope)
    # monotone cubic through 16 points a decade
    assert dose_for(d, hill(d, bottom, top, 10**log_ec50, slope), level) == pytest.approx(exact, rel=2e-3)


def test_dose_for_a_level_that_is_a_point_of_the_curve():
    d = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
    y = np.array([0.0, 1.0, 2.0, 3.0, 3.5])
    for dose, response in zip(d[2:], y[2:], strict=True):
        assert dose_for(d, y, response) == pytest.approx(dose, rel=1e-9)


def test_dose_for_a_level_that_is_not_reached_is_nan():
    d = np.array([0.0, 1.0, 2.0, 4.0])
    for level in (-1.0, 0.5, 3.5):  # 0.5 lies between dose 0 and the lowest
        assert math.isnan(dose_for(d, np.array([0.0, 1.0, 2.0, 3.0]), level))
    assert math.isnan(dose_for(d, np.full(4, 2.0), 3.0))


def test_dose_for_the_first_of_several_crossings():
    d = np.geomspace(1e-3, 1e3, 61)
    bell = hill(d, 0.0, 1.0, 0.1, 2.0) * hill(d, 1.0, 0.0, 10.0, 2.0)
    assert dose_for(d, bell, 0.5) == pytest.approx(0.1, rel=0.01)


# --- comparing -----------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    log_shift=st.floats(-1.5, 1.5),
    ratio=st.floats(0.2, 2.0),
    slopes=st.tuples(st.floats(0.7, 3.0), st.floats(0.7, 3.0)),
    bottom=st.floats(0.0, 5.0),
)
def test_the_shift_of_two_hill_curves_is_recovered(log_shift, ratio, slopes, bottom):
    control = _curve(hill(DOSES, bottom, bottom + 10.0, 0.5, slopes[0]), label="control")
    treated = _curve(hill(DOSES, bottom, bottom + 10.0 * ratio, 0.5 * 10**log_shift, slopes[1]), label="treated")
    shift = compare(control, treated)
    assert shift.delta_log10_ec50 == pytest.approx(log_shift, abs=1e-4)
    assert shift.dose_ratio == pytest.approx(10**log_shift, rel=1e-3)
    assert shift.emax_ratio == pytest.approx(ratio, rel=1e-3)
    assert shift.delta_hill == pytest.approx(slopes[1] - slopes[0], abs=1e-3)
    if ratio > 0.6:  # the treated curve reaches half of the control's maximum
        exact = 10**log_shift * (0.5 / (ratio - 0.5)) ** (1.0 / slopes[1])
        if 0.5 * exact < 500.0:
            # monotone cubic through 4 points a decade
            assert shift.equieffective_ratio == pytest.approx(exact, rel=0.05)


def test_verdicts_in_words():
    base = _curve(hill(DOSES, 0.0, 10.0, 1.0, 1.0))
    cases = {
        "A shift of EC50": hill(DOSES, 0.0, 10.0, 10.0, 1.0),
        "A change of Emax": hill(DOSES, 0.0, 5.0, 1.0, 1.0),
        "EC50 and Emax both change": hill(DOSES, 0.0, 5.0, 10.0, 1.0),
        "No change": hill(DOSES, 0.0, 10.1, 1.1, 1.0),
        "cannot be said": np.full(len(DOSES), 3.0),
    }
    for words, values in cases.items():
        assert words in compare(base, _curve(values)).verdict
    moved = str(compare(base, _curve(cases["A shift of EC50"])))
    assert "10-fold to the right" in moved
    assert "10-fold to the left" in str(compare(_curve(cases["A shift of EC50"]), base))


def test_no_shift_is_given_when_an_ec50_lies_outside():
    d = np.geomspace(0.1, 10.0, 9)
    inside, outside = _curve(hill(d, 0, 1, 1.0, 1.0), d), _curve(hill(d, 0, 1, 80.0, 1.0), d)
    for shift in (compare(inside, outside), compare(outside, inside)):
        assert math.isnan(shift.delta_log10_ec50)
        assert math.isnan(shift.dose_ratio)
        assert "without extrapolating" in str(shift)
        assert "cannot be said" in shift.verdict


def test_doses_in_other_units_are_converted():
    one = _curve(hill(DOSES, 0.0, 1.0, 2.0, 1.0))
    two = _curve(hill(DOSES, 0.0, 1.0, 2.0, 1.0), DOSES / 1000.0, unit="uM")
    shift = compare(one, two)
    assert shift.delta_log10_ec50 == pytest.approx(0.0, abs=1e-6)
    assert shift.dose_unit == "nM"
    with pytest.raises(UnitError):
        compare(one, _curve(one.responses, unit="h"))


def test_what_cannot_be_compared_is_refused():
    one = _curve(hill(DOSES, 0.0, 1.0, 2.0, 1.0))
    with pytest.raises(InputError, match=r"'L'.*'M'"):
        compare(one, _curve(one.responses, target="M"))
    with pytest.raises(UnitError, match="responses"):
        compare(one, _curve(one.responses, response_unit="%"))


def test_curves_relative_to_curves():
    rising, falling = _curve(hill(DOSES, 1.0, 5.0, 2.0, 1.0)), _curve(hill(DOSES, 4.0, 1.0, 2.0, 1.0))
    assert_allclose(rising.percent_of_maximum().responses.max(), 100.0, rtol=1e-12)
    assert_allclose(rising.percent_of_maximum(falling).responses, rising.responses / 4.0 * 100.0, rtol=1e-12)
    assert_allclose(falling.percent_inhibition(4.0).responses, 100.0 * (1.0 - falling.responses / 4.0), rtol=1e-12)
    assert falling.percent_inhibition(4.0).describe().ec50 == pytest.approx(2.0, rel=1e-4)
    assert_allclose(rising.fold_over(falling).responses, rising.responses / falling.responses, rtol=1e-12)
    assert rising.fold_over(2.0).response_unit == ""
    assert rising.percent_of_maximum().response_unit == "%"
    for refused in (
        lambda: rising.fold_over(0.0),
        lambda: rising.percent_inhibition(0.0),
        lambda: _curve(-rising.responses).percent_of_maximum(),
        lambda: rising.fold_over(_curve(falling.responses[1:], DOSES[1:])),
    ):
        with pytest.raises(InputError):
            refused()


def test_frames_have_a_unit_beside_every_value():
    curve = _curve(hill(DOSES, 0.0, 1.0, 2.0, 1.0), label="arm", response_unit="%")
    frame = curve.to_frame()
    assert (set(frame.dose_unit), set(frame.response_unit), set(frame.arm)) == ({"nM"}, {"%"}, {"arm"})
    assert np.array_equal(frame.dose, DOSES)
    shift = compare(curve, curve).to_frame().set_index("quantity")
    assert shift.loc["dose ratio", "value"] == pytest.approx(1.0, rel=1e-9)
    assert shift.loc["EC50 arm", "unit"].iloc[0] == "nM"


def test_labels_are_escaped_in_html():
    curve = _curve(hill(DOSES, 0.0, 1.0, 2.0, 1.0), label="<script>alert(1)</script>", unit="<b>")
    assert "<script>" not in curve._repr_html_()
    assert "<b>nM" not in curve._repr_html_()
    assert "<td><b></td>" not in curve._repr_html_()
