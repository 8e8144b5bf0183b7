"""Bands for samples never seen: what a draw is made of, what one dose changes, and what the script says to a file."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fits.population.calibration import read_calibrated
from fits.population.prediction import Coverage, Predicted, Predictor, given_dose, raw_spread, shortest
from fits.population.spread import simulated
from fits.population.tables import Well, read_wells
from fits.population.validation import folds_of
from kinetics.errors import InputError, ModelNotFound

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "all_exvivo_viability" / "t_all_viability.csv"
DRUGS = ("dexamethasone", "prednisolone")
HEADER = "sample,lineage,screen,drug,conc_nM,replicate,signal,dmso_median,viability"


@pytest.fixture(scope="module")
def calibrated():
    return read_calibrated()


@pytest.fixture(scope="module")
def virtual(calibrated):
    """Forty virtual samples drawn from the calibrated population, with the design of 8 measured ones."""
    problem, found = calibrated
    return simulated(problem.of(problem.samples[:8]), found, copies=5, seed=11)


@pytest.fixture(scope="module")
def predictor(calibrated, virtual):
    return Predictor(*calibrated, {(well.drug, well.dose) for well in virtual}, sets=8, draws=4000)


# --- the band ------------------------------------------------------------------------------------------------------


def test_the_shortest_interval_of_an_exponential_starts_at_zero():
    """Its density falls, so the shortest 90 % lie below ln 10; a central interval would be [0.05, 3.0]."""
    low, high = shortest(np.random.default_rng(0).exponential(size=(200_000, 1)))
    assert low[0] == pytest.approx(0.0, abs=1e-3)
    assert high[0] == pytest.approx(np.log(10.0), rel=0.02)  # the error of a quantile of so many draws is 0.6 %


def test_the_shortest_interval_of_a_normal_is_the_central_one():
    low, high = shortest(np.random.default_rng(0).standard_normal((200_000, 1)))
    assert_allclose([low[0], high[0]], [-1.645, 1.645], atol=0.08)  # where the density is flat the ends may wander


def test_samples_of_the_population_lie_inside_as_often_as_said(predictor, virtual):
    """40 samples of 26 or so wells; wells of a sample go together, so the share scatters by about 3 %."""
    found = Coverage.of(predictor.bands(virtual))
    assert 0.84 <= found.share <= 0.98  # viabilities of 0 and the atom there make bands hold a little more
    assert found.wells == len(virtual)


def test_one_dose_makes_bands_narrower_and_keeps_what_they_hold(predictor, virtual):
    alone, given = [], []
    for sample in sorted({well.sample for well in virtual}):
        mine = [well for well in virtual if well.sample == sample]
        key = given_dose(mine)
        told = predictor.bands_given(mine)
        given += told
        assert all((p.well.drug, p.well.screen, p.well.dose) != key for p in told)
        alone += [p for p in predictor.bands(mine) if (p.well.drug, p.well.screen, p.well.dose) != key]
    before, after = Coverage.of(alone), Coverage.of(given)
    assert after.wells == before.wells
    assert after.width < 0.8 * before.width
    assert 0.83 <= after.share <= 0.97


def test_a_resistant_well_makes_the_others_look_resistant(predictor, calibrated):
    def told(viability):
        wells = [Well("dexamethasone", "X", "5pt", 100.0, viability), Well("dexamethasone", "X", "5pt", 10000.0, 0.5)]
        (band,) = predictor.bands_given([wells[1], replace(wells[0], dose=10000.0), replace(wells[1], dose=1.0)])[:1]
        return band

    # Two wells at 10 uM are given (the higher of two doses); the well at 1 nM is predicted.
    assert told(0.9).lower > told(0.02).lower


def test_the_same_seed_gives_the_same_bands(calibrated, virtual):
    points = {("dexamethasone", 10.0)}
    well = [Well("dexamethasone", "X", "5pt", 10.0, 0.5)]
    one, two = (Predictor(*calibrated, points, sets=3, draws=500).bands(well) for _ in range(2))
    assert one == two


def test_uncertain_parameters_widen_the_bands(calibrated):
    points = {("dexamethasone", 10.0)}
    well = [Well("dexamethasone", "X", "5pt", 10.0, 0.5)]
    problem, found = calibrated
    unsure = replace(found, covariance=found.covariance + 0.01 * np.eye(len(found.x)))
    assert (
        Predictor(problem, unsure, points, sets=24).bands(well)[0].width
        >= 0.95 * Predictor(problem, found, points, sets=1).bands(well)[0].width
    )


# --- which dose is given --------------------------------------------------------------------------------------------


def test_the_middle_dose_of_the_first_curve_is_given():
    def curve(drug, screen, doses):
        return [Well(drug, "A", screen, dose, 0.5) for dose in doses]

    five = curve("dexamethasone", "5pt", (1.0, 10.0, 100.0, 1000.0, 10000.0))
    assert given_dose(five) == ("dexamethasone", "5pt", 100.0)
    assert given_dose(curve("prednisolone", "1", (1.0, 10.0)) + five[::-1]) == ("dexamethasone", "5pt", 100.0)
    assert given_dose(curve("prednisolone", "1", (1.0, 10.0))) == ("prednisolone", "1", 10.0)  # the higher of two
    with pytest.raises(InputError, match="no dose"):
        given_dose([])


def test_a_sample_with_one_dose_has_nothing_left_to_predict(predictor):
    assert predictor.bands_given([Well("dexamethasone", "A", "5pt", 10.0, 0.5)] * 2) == []


def test_raw_spread_looks_at_shared_doses_only():
    pairs = zip("ABCDE", (0.1, 0.2, 0.3, 0.4, 0.9), strict=True)
    training = [Well("dexamethasone", sample, "1", 10.0, value) for sample, value in pairs]
    here = Predicted(Well("dexamethasone", "X", "1", 10.0, 0.25), 0.2, 0.4)
    elsewhere = Predicted(Well("dexamethasone", "X", "1", 11.0, 0.25), 0.0, 1.0)
    raw, widths = raw_spread(training, [here, elsewhere])
    assert (raw.wells, raw.inside) == (1, 1) and raw.width == pytest.approx(0.8)
    assert_allclose(widths, [0.2])
    assert raw_spread(training, [elsewhere]) is None


def test_folds_hold_every_sample_once():
    folds = folds_of([f"S{i}" for i in range(17)], 4, seed=0)
    assert sorted(len(fold) for fold in folds) == [4, 4, 4, 5]
    assert sorted(name for fold in folds for name in fold) == sorted(f"S{i}" for i in range(17))
    with pytest.raises(InputError, match="2 to 3 folds"):
        folds_of(["A", "B", "C"], 4, seed=0)


# --- files ----------------------------------------------------------------------------------------------------------


def table(tmp_path, *rows, header=HEADER):
    path = tmp_path / "t.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return path


ROW = "T-X-01,T-ALL,5pt,dexamethasone,10.0,1,500,1000,0.5"


def test_other_drugs_lineages_and_holes_are_passed_over_and_counted(tmp_path):
    found = read_wells(table(
        tmp_path, ROW, ROW.replace("T-ALL", "B-ALL"), ROW.replace("dexamethasone", "venetoclax"),
        ROW.replace(",1,500,1000,0.5", ",2,500,1000,"), "",
    ), DRUGS)  # fmt: skip
    assert found.wells == (Well("dexamethasone", "T-X-01", "5pt", 10.0, 0.5),)
    text = " ".join(found.notes)
    assert "1 rows of lineage 'B-ALL'" in text and "other drugs" in text and "without a viability" in text


@pytest.mark.parametrize(
    "rows, message",
    [
        ([ROW.replace("10.0", "ten")], r"line 2, column 'conc_nM'.*expected a number, got 'ten'"),
        ([ROW.replace(",0.5", ",half")], r"column 'viability'.*'half'"),
        ([ROW.replace(",0.5", ",50")], r"fraction of the vehicle, 0 to 10, got 50"),
        ([ROW.replace(",0.5", ",-0.5")], r"got -0.5"),
        ([ROW.replace("10.0", "0")], r"above 0 nM"),
        ([ROW.replace("10.0", "inf")], r"expected a number"),
        ([ROW, ROW], r"replicate 1 twice"),
        ([ROW + ",more"], r"expected 9 cells"),
        ([ROW.replace("T-X-01", "")], r"column 'sample'"),
        ([ROW.replace("T-ALL", "B-ALL")], r"no well of T-ALL samples.*B-ALL"),
        ([], r"expected a table"),
    ],
)
def test_a_table_at_fault_says_where(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_wells(table(tmp_path, *rows), DRUGS)


def test_a_missing_column_or_file_is_named(tmp_path):
    with pytest.raises(InputError, match="'viability'"):
        read_wells(table(tmp_path, ROW.rsplit(",", 1)[0], header=HEADER.rsplit(",", 1)[0]), DRUGS)
    with pytest.raises(ModelNotFound, match=r"none\.csv"):
        read_wells(tmp_path / "none.csv", DRUGS)
    (tmp_path / "binary.csv").write_bytes(b"\x00\x01")
    with pytest.raises(InputError, match="binary"):
        read_wells(tmp_path / "binary.csv", DRUGS)


@pytest.mark.skipif(not SHARED.is_file(), reason="the screens as they were read are not beside the checkout")
def test_the_carried_table_is_the_screens(calibrated):
    """The project's own table was written from that file; its viabilities have four digits."""
    problem, _ = calibrated
    assert_allclose(
        [(w.dose, w.viability) for w in read_wells(SHARED, DRUGS).wells],
        [(w.dose, w.viability) for w in problem.wells],
        atol=6e-5,
    )


