"""Dose matrices from files: the spellings in use, grids with replicates, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fits.synergy.reading import parse_combinations, read_combination, read_combinations
from kinetics.errors import InputError, ModelNotFound, UnitError, UnknownName

ROWS = ((0, 0, 1.0), (1, 0, 0.8), (0, 10, 0.7), (1, 10, 0.5))


def table(header: str, *rows: str) -> str:
    return "\n".join((header, *rows)) + "\n"


def plain(header: str, drugs: str = "X,{a},Y,{b},{r}") -> str:
    return table(header, *(drugs.format(a=a, b=b, r=r) for a, b, r in ROWS))


@pytest.mark.parametrize(
    "text",
    [
        plain("drug1,conc1_nM,drug2,conc2_uM,viability"),
        plain("drug1,dose1 (nM),drug2,dose2 [uM],response"),
        plain("Drug A,Dose A (nM),Drug B,Dose B (uM),Value"),
        plain("drug_row,conc_r,drug_col,conc_c,response,conc_r_unit,conc_c_unit", "X,{a},Y,{b},{r},nM,uM"),
        plain("compound_1;concentration_1;unit1;compound_2;concentration_2;unit2;signal", "X;{a};nM;Y;{b};uM;{r}"),
        plain("drug1\tdose1\tunit1\tdrug2\tdose2\tunit2\tresponse", "X\t{a}\tnM\tY\t{b}\tuM\t{r}"),
        "X (nM) \\ Y (uM),0,10\n0,1.0,0.7\n1,0.8,0.5\n",
        "X (nM) / Y (uM)\t0\t10\n0\t1.0\t0.7\n1\t0.8\t0.5\n",
        "\ufeffX (nM) | Y (uM);0;10\r\n0;1.0;0.7\r\n1;0.8;0.5\r\n",
    ],
)
def test_one_matrix_in_many_spellings(text):
    (found,) = parse_combinations(text)
    assert found.drugs == ("X", "Y") and found.units == ("nM", "uM")
    assert_allclose(found.matrix().responses, [[1.0, 0.7], [0.8, 0.5]])


def test_replicates_stand_in_rows_columns_or_further_grids():
    grid = "X (nM) \\ Y (uM),0,10,10\n0,1.0,0.7,0.8\n1,0.8,0.5,\n1,0.9,0.6,0.4\n\nX,0,10\n0,1.1,0.9\n"
    (found,) = parse_combinations(grid)
    assert_allclose(found.counts, [[2, 3], [2, 3]])
    assert_allclose(found.matrix().responses, [[1.05, 0.8], [0.85, 0.5]])


def test_several_pairs_and_samples_are_told_apart(tmp_path):
    text = plain("sample,drug1,dose1 (nM),drug2,dose2 (nM),viability", "S1,X,{a},Y,{b},{r}")
    text += "".join(f"S2,X,{a},Z,{b},{r}\n" for a, b, r in ROWS)
    path = tmp_path / "screen.csv"
    path.write_text(text)
    assert [(c.sample, c.drugs) for c in read_combinations(path)] == [("S1", ("X", "Y")), ("S2", ("X", "Z"))]
    assert read_combination(path, sample="S2").drugs == ("X", "Z")
    turned = read_combination(path, drugs=("Y", "X"))
    assert turned.drugs == ("Y", "X")
    assert_allclose(turned.matrix().responses, [[1.0, 0.8], [0.7, 0.5]])
    with pytest.raises(InputError, match=r"2 combinations .X with Y in S1; X with Z in S2.: pass drugs="):
        read_combination(path)
    with pytest.raises(InputError, match="Y and Z were not combined"):
        read_combination(path, drugs=("Y", "Z"))
    with pytest.raises(UnknownName, match="did you mean"):
        read_combination(path, drugs=("X", "Yy"))
    with pytest.raises(UnknownName, match="no sample named 'S3'"):
        read_combination(path, sample="S3")
    with pytest.raises(ModelNotFound):
        read_combination(tmp_path / "none.csv")


def test_single_agents_may_leave_the_other_name_out():
    text = table(
        "drug1,dose1 (nM),drug2,dose2 (nM),viability", "X,1,Y,10,0.5", "X,1,,,0.8", "DMSO,0,Y,10,0.7", "none,,none,,1.0"
    )
    (found,) = parse_combinations(text)
    assert_allclose(found.matrix().responses, [[1.0, 0.7], [0.8, 0.5]])


def test_what_was_not_read_is_said():
    text = plain("drug1,dose1 (nM),drug2,dose2 (nM),viability") + "X,1,Y,10,\n"
    (found,) = parse_combinations(text)
    assert found.notes == ("1 wells without a response were left out.",)


HEAD = "drug1,dose1 (nM),drug2,dose2 (nM),viability"


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("", InputError, "got an empty file"),
        (HEAD + "\n", InputError, "a header but no rows"),
        (plain("drug1,dose1,drug2,dose2,viability"), UnitError, "the doses have no unit: write 'dose1 .nM.'"),
        (plain("drug1,dose1 (blargs),drug2,dose2 (nM),viability"), UnitError, "blargs"),
        (plain("drug1,foo,drug2,dose2 (nM),viability"), InputError, "no column with the dose of drug 1"),
        (plain("drug1,dose1 (nM),drug2,dose2 (nM),foo"), InputError, "no column with a response"),
        (plain("drug1,dose1 (nM),drug1,dose2 (nM),viability"), InputError, "column 'drug1' is there twice"),
        (table(HEAD, "X,one,Y,1,0.5"), InputError, "line 2, column 'dose1 .nM.': expected a number, got 'one'"),
        (table(HEAD, "X,1,Y,1,dead"), InputError, "column 'viability': expected a number, got 'dead'"),
        (table(HEAD, "X,-1,Y,1,0.5"), InputError, "line 2, column 'dose1 .nM.': a dose must not be negative, got -1"),
        (table(HEAD, "X,1,Y,1,0,5"), InputError, "6 cells in a table of 5 columns .a decimal comma"),
        (table(HEAD, "DMSO,1,Y,1,0.5", "X,1,Y,1,0.5"), InputError, "a dose of 1, but no drug"),
        (table(HEAD, "X,1,Y,10,0.5", "X,2,Y,5,0.4"), InputError, "no well has X alone"),
        (table(HEAD, *(f"X,{a},Y,{b},0.5" for a, b, _ in ROWS)), InputError, "all 4 responses are 0.5"),
        (
            plain("drug1,dose1,unit1,drug2,dose2,unit2,viability", "X,{a},nM,Y,{b},nM,{r}") + "X,2,uM,Y,1,nM,0.5\n",
            InputError, "line 6, column 'unit1': expected 'nM' as before, got 'uM'",
        ),
        (
            plain("drug1,dose1,unit1,drug2,dose2,unit2,viability", "X,{a},nM,Y,{b},nM,{r}") + "X,2,,Y,1,nM,0.5\n",
            InputError, "expected the unit of the dose, as 'nM', got an empty cell",
        ),
        ("X \\ Y,0,10\n0,1,0.7\n1,0.8,0.5\n", UnitError, "into the corner of the grid"),
        (
            "X (nM) \\ Y (nM),0,10\n0,1,0.7\n1,0.8,dead\n",
            InputError,
            r"line 3, column 3 \(Y = 10 nM\): expected a number, got 'dead'",
        ),
        ("X (nM) \\ Y (nM),0,10\n0,1,0.7\n1,0.8,0.5,0.3\n", InputError, "4 cells below 3 doses"),
        ("X (nM) \\ Y (nM),0,10\n0,1,0.7\n-1,0.8,0.5\n", InputError, "a dose of X must be finite and not negative"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_with_its_place(text, error, message):
    with pytest.raises(error, match=message):
        parse_combinations(text)


def test_a_drug_with_itself_is_shown_as_two():
    rows = [f"A,{a},A,{b},{r}" for a, b, r in ((0, 0, 1.0), (1, 0, 0.6), (0, 1, 0.6), (1, 1, 0.4))]
    for drugs in (None, ("A", "A")):
        (found,) = parse_combinations(table("drug1,dose1 (nM),drug2,dose2 (nM),viability", *rows), drugs=drugs)
        assert found.drugs == ("A", "A'")
        assert any("Both drugs are called A: the second is shown as A'" in note for note in found.notes)
    (grid,) = parse_combinations("A (nM) \\ A (nM),0,1\n0,1,0.6\n1,0.6,0.4\n")  # two doses are the fewest of a grid
    assert grid.drugs == ("A", "A'")
    with pytest.raises(InputError, match=r"no well has A' alone.*both drugs are called A here, A' is the second"):
        parse_combinations(table("drug1,dose1 (nM),drug2,dose2 (nM),viability", rows[0], rows[1], rows[3]))


def test_units_and_columns_can_be_given_in_the_call():
    text = plain("drug1,dose1,drug2,dose2,lum")
    (found,) = parse_combinations(text, dose_unit="uM", response="lum")
    assert found.units == ("uM", "uM") and found.response_name == "lum"
    with pytest.raises(UnknownName, match="no column named 'lumi'"):
        parse_combinations(text, dose_unit="uM", response="lumi")


def test_a_dead_cell_count_needs_its_full_effect():
    text = table(HEAD.replace("viability", "inhibition"), *(f"X,{a},Y,{b},{100 * (1 - r)}" for a, b, r in ROWS))
    with pytest.raises(InputError, match="pass full_effect"):
        parse_combinations(text)
    (found,) = parse_combinations(text, full_effect=100.0)
    assert_allclose(np.sort(found.unaffected), [0.5, 0.7, 0.8, 1.0])
