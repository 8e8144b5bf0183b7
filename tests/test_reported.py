"""Reading reported curves: what a table says, and what is wrong with it."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

import fits.reported
from fits.reported import CurvePoint, ReportedCurve, parse_curve, read_curve
from kinetics import Readout
from kinetics.curves import hill
from kinetics.errors import InputError, KineticsError, ModelNotFound, UnitError

TIDY = """dose,dose_unit,response,response_unit,arm,replicate
1,nM,0.5,MFI,control,1
10,nM,4.0,MFI,control,1
1,nM,0.7,MFI,control,2
10,nM,4.4,MFI,control,2
1,nM,0.1,MFI,drug,1
10,nM,1.0,MFI,drug,1
"""


def test_tidy_table():
    curve = parse_curve(TIDY)
    assert (len(curve), curve.arms, curve.dose_unit, curve.response_unit) == (6, ("control", "drug"), "nM", "MFI")
    assert [str(dose) for dose in curve.doses] == ["1 nM", "10 nM"]
    assert [point.response for point in curve.arm("drug").points] == [0.1, 1.0]
    assert curve.notes == ()
    assert repr(pickle.loads(pickle.dumps(curve))) == repr(curve)


@pytest.mark.parametrize(
    "text",
    [
        "dose (ng/ml),response (MFI)\n1,2\n3,4\n",
        "dose [ng/ml]\tresponse [MFI]\r\n1\t2\r\n3\t4\r\n",
        "\ufeffDose (ng/ml);Response (MFI)\n\n1;2\n# a remark\n3;4\n",
    ],
)
def test_units_in_the_header_and_other_separators(text):
    curve = parse_curve(text)
    assert (curve.dose_unit, curve.response_unit) == ("ng/ml", "MFI")
    assert [(point.dose, point.response) for point in curve.points] == [(1.0, 2.0), (3.0, 4.0)]
    assert "no column 'replicate'" in curve.notes[0]


def test_intervals_errors_and_times():
    curve = parse_curve("dose (nM),response,lower,upper,error,time (h)\n0,,,0.2,,1\n1,0.5,,,0.1,1\n2,,0.4,0.9,,2\n")
    below, exact, between = curve.points
    assert (below.interval, below.lower, below.upper) == (True, -math.inf, 0.2)
    assert (exact.interval, exact.error, exact.time) == (False, 0.1, 1.0)
    assert (between.lower, between.upper, curve.time_unit) == (0.4, 0.9, "h")


def test_a_digitised_point_counts_once():
    curve = read_curve(Path(fits.reported.__file__).parent / "problems" / "il7_pstat5" / "il7_pstat5.csv")
    once = curve.once()
    assert (len(curve), len(once)) == (12, 10)  # the pairs at 1 and 10 pg/ml are one point each
    assert once.notes[-1] == (
        "2 rows repeat another to the last digit and were left out (dose 1, 10 pg/ml)"
    )
    assert once.once() is once


def test_description_is_the_hill_curve_it_was_made_from():
    doses = [0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0]
    responses = hill(doses, 2.0, 12.0, 0.7, 1.3)
    curve = ReportedCurve(tuple(CurvePoint(d, float(r)) for d, r in zip(doses, responses, strict=True)), "nM")
    found = curve.describe()
    assert_allclose([found.ec50, found.bottom, found.top, found.hill], [0.7, 2.0, 12.0, 1.3], rtol=1e-6)


def test_protocol_has_the_doses_of_the_curve():
    protocol = parse_curve(TIDY).protocol("IL7", Readout.at("pSTAT5_total", "10 min"))
    assert [str(dose) for dose in protocol.doses] == ["1 nM", "10 nM"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "got an empty file"),
        ("dose (nM),response\n", "a header but no rows"),
        ("1,2\n3,4\n", "expected a header such as"),
        ("dose,response\n1,2\n", "the doses have no unit: add a column 'dose_unit'"),
        ("dose,dose_unit,response\n1,nM,2\n2,,3\n", r"line 3, column 'dose_unit': expected the unit of the dose"),
        ("dose,dose_unit,response\n1,nM,2\n2,pM,3\n", r"line 3, column 'dose_unit': expected 'nM' as before, got 'pM'"),
        ("dose (foo),response\n1,2\n", "unknown unit 'foo'"),
        ("dose (nM),response\n1,2\n-3,4\n", r"line 3, column 'dose': a dose must be finite and not negative, got -3"),
        ("dose (nM),response\n10,2\n3,4\n", r"line 3, column 'dose': 3 comes after 10 in line 2: sort the rows"),
        ("dose (nM),response,replicate\n1,2,a\n1,4,a\n", r"line 3, column 'replicate': replicate 'a' of dose 1"),
        ("dose (nM),response\n1,low\n", r"line 2, column 'response': expected a number, got 'low'"),
        ("dose (nM);response\n1,5;2\n", r"expected a number, got '1,5'; write 1.5"),
        ("dose (nM),response\n1,5,2\n", r"3 cells in a table of 2 columns \(a decimal comma\? write a point\)"),
        ("dose (nM),response\n,2\n", r"column 'dose': expected a dose, got an empty cell; write 0"),
        ("dose (nM),response\n1,\n", r"column 'response': expected a response, or limits"),
        ("dose (nM),response\n1,inf\n", r"expected a finite number"),
        ("dose (nM),response,error\n1,2,0\n", r"column 'error': an error is a standard deviation .* got 0"),
        ("dose (nM),lower,upper\n1,3,2\n", r"column 'lower': expected lower < upper, got 3, 2"),
        ("dose (nM),response,lower\n1,3,2\n", r"put error bars as a standard deviation into 'error'"),
        ("dose (nM),response,time\n1,3,2\n", r"the times have no unit"),
        ("dose (nM),signal\n1,2\n", r"no column named 'response'"),
        ("dose (nM),response,replicat\n1,2,1\n", r"column 'replicat' is not known; did you mean 'replicate'\?"),
        ("dose (nM),dose,response\n1,1,2\n", r"column 'dose' is there twice"),
        ('dose (nM),response\n1,"2\n', r"not a table"),
    ],
)
def test_tables_without_a_meaning(text, message):
    with pytest.raises(InputError, match=message):
        parse_curve(text)


def test_columns_without_a_meaning_are_said():
    assert "column 'operator' has no meaning here and was not read" in parse_curve(
        "dose (nM),response,operator\n1,2,me\n"
    ).notes


@pytest.mark.parametrize(
    "text, message",
    [
        ("dose (nM),response\n" + "1,1\n" * 20_001, "more than 20,000 rows"),
        ("dose (nM),response\n1," + "1" * 2_000 + "\n", "more than 100 cells, or one of more than 1000 characters"),
        ("dose (nM),response" + ",x" * 200 + "\n", "more than 100 cells"),
        ("dose (nM),response\n" + " " * 5_000_001, "expected at most 5,000,000 characters"),
    ],
)
def test_tables_of_hostile_size(text, message):
    with pytest.raises(InputError, match=message):
        parse_curve(text)


def test_files(tmp_path):
    with pytest.raises(ModelNotFound, match=r"there is no file 'none.csv'"):
        read_curve(tmp_path / "none.csv")
    file = tmp_path / "binary.csv"
    file.write_bytes(b"dose\0")
    with pytest.raises(InputError, match=r"binary.csv: expected UTF-8 text"):
        read_curve(file)
    file.write_text("dose,response\n1,2\n")
    assert read_curve(file, dose_unit="nM").dose_unit == "nM"
    assert read_curve(file, dose_unit="dimensionless").dose_unit == ""


def test_curves_made_by_hand_are_checked_too():
    with pytest.raises(InputError, match="a point at dose -1: dose: a dose must be finite"):
        ReportedCurve((CurvePoint(-1.0, 1.0),), "nM")
    with pytest.raises(InputError, match="at least one point"):
        ReportedCurve((), "nM")
    with pytest.raises(UnitError, match="unknown unit"):
        ReportedCurve((CurvePoint(1.0, 1.0),), "spoons")
    two = parse_curve(TIDY)
    with pytest.raises(InputError, match=r"several arms \(control, drug\)"):
        two.describe()
    with pytest.raises(KineticsError, match="no arm named 'drugs'"):
        two.arm("drugs")