# --- the script -----------------------------------------------------------------------------------------------------


def run(*options):
    command = [sys.executable, str(ROOT / "benchmarks" / "predict_samples.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)


def test_the_script_prints_what_was_asked_for(tmp_path):
    rows = [
        f"T-X-0{s},T-ALL,5pt,{drug},{dose},{r},1,1,{max(0.05, 1.0 / (1.0 + dose / 9.0)):.3f}"
        for s in (1, 2) for drug in DRUGS for dose in (1.0, 10.0, 100.0, 1000.0, 10000.0) for r in (1, 2)
    ]  # fmt: skip
    path = table(tmp_path, *rows, ROW.replace("T-X-01", "T-HR-08").replace("10.0", "10"))
    done = run(path, "--sets", 3)
    assert done.returncode == 0, done.stderr
    assert "2 samples never seen: T-X-01, T-X-02" in done.stdout
    assert "1 samples of the calibration (no test of it): T-HR-08" in done.stdout
    for drug in DRUGS:
        assert f"{drug}: " in done.stdout and "of 20 points inside the 90 % band" in done.stdout
    assert "raw 90 % spread of the training samples" in done.stdout
    found = json.loads(run(path, "--json", "--sets", 3).stdout)["groups"]["never seen"]
    assert found["drugs"]["dexamethasone"]["points"] == 20
    assert found["given"]["mean_width_there"] < found["given"]["raw_spread_there"]


def test_the_script_says_what_is_wrong_in_one_line(tmp_path):
    done = run(table(tmp_path, ROW.replace("10.0", "ten")))
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1 and "'ten'" in done.stderr
