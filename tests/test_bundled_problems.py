"""The bundled problems: their files, what a fit finds, which claims the calibrated model keeps, and how sure it is."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.testing import assert_allclose

import fits
from fits.calibration import PROFILE_RISE, RISE, Calibration, quick_calibration
from fits.claims.bench import TREATED, Bench
from fits.claims.ledger import ledger
from fits.claims.verdict import Status
from fits.objective import compile_problem
from fits.population.calibration import read_calibrated
from fits.population.problem import has_random_effects
from fits.problem_file import bundled_problems, read_description, read_problem
from fits.report import page
from fits.reproduce import measured_points, reproduce
from kinetics import Model

FOLDER = Path(fits.__file__).parent / "problems" / "il7_pstat5"


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return quick_calibration()


@pytest.fixture(scope="module")
def expected():
    return yaml.safe_load((FOLDER / "expected.yaml").read_text())


def close(value, row):
    return value == pytest.approx(row["value"], rel=row.get("tolerance", 0.0), abs=row.get("absolute", 0.0))


OVER_SAMPLES = [name for name in bundled_problems() if has_random_effects(name)]


@pytest.mark.parametrize("name", OVER_SAMPLES)
def test_every_bundled_problem_over_samples_is_complete(name):
    """What a fit of it found lies beside it, and is checked against the problem where it is read (test_population)."""
    folder = FOLDER.parent / name
    assert {"problem.yaml", "SOURCE.md", "calibrated.json"} <= {item.name for item in folder.iterdir()}
    problem, found = read_calibrated(name)
    assert set(found.names) >= {"effect_sd"} and problem.id == name


@pytest.mark.parametrize("name", [name for name in bundled_problems() if name not in OVER_SAMPLES])
def test_every_bundled_problem_is_complete_and_can_be_evaluated(name):
    folder = FOLDER.parent / name
    assert {"problem.yaml", "SOURCE.md", "expected.yaml"} <= {item.name for item in folder.iterdir()}
    described = read_description(name)
    for case in ("", *described.cases):
        problem = read_problem(name, case=case)
        start = np.where(np.isnan(problem.parameters.nominal), problem.parameters.lower, problem.parameters.nominal)
        found = compile_problem(problem).evaluate(start)
        assert math.isfinite(found.value), (case, found.failure)


def test_data_are_the_bundled_points_with_digitised_pairs_counted_once():
    doses, responses, _ = measured_points()
    described = read_description("il7_pstat5")
    points = described.curves["gonnord"].points
    assert len(points) == 10 and len(doses) == 12
    assert {(p.dose, p.response) for p in points} == set(zip(doses.tolist(), responses.tolist(), strict=True))
    assert sum(point.dose in (1.0, 10.0) for point in points) == 2


def test_gradient_of_the_bundled_problem():
    """Scale, offset, noise level, kp and both terms, against central differences of the value."""
    problem = read_problem("il7_pstat5")
    objective = compile_problem(problem)
    x = problem.parameters.scaled({"kp": 0.5, "scale_gonnord": 25.0, "offset_gonnord": 100.0, "sigma_gonnord": 400.0})
    found = objective.evaluate(x, derivatives=True)
    assert found.exact
    steps = np.array([1e-3, 1e-3, 1.0, 1e-3])
    slopes = []
    for unit, step in zip(np.eye(4), steps, strict=True):
        ends = [objective.evaluate(x + sign * step * unit).value for sign in (1.0, -1.0)]
        slopes.append((ends[0] - ends[1]) / (2.0 * step))
    assert_allclose(found.gradient, slopes, rtol=1e-4)


def test_fit_finds_what_is_expected(calibration, expected):
    assert close(calibration.nllh, expected["objective"])
    for name, row in expected["parameters"].items():
        assert close(calibration.parameters[name], row), name
    best = calibration.result.best.details
    for name, row in expected["numbers"].items():
        assert close(best[name], row), name
    assert len(calibration.result.agreeing()) == len(calibration.result.starts) == 8
    limits = expected["interval_kp"]
    assert [calibration.kp.lower, calibration.kp.upper] == pytest.approx(
        [limits["lower"], limits["upper"]], rel=limits["tolerance"]
    )
    assert calibration.kp.lower < calibration.kp.value < calibration.kp.upper


def test_calibrated_model_keeps_every_core_claim_numbered_b(calibration, expected):
    held = [verdict.claim.id for verdict in calibration.verdicts if verdict.status is Status.HOLDS]
    assert held == expected["claims"]
    assert calibration.kept and not [v for v in calibration.verdicts if v.status is Status.FAILS]
    open_ones = {v.claim.id for v in calibration.verdicts} - set(held)
    core = [claim for claim in ledger() if claim.priority == "core" and claim.id.startswith("B")]
    assert open_ones == {claim.id for claim in core if claim.open}


def test_shift_is_that_of_the_claims_and_lies_in_the_interval(calibration):
    """The bench reads own-maximum EC50s from Hill curves through finer doses: another way to the same number."""
    import kinetics as kin

    bench = Bench({"il7_stat5_imatinib": Model.load("il7_stat5_imatinib")}, {"kp": calibration.parameters["kp"]})
    control, drug = bench.curve(TREATED.vehicle), bench.curve(TREATED)
    from fits.half_maximum import crossing

    ends = [
        crossing(np.log10(curve.doses), curve.responses, 0.5 * float(curve.responses.max())).at
        for curve in (control, drug)
    ]
    assert np.log10(calibration.shift.value) == pytest.approx(ends[1] - ends[0], abs=0.01)  # 3 against 8 per decade
    assert calibration.shift.value == pytest.approx(kin.compare(control, drug).dose_ratio, rel=0.1)  # no Hill curve
    assert 10**0.7 < calibration.shift.lower < calibration.shift.value < calibration.shift.upper < 10**2.3
    assert calibration.emax_ratio.lower > 0.8


def test_band_holds_the_curve_and_is_narrower_than_the_noise(calibration):
    assert np.all(calibration.lower < calibration.fitted) and np.all(calibration.fitted < calibration.upper)
    assert np.all(calibration.upper - calibration.lower < 4.0 * 1.96 * calibration.parameters["sigma_gonnord"])
    residuals = calibration.measured - np.interp(
        np.log10(calibration.measured_doses), np.log10(calibration.doses), calibration.fitted
    )
    assert np.sqrt(np.mean(residuals**2)) == pytest.approx(calibration.parameters["sigma_gonnord"], rel=0.02)


def test_ridges_are_those_of_the_feasibility_study(calibration):
    """One combination is settled, along which kp and k2on compensate; kp alone may range about tenfold."""
    ridge = calibration.ridge
    assert ridge.names == ("kp", "k2on", "kd")
    assert ridge.eigenvalues[0] > 50.0 * ridge.eigenvalues[1] > 50.0 * ridge.eigenvalues[2]
    stiff = dict(zip(ridge.names, ridge.directions[0], strict=True))
    assert stiff["kp"] > 0.0 and stiff["k2on"] > 0.0 and stiff["kd"] < 0.0
    low, high = ridge.range("kp", PROFILE_RISE)
    assert high / low > 8.0
    assert ridge.range("k2on", RISE)[0] == pytest.approx(0.026)  # its bound
    # freeing more constants can only lower the objective and widen what the shift may be
    assert ridge.objective.min() < calibration.nllh
    assert ridge.shift(PROFILE_RISE)[0] < calibration.shift.lower
    assert ridge.shift(PROFILE_RISE)[1] > calibration.shift.upper


def test_other_assumptions(calibration):
    """The unknown density hardly matters; with the receptor numbers of Gonnord no kp fits, recycling aside."""
    cases = {case.title: case for case in calibration.cases}
    densities = [case for title, case in cases.items() if "cells/ml" in title]
    assert len(densities) == 3
    for case in densities:
        assert case.ec50 == pytest.approx(calibration.ec50, rel=0.01)
        assert case.shift == pytest.approx(calibration.shift.value, rel=0.02)
    numbers = next(case for title, case in cases.items() if title.startswith("receptor numbers of Gonnord (2,591"))
    recycling = next(case for title, case in cases.items() if "recycling" in title)
    assert numbers.at_bound and numbers.nllh > calibration.nllh + 4.0 and numbers.ec50 > 1.5 * calibration.ec50
    assert not recycling.at_bound and recycling.nllh < calibration.nllh + 2.0
    assert recycling.shift > calibration.shift.value


def test_words_say_what_was_told_and_found(calibration):
    text = " ".join(calibration.sentences())
    for part in ("95 % profile interval", "bounds chosen by this project", "the data settle log kp", "B01", "a ridge"):
        assert part in text
    assert calibration.seconds < 300.0


@pytest.mark.slow  # the whole of reproduce, with the ensemble
def test_reproduce_shows_the_calibration_and_its_json_stays_the_claims(calibration):
    plain = reproduce()
    fitted = replace(plain, calibration=calibration)
    assert fitted.to_json() == plain.to_json() and isinstance(json.loads(fitted.to_json()), list)
    assert fitted.exit_status == plain.exit_status
    table = " ".join(fitted.table().split())
    assert "CALIBRATION: IL-7 to phospho-STAT5 at 10 min" in table and "CALIBRATION" not in plain.table()
    for sentence in calibration.sentences():
        assert " ".join(sentence.split()) in table
    for case in calibration.cases:
        assert case.title in table
    assert fitted.table().splitlines()[-1] == plain.summary
    html = page(fitted)
    assert html.count("<figure>") == page(plain).count("<figure>") + 1
    assert '<section id="calibration">' in html and 'href="#calibration"' in html
    assert "1 for the starts of the calibration" in html and 'id="calibration"' not in page(plain)
    for case in calibration.cases:
        assert case.title.replace("&", "&amp;") in html
