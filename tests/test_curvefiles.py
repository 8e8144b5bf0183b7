"""Reading measured curves from the files people have: layouts, encodings, decimal signs, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fits import cli
from fits.curvefiles.reading import read_curves
from fits.curvefit.fitting import fit_curves
from fits.curvefit.results import describe_arms
from fits.reported import parse_curve
from kinetics.curves import EC50Status, hill
from kinetics.errors import InputError, ModelNotFound, UnitError, UnknownName

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "all_exvivo_viability" / "t_all_viability.csv"


@pytest.fixture
def read(tmp_path):
    """Read a text, in an encoding, as a file."""

    def call(text: str | bytes, encoding: str = "utf-8", name: str = "table.csv", **options):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_curves(file, **options)

    return call


def told(curve):
    return [(p.arm, p.dose, p.response) for p in curve.points]


EXPECTED = [("a", 0.5, 1.25), ("a", 3.0, 2.0), ("b", 0.0, 4.0)]


@pytest.mark.parametrize(
    "text, encoding",
    [
        ("dose,unit,response,arm\n0.5,nM,1.25,a\n3,nM,2,a\n0,nM,4,b\n", "utf-8"),
        ("arm,response,dose (nM)\na,2,3\na,1.25,0.5\nb,4,0\n", "utf-8"),
        ("dose (nM);response;arm\n0,5;1,25;a\n3;2;a\n0;4;b\n", "latin-1"),
        ("dose (nM)\tresponse\tarm\n0,5\t1,25\ta\n3\t2\ta\n0\t4\tb\n", "utf-16"),
        ("dose (nM)\tresponse\tarm\n0.5\t1.25\ta\n3\t2\ta\n0\t4\tb\n", "utf-16-le"),
        ("dose (nM)\tresponse\tarm\n0.5\t1.25\ta\n3\t2\ta\n0\t4\tb\n", "utf-16-be"),
        ('dose (nM),response,arm\n"0,5","1,25",a\n3,2,a\n0,4,b\n', "utf-8-sig"),
        ("dose (nM),a,b\n0,,4\n0.5,1.25,\n3,2,\n", "utf-8"),  # wide
        ("a,,b,\nX,Y,X,Y\n3,2,0,4\n0.5,1.25,,\n", "utf-8"),  # digitised
    ],
)
def test_one_table_in_many_clothes(read, text, encoding):
    curve = read(text, encoding, dose_unit="" if "nM" in text else "nM")
    assert curve.dose_unit == "nM"
    assert told(curve) == EXPECTED


def test_units_spelled_differently_are_one_unit(read):
    assert parse_curve("dose,dose_unit,response\n1,ng/ml,2\n2,ng/mL,3\n").dose_unit == "ng/ml"
    assert read("dose,unit,response\n1,ng/ml,2\n2,ng/mL,3\n").dose_unit == "ng/ml"


def test_latin_1_is_read_with_a_note(read):
    curve = read("dose (µM);response\n1;2\n3;4\n", "latin-1")
    assert curve.dose_unit == "µM" and "not UTF-8" in curve.notes[0]


def test_replicates_of_wide_tables(read):
    for header in ("control,,drug,", "control,control,drug,drug", "control 1,control 2,drug 1,drug 2",
                   "control_rep1,control_rep2,drug_rep1,drug_rep2"):  # fmt: skip
        curve = read(f"dose (nM),{header}\n0,1,2,3,4\n10,2,3,4,5\n")
        assert curve.arms == ("control", "drug")
        assert [p.replicate for p in curve.points] == ["1", "2"] * 4


def test_means_with_their_spread(read):
    curve = read("dose (nM),a mean,a sd,a n,b mean,b sem\n1,5,0.4,4,6,0.1\n2,6,0.6,9,7,0.2\n")
    assert_allclose([p.error for p in curve.points], [0.2, 0.2, 0.1, 0.2])  # sd over the root of n; sem as it stands


def test_log_doses(read):
    assert [p.dose for p in read("log[drug] (nM),a\n-1,2\n2,3\n").points] == [0.1, 100.0]
    assert [p.dose for p in read("-1,2\n2,3\n", dose_unit="nM", log_dose=True).points] == [0.1, 100.0]
    tidy = read("dose (nM),response\n-inf,2\n2,3\n", log_dose=True)
    assert [p.dose for p in tidy.points] == [0.0, 100.0]


def test_digitised_error_bars_go_to_the_nearest_point(read):
    text = "c,,c upper,,c lower,\nX,Y,X,Y,X,Y\n100,2,1.02,1.2,101,1.4\n1,1,99,2.6,0.99,0.7\n"
    curve = read(text, dose_unit="nM")
    assert curve.arms == ("c",)
    assert [p.dose for p in curve.points] == [1.0, 100.0]
    assert_allclose([p.error for p in curve.points], [0.25, 0.6])
    assert "does not say whether" in " ".join(curve.notes)
    with pytest.raises(InputError, match="has no point"):
        read("c,,c upper,\nX,Y,X,Y\n1,1,10,2\n100,2,,\n", dose_unit="nM")


def test_swapped_axes(read):
    text = "c,\nX,Y\n-0.1,1\n0.5,10\n"
    with pytest.raises(InputError, match=r"a dose must not be negative.*swap_axes=True"):
        read(text, dose_unit="nM")
    assert told(read(text, dose_unit="nM", swap_axes=True)) == [("c", 1.0, -0.1), ("c", 10.0, 0.5)]


def test_excel(read, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "raw"
    for row in (["dose (nM)", "control", "drug"], [0, 1.5, 2], [10, 2.25, None]):
        book.active.append(row)
    book.create_sheet("other").append(["nothing"])
    book.save(tmp_path / "t.xlsx")
    curve = read_curves(tmp_path / "t.xlsx")
    assert told(curve) == [("control", 0.0, 1.5), ("control", 10.0, 2.25), ("drug", 0.0, 2.0)]
    assert "read sheet 'raw'; there are also other" in curve.notes
    with pytest.raises(InputError, match="no sheet 'x'; there are 'raw', 'other'"):
        read_curves(tmp_path / "t.xlsx", sheet="x")
    with pytest.raises(InputError, match="not an Excel workbook"):
        read(b"PK\x03\x04 nonsense", name="bad.xlsx")
    import datetime

    book.active["A2"] = datetime.datetime(2024, 1, 2)
    book.save(tmp_path / "d.xlsx")
    with pytest.raises(InputError, match="Excel holds the date"):
        read_curves(tmp_path / "d.xlsx")


@pytest.mark.parametrize(
    "text, message",
    [
        ("dose,response\n1,2\n", "the doses have no unit"),
        ("dose,unit,response\n1,nM,2\n1,uM,2\n", "expected 'nM' as before, got 'uM'"),
        ("dose (nM),response\n1,<2\n", "line 2, column 'response': expected a number, got '<2'"),
        ("dose (nM),response\n-1,2\n", "a dose must be finite and not negative, got -1"),
        ("dose (nM),response,arm\n1,2,Drug\n2,3,drug \n", "differ in spaces or capitals only"),
        ("dose (nM),a,b,a\n1,2,3,4\n2,3,4,5\n", "arm 'a' is there twice, not side by side"),
        ("a,,a,\nX,Y,X,Y\n1,1,1,1\n", "data set 'a' is there twice"),
        ("dose (nM),response,replicate\n1,2,x\n1,3,x\n", "replicate 'x' of dose 1 is already in line 2"),
        ("dose (nM);response\n1,000;2\n2,000;4\n", "may be a decimal number or thousands"),
        ("dose (nM);response\n1,5;2.5\n", "has a decimal comma and '2.5' a decimal point"),
        ("dose (nM);response\n1.000,5;2\n", "has a sign between thousands"),
        ("dose (nM),response\n1;2\n", "the cells are separated by ';' and those above by ','"),
        ("dose (nM),response\n1,5,2\n", "3 cells in a table of 2 columns"),
        ("dose (nM),response\n1,\n", "no row with a response"),
        ("time,foo\nx,y\n", "no column named 'dose'"),
        ("# nothing\n", "got an empty file"),
        ("dose (nM),1,2\n1,2,3\n", "expected names of arms in the header"),
        ("dose (nM),response,inhibitor\n1,2,3\n", "the doses of the inhibitor have no unit"),
    ],
)
def test_tables_without_a_meaning(read, text, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        read(text)


def test_files_that_are_no_tables(read, tmp_path):
    with pytest.raises(ModelNotFound):
        read_curves(tmp_path / "none.csv")
    with pytest.raises(InputError, match="expected a file, got a folder"):
        read_curves(tmp_path)
    with pytest.raises(InputError, match="binary data"):
        read(b"\0\1\2\3dose")
    with pytest.raises(InputError, match="old Excel format"):
        read(b"x", name="old.xls")
    with pytest.raises(InputError, match="decimal must be"):
        read("dose (nM),response\n1,2\n", decimal="x")
    with pytest.raises(UnknownName, match="no column named 'signal'"):
        read("dose (nM),response\n1,2\n", response="signal")
    with pytest.raises(UnitError):
        read("dose (spoons),response\n1,2\n")


def test_ambiguous_decimals_are_settled_by_the_caller(read):
    text = "dose (nM);response\n1,000;2\n2,500;4\n"
    assert [p.dose for p in read(text, decimal=",").points] == [1.0, 2.5]
    assert [p.dose for p in read(text, decimal=".").points] == [1000.0, 2500.0]


@pytest.mark.skipif(not SHARED.exists(), reason="the viability table is not beside the checkout")
def test_viability_of_leukaemia_samples():
    curve = read_curves(SHARED, dose="conc_nM", response="viability", arm=("sample", "drug", "screen"))
    assert curve.dose_unit == "nM" and len(curve.arms) > 100
    chosen = [f"T-R-16 / {drug} / 5pt" for drug in ("dexamethasone", "selumetinib")]
    with pytest.raises(InputError, match="replicate '1' of dose 10000 is already in line"):  # two screens in one arm
        read_curves(SHARED, dose="conc_nM", response="viability", arm=("sample", "drug"))
    from fits.curvefit.points import points_of

    fits = fit_curves(points_of(curve, arms=chosen))
    results = describe_arms(fits)
    steroid = results[chosen[0]]
    assert steroid.status is EC50Status.INSIDE and 1.0 < steroid["ec50"].value < 10.0  # dead at 10 nM, alive at 1 nM
    assert steroid["top"].upper < 0.2


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def two_arms(tmp_path):
    doses = [0.0, *np.geomspace(0.1, 1000.0, 9).tolist()]
    rng = np.random.default_rng(0)
    lines = ["dose (nM),response (MFI),line"]
    for name, ec50 in (("wild type", 2.0), ("mutant", 40.0)):
        for dose, y in zip(doses, hill(doses, 100.0, 900.0, ec50, 1.0), strict=True):
            lines += [f"{dose:g},{y + 15.0 * rng.standard_normal():.4f},{name}" for _ in range(2)]
    file = tmp_path / "two.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def run(capsys, *words):
    status = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_curves_command_says_and_draws_the_shift(capsys, two_arms, tmp_path):
    status, out, err = run(capsys, "curves", two_arms, "--arm", "line", "--plot", tmp_path / "p.png")
    assert status == 0 and "note: noise: one standard deviation" in err
    assert "wild type: ec50" in out and "mutant beside wild type:" in out and "EC50 changes" in out
    assert (tmp_path / "p.png").stat().st_size > 10_000
    status, out, _ = run(capsys, "curves", two_arms, "--arm", "line", "--share", "bottom,top,hill", "--json")
    found = json.loads(out)
    ratio = found["shifts"][0]["estimates"]["dose ratio"]
    assert status == 0 and ratio["lower"] < 20.0 < ratio["upper"]
    assert found["arms"]["mutant"]["status"] == "inside"


def test_curves_command_on_a_family(capsys, tmp_path):
    rng = np.random.default_rng(0)
    lines = ["dose (nM),response,blocker (uM)"]
    for blocker in (0.0, 1.0, 10.0):
        doses = [0.0, *np.geomspace(0.1, 1000.0, 9).tolist()]
        for dose, y in zip(doses, hill(doses, 0.0, 1.0, 2.0 * (1.0 + blocker / 0.5), 1.0), strict=True):
            lines.append(f"{dose:g},{y + 0.02 * rng.standard_normal():.5f},{blocker:g}")
    file = tmp_path / "family.csv"
    file.write_text("\n".join(lines) + "\n")
    status, out, _ = run(capsys, "curves", file, "--inhibitor", "blocker", "--json")
    found = json.loads(out)
    assert status == 0 and found["action"] == "competitive"
    assert found["schild"]["pa2"]["lower"] < 6.0 - math.log10(0.5) < found["schild"]["pa2"]["upper"]


@pytest.mark.parametrize(
    "words, message",
    [
        (("--share", "slope"), "no parameter named 'slope'"),
        (("--fix", "hill=steep"), "--fix needs a number for 'hill', got 'steep'"),
        (("--only", "nobody"), "no arm named 'nobody'"),
        (("--control", "nobody"), "no arm named 'nobody'"),
        (("--level", "95"), "level must lie between 0 and 1"),
        (("--inhibitor", "nothing"), "no column named 'nothing'"),
    ],
)
def test_curves_command_with_bad_requests(capsys, two_arms, words, message):
    status, out, err = run(capsys, "curves", two_arms, "--arm", "line", *words)
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_dose_column_with_its_unit_at_the_end(tmp_path):
    file = tmp_path / "screen.csv"
    file.write_text("drug,conc_nM,viability\nA,1,0.9\nA,10,0.5\n")
    curve = read_curves(file, arm="drug")
    assert curve.dose_unit == "nM" and [p.dose for p in curve.points] == [1.0, 10.0] and curve.arms == ("A",)


def test_warnings_are_part_of_the_result(capsys, tmp_path):
    """Columns pooled by name, and axes that look swapped, in words and in JSON."""
    doses = np.geomspace(0.01, 1000.0, 6)
    pooled = tmp_path / "pooled.csv"
    rows = [f"{d:g},{d / (1 + d):.4f},{d / (1.1 + d):.4f},{d / (10 + d):.4f}" for d in doses]
    pooled.write_text("dose (nM),A,A,B\n" + "\n".join(rows) + "\n")
    said = "columns 2 and 3 are both called 'A' and were taken as replicates"
    status, out, _ = run(capsys, "curves", pooled)
    assert status == 0 and f"Warning: {said}." in out
    status, out, _ = run(capsys, "curves", pooled, "--json")
    assert json.loads(out)["warnings"] == [said]
    swapped = tmp_path / "swapped.csv"
    swapped.write_text("dose (nM),response\n" + "\n".join(f"{d / (1 + d):.4f},{d:g}" for d in doses) + "\n")
    status, out, _ = run(capsys, "curves", swapped, "--json")
    assert status == 0 and "are the axes swapped?" in json.loads(out)["warnings"][0]


def test_help_has_an_example(capsys):
    status, out, _ = run(capsys, "curves", "--help")
    assert status == 0 and "kinetics curves viability.csv --arm drug" in out


def test_a_unit_column_is_no_dose_whatever_comes_first(tmp_path):
    """`unit` is a unit too, for enzymes; the column of units must not be read as doses in it."""
    for header, row in (("dose_unit,dose,response", "nM,{},{}"), ("dose,dose_unit,response", "{},nM,{}")):
        path = tmp_path / "curve.csv"
        path.write_text("\n".join([header, *(row.format(dose, 1.0 + dose) for dose in (1.0, 2.0, 3.0))]) + "\n")
        assert read_curves(path).dose_unit == "nM"
