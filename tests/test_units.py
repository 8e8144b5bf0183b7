"""Quantities with units: what is converted, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kinetics import Experiment, Period, Quantity, added, doses, simulate
from kinetics.errors import InputError, UnitError
from kinetics.units import convert, factor, magnitudes, quantity, same_dimension, unit_name


@pytest.mark.parametrize(
    "text, value, unit",
    [
        ("3 uM", 3.0, "uM"),
        ("0.5 ng/ml", 0.5, "ng/ml"),
        ("24h", 24.0, "h"),
        (" -1.5e-3  nM ", -1.5e-3, "nM"),
        (".5 nM", 0.5, "nM"),
        ("5.", 5.0, ""),
        ("7", 7.0, ""),
        ("50 %", 50.0, "%"),
        ("inf", math.inf, ""),
        ("1 1/nM/min", 1.0, "1/nM/min"),
    ],
)
def test_numbers_and_units_are_read(text, value, unit):
    assert quantity(text) == Quantity(value, unit)


@pytest.mark.parametrize(
    "value, to, expected",
    [
        ("3 uM", "nM", 3000.0),
        ("3 µM", "nM", 3000.0),  # micro sign, U+00B5
        ("3 μM", "nM", 3000.0),  # Greek mu, U+03BC
        ("24 h", "min", 1440.0),
        ("1 d", "h", 24.0),
        ("30 s", "min", 0.5),
        ("2 ug/ml", "ng/ml", 2000.0),
        ("2 mg/l", "ng/ml", 2000.0),
        ("1 1/h", "1/min", 1.0 / 60.0),
        ("2 1/uM/s", "1/nM/min", 2.0 * 60.0 / 1000.0),
        ("50 %", "dimensionless", 0.5),
        ("1 M", "mol/l", 1.0),
        ("5e5 cells/ml", "1/l", 5e8),
        ("4", "nM", 4.0),
    ],
)
def test_conversion_between_units_of_one_dimension(value, to, expected):
    assert convert(value, to) == pytest.approx(expected, rel=1e-12)


def test_mass_becomes_amount_with_the_molar_mass():
    """1 ng/ml of 50 kg/mol is 1e-6 g/l / 5e4 g/mol = 0.02 nM."""
    assert convert("1 ng/ml", "nM", molar_mass=50_000.0) == pytest.approx(0.02, rel=1e-12)
    assert convert("0.02 nM", "ng/ml", molar_mass=50_000.0) == pytest.approx(1.0, rel=1e-12)
    # imatinib, 493.6 g/mol: the clinical trough of 1 ug/ml is about 2 uM
    assert convert("1 ug/ml", "uM", molar_mass=493.6) == pytest.approx(1000.0 / 493.6, rel=1e-12)


def test_molar_mass_is_asked_for_never_guessed():
    with pytest.raises(UnitError, match="molar mass is not known"):
        convert("1 ng/ml", "nM")
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UnitError, match="molar mass"):
            convert("1 ng/ml", "nM", molar_mass=wrong)


@pytest.mark.parametrize(
    "value, to", [("3 h", "nM"), ("3 nM", "min"), ("3 nM", "nmol"), ("3 U/ml", "nM"), ("3 %", "nM")]
)
def test_other_dimensions_are_refused(value, to):
    with pytest.raises(UnitError, match="dimensions differ"):
        convert(value, to, molar_mass=100.0)
    assert not same_dimension(quantity(value).unit, to)


def test_a_unit_is_refused_where_the_model_declares_none():
    with pytest.raises(UnitError, match="declares no unit"):
        convert("3 nM", "")
    assert convert(3.0, "") == 3.0


@pytest.mark.parametrize(
    "text",
    ["", "nM", "three nM", "3 florps", "3 nM)", "3 ((((", "3 __import__('os')", "3 nM; 4", "3 nM^99", "3 9**9**9",
     "3 nM**9", "3 [concentration]", "3 '", "3 \x00", "3 " + "n" * 100, "3 nM\nx = 5", "3 @",
     "0x10 nM", "1_000 nM", "--3 nM"],
)  # fmt: skip
def test_hostile_text_is_refused_in_our_words(text):
    with pytest.raises(UnitError):
        convert(text, "nM")


@pytest.mark.parametrize("unit", ["degC", "dBm", "dB", "degF", "decade", "Np"])
def test_units_with_an_offset_or_logarithm_are_refused_as_units_not_as_crashes(unit):
    with pytest.raises(UnitError):
        convert(f"3 {unit}", "nM")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20))
@example("nM/0")
@example("1/(nM-nM)")
@example("m^0.5")
@example("nM^(h)")
@example("a" * 20)
def test_any_text_is_read_or_refused(text):
    """No text reaches pint that makes it raise anything of its own, hang or execute."""
    for to in ("nM", "min", ""):
        try:
            result = convert(f"3 {text}", to)
        except UnitError:
            continue
        assert isinstance(result, float)


@given(
    st.floats(1e-9, 1e9), st.sampled_from(["pM", "nM", "uM", "mM", "M"]), st.sampled_from(["pM", "nM", "uM", "mM", "M"])
)
def test_there_and_back(value, one, other):
    assert convert(Quantity(convert(Quantity(value, one), other), other), one) == pytest.approx(value, rel=1e-12)


def test_values_of_another_type_are_refused():
    for wrong in (None, [1.0], {"nM": 3}, b"3 nM"):
        with pytest.raises(UnitError, match="number"):
            quantity(wrong)


def test_doses_are_log_spaced_with_both_ends():
    grid = doses("10 pM", "1 uM", per_decade=2, zero=True)
    assert [dose.value for dose in grid] == pytest.approx(
        [0.0, *(10.0 * 10.0 ** (i / 2) for i in range(11))], rel=1e-12
    )
    assert {dose.unit for dose in grid} == {"pM"}
    assert (grid[1].value, grid[-1].value) == (10.0, 1e6)
    for low, high in (
        ("1 nM", "1 nM"),
        ("2 nM", "1 nM"),
        ("0 nM", "1 nM"),
        ("1", "2"),
        ("1 nM", "1 h"),
        ("1 nM", "inf nM"),
    ):
        with pytest.raises(InputError):
            doses(low, high)
    with pytest.raises(InputError, match="per decade"):
        doses("1 nM", "1 uM", per_decade=0)


def test_several_values_in_one_unit():
    assert magnitudes(["1 uM", "20 nM", 3.0], "nM").tolist() == pytest.approx([1000.0, 20.0, 3.0], rel=1e-12)


def test_names_of_unit_definitions():
    zmol, pl, minute = ("mole", 1.0, -21, 1.0), ("litre", -1.0, -12, 1.0), ("second", -1.0, 0, 60.0)
    assert unit_name((zmol, pl)) == "nM"
    assert unit_name((("second", 1.0, 0, 60.0),)) == "min"
    assert unit_name((zmol, pl, minute)) == "nM/min"
    assert unit_name((("dimensionless", 1.0, 0, 1.0),)) == ""
    # whatever the name is, it must be one that `convert` can read back
    strange = unit_name((("mole", 1.0, 0, 3.0), ("metre", -2.0, 0, 1.0)))
    assert strange
    assert factor(strange, "mol/m^2") == pytest.approx(3.0, rel=1e-5)


# --- with a model --------------------------------------------------------------------------------------------


def test_doses_and_times_reach_the_model_in_its_units(with_units):
    for dose, value in (("3 uM", 3000.0), ("150 ng/ml", 3.0), ("3 zmol/pl", 3.0), (3.0, 3.0)):
        course = simulate(with_units, Experiment(Period(0.0, {"Drug": dose})), ["0 h"], ["Drug"])
        assert course["Drug"][0] == pytest.approx(value, rel=1e-12)
    twice = simulate(with_units, Experiment(Period(0.0, {"Drug": added("50 ng/ml")})), [0.0], ["Drug"])
    assert twice["Drug"][0] == pytest.approx(11.0, rel=1e-12)
    volume = simulate(with_units, Experiment(Period(0.0, {"cell": "4 fl"})), [0.0], ["cell", "Drug"])
    assert volume.values.tolist()[0] == pytest.approx([0.004, 10.0], rel=1e-12)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"Drug": "3 h"}, "'Drug'.*dimensions differ"),
        ({"Other": "3 ng/ml"}, "'Other'.*molar mass"),
        ({"k": "3 nM"}, "'k'.*dimensions differ"),
        ({"Drug": added("3 mg")}, "'Drug'.*dimensions differ"),
        ({"Drug": "3 florps"}, "florps"),
    ],
)
def test_wrong_units_name_the_target(with_units, changes, words):
    with pytest.raises(UnitError, match=words):
        simulate(with_units, Experiment(Period(0.0, changes)), [0.0], ["Drug"])


def test_times_with_wrong_units_are_refused(with_units, decay):
    with pytest.raises(UnitError, match="time"):
        simulate(with_units, None, ["3 nM"], ["Drug"])
    with pytest.raises(UnitError, match="declares no unit"):
        simulate(decay, None, ["3 min"], ["A"])
